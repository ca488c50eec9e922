"""The guard's memory: switches, what is reserved for orders under way, and every decision."""

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Q, Value

from trading.core.ids import uuid7


class Guard(models.Model):
    """The platform's switches: one row, made by the migration. Where it cannot be read, the answer is no."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    kill_switch = models.BooleanField(
        null=True, blank=True, default=None, help_text="Refuses every order; empty: as QT_KILL_SWITCH says."
    )
    halted = models.BooleanField(default=False, help_text="The emergency halt: refuses every order and approval.")
    reason = models.CharField(max_length=200, blank=True, default="")
    changed_by = models.CharField(max_length=200, blank=True, default="")
    changed_at = models.DateTimeField(auto_now=True)
    trades_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Trades before do not count for losses and the circuit breaker: the last reset.",
    )

    class Meta:
        db_table = "risk_guard"
        verbose_name = verbose_name_plural = "guard"
        constraints = [models.CheckConstraint(name="risk_guard_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return "halted" if self.halted else "kill switch on" if self.kills else "open"

    @property
    def kills(self) -> bool:
        """Whether the kill switch is on: turned on by an operator, or, where none has turned it, by the environment."""
        return settings.QT_KILL_SWITCH if self.kill_switch is None else self.kill_switch


class RiskAccount(models.Model):
    """One row for each client, locked while one of its orders is reviewed; it remembers what reviews have found."""

    client = models.OneToOneField("tenants.Client", primary_key=True, on_delete=models.CASCADE, related_name="+")
    tripped_at = models.DateTimeField(
        null=True, blank=True, help_text="When the circuit breaker opened; empty while it is closed."
    )
    trades_since = models.DateTimeField(
        null=True, blank=True, help_text="The client's trades before do not count for losses: its own last reset."
    )

    class Meta:
        db_table = "risk_accounts"

    def __str__(self) -> str:
        return str(self.client_id)


class Reservation(models.Model):
    """The exposure that an approved order may come to, until its outcome is known."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.CASCADE, related_name="+")
    client_order_id = models.CharField(max_length=64, unique=True)
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=28, decimal_places=8, help_text="Signed: negative for a sell.")
    price = models.DecimalField(max_digits=28, decimal_places=8)
    multiplier = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(1))
    unit_delta = models.DecimalField(
        max_digits=28, decimal_places=8, null=True, help_text="What one adds to the net delta; empty: not known."
    )
    is_autonomous = models.BooleanField(default=True, help_text="No person approved it, and money can move.")
    send_by = models.DateTimeField(
        null=True, help_text="Until then its sender may begin to send it; empty before that, and once it is answered."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "risk_reservations"

    def __str__(self) -> str:
        return f"{self.quantity} {self.symbol}"


class RiskDecision(models.Model):
    """One review: what was asked, and which limit said no."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.CASCADE, related_name="+")
    client_order_id = models.CharField(max_length=64)
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=4)
    quantity = models.DecimalField(max_digits=28, decimal_places=8)
    price = models.DecimalField(max_digits=28, decimal_places=8)
    approved = models.BooleanField()
    limit = models.CharField(max_length=64, blank=True, default="", help_text="The limit that refused.")
    limit_value = models.CharField(max_length=64, blank=True, default="")
    order_value = models.CharField(max_length=64, blank=True, default="")
    message = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "risk_decisions"
        ordering = ["-id"]

    def __str__(self) -> str:
        return "approved" if self.approved else f"refused by {self.limit}"


class Halt(models.Model):
    """One emergency halt, from its beginning to its end."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    began_at = models.DateTimeField(auto_now_add=True)
    by = models.CharField(max_length=200, blank=True, default="")
    reason = models.CharField(max_length=200, blank=True, default="")
    settled_at = models.DateTimeField(
        null=True, blank=True, help_text="When everybody who was sending had ended; no order was sent after it."
    )
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=200, blank=True, default="")
    run_id = models.UUIDField(null=True, blank=True, help_text="The last run that cancelled open orders for it.")

    class Meta:
        db_table = "risk_halts"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(Value(1), name="risk_halts_one_at_a_time", condition=Q(lifted_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"halt of {self.began_at:%Y-%m-%d %H:%M:%S} UTC"


class CancelOutcome(models.TextChoices):
    """What became of an order that was open when everything was halted."""

    CONFIRMED = "confirmed", "Cancelled: the venue says so"
    OVER = "over", "Over before it could be cancelled"
    NOT_CONFIRMED = "not_confirmed", "Not confirmed"
    LEFT_ALONE = "left_alone", "Left alone: not sent by this platform"


STILL_OPEN = (CancelOutcome.NOT_CONFIRMED, CancelOutcome.LEFT_ALONE)


class HaltedOrder(models.Model):
    """An order that was open when everything was halted, and whether its venue has confirmed that it is cancelled."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    halt = models.ForeignKey(Halt, on_delete=models.CASCADE, related_name="orders")
    client = models.ForeignKey("tenants.Client", on_delete=models.CASCADE, related_name="+")
    broker = models.CharField(max_length=32)
    order = models.CharField(max_length=64, help_text="Our id of it, or the venue's where it has none of ours.")
    symbol = models.CharField(max_length=32, blank=True, default="")
    outcome = models.CharField(max_length=16, choices=CancelOutcome.choices)
    why = models.CharField(max_length=300, blank=True, default="")
    at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "risk_halted_orders"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(name="risk_halted_orders_once", fields=["halt", "client", "broker", "order"])
        ]

    def __str__(self) -> str:
        return self.order
