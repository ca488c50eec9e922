"""Clients (tenants), the users who belong to them, and the parameters that they trade by."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from trading.core.ids import uuid7


class Client(models.Model):
    """A tenant: one trading shop's customer, whose rows nobody else sees."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    is_active = models.BooleanField(default=True, help_text="Inactive clients keep their rows; no job runs for them.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="tenants_client_name_in_any_case",
                violation_error_message="A client of this name exists, be it in other capitals.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a user may do; ordered from least to most within a client, operators stand outside all clients."""

    READ_ONLY = "read_only", "Read only"
    TRADER = "trader", "Trader"
    OWNER = "owner", "Owner"
    OPERATOR = "operator", "Operator"


class User(AbstractUser):
    """A person or program that signs in. Only operators belong to no client."""

    client = models.ForeignKey(Client, null=True, blank=True, on_delete=models.PROTECT, related_name="users")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.READ_ONLY)
    external_id = models.CharField(
        max_length=255,
        null=True,
        blank=True,
        unique=True,
        help_text="The `sub` of tokens from the external issuer.",
    )
    token_generation = models.PositiveIntegerField(
        default=0, editable=False, help_text="Counts how often everything of the user was logged out."
    )
    tokens_valid_from = models.DateTimeField(
        null=True, editable=False, help_text="External tokens that were issued before count no more."
    )

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Of the password, as Django has it, and of the generation: sessions and tokens end when either changes."""
        parts = f"{self.password}\n{self.token_generation}"
        return salted_hmac("trading.tenants.session", parts, secret=secret, algorithm="sha256").hexdigest()

    @property
    def may_log_in(self) -> bool:
        """Whether the user is active, and the client too."""
        return self.is_active and (self.client is None or self.client.is_active)

    @property
    def known_as(self) -> str:
        """How records name the user."""
        return f"operator:{self.get_username()}" if self.role == Role.OPERATOR else f"user:{self.pk}"

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="tenants_user_client_unless_operator",
                condition=Q(role=Role.OPERATOR, client__isnull=True)
                | (~Q(role=Role.OPERATOR) & Q(client__isnull=False)),
            ),
            models.UniqueConstraint(
                Lower("username"),
                name="tenants_user_username_in_any_case",
                violation_error_message="A user of this name exists, be it in other capitals.",
            ),
        ]


class LoginFailures(models.Model):
    """Failed logins of one name or address within a while; past some, it is locked out for as long."""

    key = models.CharField(max_length=200, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    since = models.DateTimeField()

    class Meta:
        db_table = "login_failures"

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"


class KnownAddress(models.Model):
    """An address that a user has logged in from: no stranger can lock the user out there."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", db_index=False)
    address = models.CharField(max_length=64)
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "known_addresses"
        constraints = [models.UniqueConstraint(name="known_addresses_once", fields=["user", "address"])]

    def __str__(self) -> str:
        return self.address


class Parameters(models.Model):
    """A client's risk and strategy parameters as they stood from one change to the next; the newest version holds.

    Null: the platform's value. A client's own can only be stricter: `trading.tenants.parameters`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="+", db_index=False)
    version = models.PositiveIntegerField()
    max_order_size = models.DecimalField(
        max_digits=20, decimal_places=2, null=True, blank=True, help_text="The most that one order may be worth."
    )
    max_daily_loss = models.DecimalField(
        max_digits=20,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="The realised loss of a day after which only closing is allowed.",
    )
    max_position_per_symbol = models.DecimalField(
        max_digits=20, decimal_places=2, null=True, blank=True, help_text="The most that one position may be worth."
    )
    max_gross_exposure = models.DecimalField(
        max_digits=20,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="The most that all positions together may be worth.",
    )
    max_net_delta = models.DecimalField(
        max_digits=20,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="How far the net delta, as worth, may be from 0.",
    )
    max_open_legs = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many different symbols may be held."
    )
    max_spread_pct = models.DecimalField(
        max_digits=20, decimal_places=2, null=True, blank=True, help_text="How far bid and ask may be apart (%)."
    )
    breaker_losses = models.PositiveIntegerField(
        null=True, blank=True, help_text="Losses in a row after which only closing is allowed."
    )
    breaker_loss = models.DecimalField(
        max_digits=20, decimal_places=2, null=True, blank=True, help_text="A loss counts for that when it is larger."
    )
    market_hours = models.CharField(
        max_length=80,
        null=True,
        blank=True,
        help_text="When orders may be sent, inside the platform's hours: America/New_York mon-fri 09:30-16:00.",
    )
    symbols = models.JSONField(
        null=True, blank=True, help_text="What cycles may buy, of the platform's symbols; what else is held is sold."
    )
    cash_buffer = models.DecimalField(
        max_digits=20, decimal_places=2, null=True, blank=True, help_text="Cash that is kept out of the weights."
    )
    min_notional = models.DecimalField(
        max_digits=20, decimal_places=2, null=True, blank=True, help_text="Orders worth less are left out."
    )
    max_orders = models.PositiveIntegerField(null=True, blank=True, help_text="Orders in one cycle.")
    changed_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "client_parameters"
        ordering = ["-id"]
        verbose_name_plural = "parameters"
        constraints = [
            models.UniqueConstraint(name="client_parameters_once", fields=["client", "version"]),
            models.CheckConstraint(
                name="client_parameters_positive",
                condition=Q(version__gte=1)
                & (Q(max_order_size__isnull=True) | Q(max_order_size__gt=0))
                & (Q(max_daily_loss__isnull=True) | Q(max_daily_loss__gt=0))
                & (Q(max_position_per_symbol__isnull=True) | Q(max_position_per_symbol__gt=0))
                & (Q(max_gross_exposure__isnull=True) | Q(max_gross_exposure__gt=0))
                & (Q(max_net_delta__isnull=True) | Q(max_net_delta__gt=0))
                & (Q(max_open_legs__isnull=True) | Q(max_open_legs__gt=0))
                & (Q(max_spread_pct__isnull=True) | Q(max_spread_pct__gt=0))
                & (Q(breaker_losses__isnull=True) | Q(breaker_losses__gt=0))
                & (Q(breaker_loss__isnull=True) | Q(breaker_loss__gt=0))
                & (Q(cash_buffer__isnull=True) | Q(cash_buffer__gte=0))
                & (Q(min_notional__isnull=True) | Q(min_notional__gte=0)),
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.version}"


class LoginSession(models.Model):
    """A login by token, from its password to its end; every token of it ends with it."""

    class EndedBy(models.TextChoices):
        """What ended it before its time."""

        LOGOUT = "logout", "Logged out"
        EVERYWHERE = "everywhere", "Logged out everywhere"
        REUSE = "reuse", "A refresh token came twice"
        USER = "user", "The user was deactivated or changed the password"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="login_sessions")
    version = models.CharField(max_length=32, help_text="Of the user's password when it began.")
    began_at = models.DateTimeField()
    ends_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, db_index=True)
    ended_by = models.CharField(max_length=16, choices=EndedBy.choices, blank=True)

    class Meta:
        db_table = "login_sessions"

    def __str__(self) -> str:
        return f"{self.user_id} since {self.began_at:%Y-%m-%d %H:%M}"


class RefreshToken(models.Model):
    """One refresh token: its digest alone, so that the table is of no use to a thief."""

    digest = models.CharField(max_length=64, primary_key=True, help_text="SHA-256.")
    session = models.ForeignKey(LoginSession, on_delete=models.CASCADE, related_name="refresh_tokens")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "refresh_tokens"

    def __str__(self) -> str:
        return f"of {self.session_id}"
