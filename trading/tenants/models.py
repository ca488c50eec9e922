"""Clients (tenants) and the users who belong to them."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q


class Client(models.Model):
    """A tenant: one trading shop's customer, whose rows nobody else sees."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True)
    is_active = models.BooleanField(default=True, help_text="Inactive clients keep their rows; no job runs for them.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

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

    @property
    def may_log_in(self) -> bool:
        """Whether the user is active, and the client too."""
        return self.is_active and (self.client is None or self.client.is_active)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="tenants_user_client_unless_operator",
                condition=Q(role=Role.OPERATOR, client__isnull=True)
                | (~Q(role=Role.OPERATOR) & Q(client__isnull=False)),
            )
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
