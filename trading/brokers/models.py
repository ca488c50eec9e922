"""Clients' accounts at venues, and the books of the paper venue.

The paper venue is a venue of our own, kept apart from the platform's orders as a real one would be.
"""

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone

from trading.brokers.base import OrderStatus, Side
from trading.core.encryption import CannotOpen, key_id
from trading.core.ids import uuid7
from trading.core.sealed import SealedField


class AccountStatus(models.TextChoices):
    """Whether the last session of an account could be opened."""

    CONNECTED = "connected"
    FAILED = "failed"


class BrokerAccount(models.Model):
    """A client's account at a venue, with what opens it: see `trading.brokers.accounts`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    broker = models.CharField(max_length=32)
    credentials = SealedField(blank=True, default="", help_text="Empty for a venue that asks for none.")
    status = models.CharField(max_length=16, choices=AccountStatus.choices)
    connected_at = models.DateTimeField(help_text="When the credentials were handed over.")
    tested_at = models.DateTimeField(help_text="When a session was last tried.")
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        db_table = "broker_accounts"
        ordering = ["client", "broker"]
        constraints = [models.UniqueConstraint(name="broker_accounts_once", fields=["client", "broker"])]

    def __str__(self) -> str:
        return self.broker

    @property
    def key(self) -> str:
        """The id of the key that the credentials are encrypted under; empty where there are none."""
        if not self.credentials:
            return ""
        try:
            return key_id(self.credentials)
        except CannotOpen:
            return "damaged"


class PaperAccount(models.Model):
    """A client's account at the paper venue."""

    client = models.OneToOneField("tenants.Client", primary_key=True, on_delete=models.CASCADE, related_name="+")
    cash = models.DecimalField(max_digits=28, decimal_places=8)
    currency = models.CharField(max_length=8, default="USD")

    class Meta:
        db_table = "paper_accounts"
        constraints = [models.CheckConstraint(name="paper_accounts_no_debt", condition=Q(cash__gte=0))]

    def __str__(self) -> str:
        return f"{self.client_id}: {self.cash} {self.currency}"


class PaperHolding(models.Model):
    """What an account holds of one symbol; the paper venue does not lend, so never less than nothing."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(PaperAccount, on_delete=models.CASCADE, related_name="holdings")
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=28, decimal_places=8)

    class Meta:
        db_table = "paper_holdings"
        constraints = [
            models.UniqueConstraint(name="paper_holdings_once", fields=["account", "symbol"]),
            models.CheckConstraint(name="paper_holdings_not_short", condition=Q(quantity__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} {self.symbol}"


class PaperOrder(models.Model):
    """An order as the paper venue took it, with its executions; a client order id is taken once."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(PaperAccount, on_delete=models.CASCADE, related_name="orders")
    client_order_id = models.CharField(max_length=64)
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=4, choices=[(side.value, side.value) for side in Side])
    quantity = models.DecimalField(max_digits=28, decimal_places=8)
    status = models.CharField(max_length=16, choices=[(status.value, status.value) for status in OrderStatus])
    filled_quantity = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0))
    price = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0), help_text="On average.")
    fee = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0))
    reason = models.CharField(max_length=200, blank=True, default="")
    limit_price = models.DecimalField(max_digits=28, decimal_places=8, null=True, blank=True)
    rests = models.BooleanField(default=False)
    fills = models.JSONField(default=list, help_text="Quantity, price, fee and time of each; money as text.")
    received_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now, help_text="When it meets the market first.")
    met_at = models.DateTimeField(null=True, blank=True, help_text="When it last met the market.")
    met_bar = models.DateTimeField(null=True, blank=True, help_text="The bar that it met then.")

    class Meta:
        db_table = "paper_orders"
        constraints = [models.UniqueConstraint(name="paper_orders_once", fields=["account", "client_order_id"])]

    def __str__(self) -> str:
        return self.client_order_id


class BrokerBudget(models.Model):
    """What is left of a limit that a venue counts for an account or an address: `trading.brokers.throttle`."""

    scope = models.CharField(max_length=120, primary_key=True)
    tokens = models.FloatField()
    refilled_at = models.DateTimeField()
    blocked_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "broker_budgets"

    def __str__(self) -> str:
        return self.scope


class IbkrLogin(models.Model):
    """A gateway of Interactive Brokers: the one client whose it is, and the one process that may hold it.

    A gateway asks nobody for a password, so that whoever reaches it trades on its account: the first client that
    connects to it keeps it, until an operator deletes this row.
    """

    login = models.CharField(primary_key=True, max_length=64, help_text="The gateway's address and port.")
    client = models.ForeignKey("tenants.Client", on_delete=models.CASCADE, related_name="+")
    holder = models.UUIDField(null=True)
    leased_until = models.DateTimeField()
    next_order_id = models.BigIntegerField(default=1, help_text="No order id below this is used again.")

    class Meta:
        db_table = "ibkr_logins"

    def __str__(self) -> str:
        return self.login


class IbkrOrder(models.Model):
    """The order id under which an order goes to Interactive Brokers: written before it is sent, once for ever."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.CASCADE, related_name="+")
    login = models.CharField(max_length=64)
    client_order_id = models.CharField(max_length=64)
    order_id = models.BigIntegerField()
    claimed_at = models.DateTimeField(auto_now_add=True)
    refusal = models.CharField(max_length=300, blank=True, default="", help_text="Why the venue did not take it.")

    class Meta:
        db_table = "ibkr_orders"
        constraints = [
            models.UniqueConstraint(name="ibkr_orders_once", fields=["client", "client_order_id"]),
            models.UniqueConstraint(name="ibkr_orders_ids", fields=["login", "order_id"]),
        ]

    def __str__(self) -> str:
        return self.client_order_id


class MockOrder(models.Model):
    """An order at the mock venue with what was traded of it; a client order id is taken once."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.CASCADE, related_name="+", db_index=False)
    client_order_id = models.CharField(max_length=64)
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=4, choices=[(side.value, side.value) for side in Side])
    quantity = models.DecimalField(max_digits=28, decimal_places=8)
    limit_price = models.DecimalField(max_digits=28, decimal_places=8, null=True, blank=True)
    rests = models.BooleanField()
    status = models.CharField(max_length=16, choices=[(status.value, status.value) for status in OrderStatus])
    reason = models.CharField(max_length=200, blank=True, default="")
    fills = models.JSONField(default=list, help_text="Quantity, price, fee and time of each; money as text.")
    received_at = models.DateTimeField()
    matched_at = models.DateTimeField(help_text="When it last met the market.")

    class Meta:
        db_table = "mock_orders"
        constraints = [models.UniqueConstraint(name="mock_orders_once", fields=["client", "client_order_id"])]

    def __str__(self) -> str:
        return self.client_order_id

    @property
    def filled(self) -> Decimal:
        """What was traded of it."""
        return sum((Decimal(part["quantity"]) for part in self.fills), Decimal(0))
