"""Orders from intent to outcome, their fills, the positions that these add up to, and snapshots of the whole."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q, TextChoices

from trading.brokers.base import OrderType, Side, TimeInForce
from trading.core.ids import uuid7
from trading.execution.states import LIVE, OrderState

SIDES = [(side.value, side.value) for side in Side]
ORDER_TYPES = [(kind.value, kind.value) for kind in OrderType]
TIMES_IN_FORCE = [(kind.value, kind.value) for kind in TimeInForce]


class Order(models.Model):
    """An intent, under a client order id that follows from it, and what became of it.

    ``filled_quantity`` may exceed ``quantity``: what a venue has traded too much is as real as the rest.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+")
    run_id = models.UUIDField(db_index=True, help_text="The job run that intended it.")
    sequence = models.PositiveSmallIntegerField(help_text="Its place among the orders of that run: sells come first.")
    client_order_id = models.CharField(max_length=64, unique=True)
    broker = models.CharField(max_length=32)
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=4, choices=SIDES)
    quantity = models.DecimalField(max_digits=28, decimal_places=8)
    reference_price = models.DecimalField(
        max_digits=28, decimal_places=8, help_text="What it was expected to trade at."
    )
    previous_price = models.DecimalField(max_digits=28, decimal_places=8, help_text="The close before that.")
    order_type = models.CharField(max_length=8, choices=ORDER_TYPES, default="market", db_default="market")
    limit_price = models.DecimalField(max_digits=28, decimal_places=8, null=True, blank=True)
    time_in_force = models.CharField(max_length=8, choices=TIMES_IN_FORCE, default="ioc", db_default="ioc")
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="What is open of it then is cancelled at the venue."
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=20, choices=OrderState.choices)
    filled_quantity = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0))
    average_price = models.DecimalField(max_digits=28, decimal_places=8, null=True, blank=True)
    fees = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0))
    broker_order_id = models.CharField(max_length=64, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    missed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the venue was first asked for it past its booking horizon, and had none."
    )
    is_sent_for_good = models.BooleanField(
        default=False, db_default=False, help_text="Its adapter has sent it, or may have, and sends it no more."
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "orders"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(name="orders_once_in_run", fields=["run_id", "sequence"]),
            models.CheckConstraint(name="orders_quantity_positive", condition=Q(quantity__gt=0)),
            models.CheckConstraint(name="orders_filled_not_negative", condition=Q(filled_quantity__gte=0)),
            models.CheckConstraint(name="orders_state_known", condition=Q(state__in=OrderState.values)),
            models.CheckConstraint(
                name="orders_limit_iff_priced",
                condition=Q(order_type="limit", limit_price__isnull=False)
                | Q(order_type="market", limit_price__isnull=True),
            ),
            models.CheckConstraint(
                name="orders_finished_iff_ended",
                condition=Q(state__in=LIVE, finished_at__isnull=True)
                | (~Q(state__in=LIVE) & Q(finished_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(name="orders_by_client", fields=["client", "-id"]),
            models.Index(name="orders_open", fields=["client"], condition=Q(state__in=LIVE)),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.symbol}"

    @property
    def is_live(self) -> bool:
        """Whether something may still come of it."""
        return self.state in LIVE

    @property
    def left(self) -> Decimal:
        """What is not filled; 0 where more was filled than was ordered."""
        return max(self.quantity - self.filled_quantity, Decimal(0))


class Fill(models.Model):
    """A part of an order that was traded. The venue's execution id makes it count once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="fills")
    broker = models.CharField(max_length=32)
    execution_id = models.CharField(max_length=64)
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=28, decimal_places=8, help_text="Signed: negative for a sell.")
    price = models.DecimalField(max_digits=28, decimal_places=8)
    fee = models.DecimalField(max_digits=28, decimal_places=8)
    fee_quantity = models.DecimalField(
        max_digits=28,
        decimal_places=8,
        default=Decimal(0),
        help_text="Of what was bought, kept by the venue for its fee: the position grew by so much less.",
    )
    fee_asset = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="What the fee was taken in; empty: money."
    )
    realised_pnl = models.DecimalField(
        max_digits=28, decimal_places=8, help_text="Profit on what it closed, less its fee."
    )
    time = models.DateTimeField()

    class Meta:
        db_table = "trades"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(name="trades_once", fields=["client", "broker", "execution_id"]),
            models.CheckConstraint(name="trades_not_empty", condition=~Q(quantity=0)),
        ]
        indexes = [
            models.Index(name="trades_by_client", fields=["client", "-time"]),
            models.Index(name="trades_listed", fields=["client", "-id"]),
            models.Index(name="trades_closing", fields=["client", "-time"], condition=~Q(realised_pnl=-F("fee"))),
        ]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.symbol} at {self.price.normalize():f}"


class Position(models.Model):
    """What a client holds of one symbol: the sum of its fills, less what the venue kept of them for its fees.

    ``quantity`` is written by a trigger on the fills alone (migration 0005): nobody else's value is taken.
    """

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0))
    average_cost = models.DecimalField(
        max_digits=28, decimal_places=8, default=Decimal(0), help_text="Per unit, without fees."
    )
    realised_pnl = models.DecimalField(max_digits=28, decimal_places=8, default=Decimal(0))
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "positions"
        ordering = ["client", "symbol"]
        constraints = [models.UniqueConstraint(name="positions_once", fields=["client", "symbol"])]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.symbol}"


class PortfolioSnapshot(models.Model):
    """A client's cash, positions and exposure at the end of a cycle."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    run_id = models.UUIDField(unique=True)
    time = models.DateTimeField()
    cash = models.DecimalField(max_digits=28, decimal_places=8)
    equity = models.DecimalField(max_digits=28, decimal_places=8)
    gross_exposure = models.DecimalField(max_digits=28, decimal_places=8)
    positions = models.JSONField(default=list)

    class Meta:
        db_table = "portfolio_snapshots"
        ordering = ["-id"]
        indexes = [models.Index(name="portfolio_by_client", fields=["client", "-time"])]

    def __str__(self) -> str:
        return f"{self.equity} at {self.time:%Y-%m-%d %H:%M}"


class DifferenceKind(TextChoices):
    """What a venue says otherwise than we do."""

    UNKNOWN_ORDER = "unknown_order", "An order there that we do not know"
    MISSING_ORDER = "missing_order", "An order of ours that the venue does not show"
    OPEN_ORDER = "open_order", "An order that has ended here and is open there"
    UNKNOWN_FILL = "unknown_fill", "A fill there of no order of ours"
    OVERFILLED = "overfilled", "More filled than was ordered"
    REVIVED = "revived", "A rejected or written-off order that lives"
    POSITION = "position", "Another position"
    BALANCE = "balance", "Another balance"
    SUM = "sum", "A position that is not the sum of its fills"


class Difference(models.Model):
    """Something that a venue says otherwise than we do. Until it is resolved, nothing new is sent in its symbol.

    Its resolution is written once, and the row is never changed after that or deleted: a trigger sees to it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    broker = models.CharField(max_length=32)
    kind = models.CharField(max_length=20, choices=DifferenceKind.choices)
    symbol = models.CharField(max_length=32, blank=True, default="", help_text="Empty for money.")
    subject = models.CharField(max_length=64, help_text="An order's or an execution's id, a symbol, an asset.")
    ours = models.CharField(max_length=200)
    theirs = models.CharField(max_length=200)
    quantity = models.DecimalField(
        max_digits=28, decimal_places=8, null=True, blank=True, help_text="Theirs less ours, where it is a quantity."
    )
    data = models.JSONField(default=dict, blank=True, help_text="What the venue said; money as text.")
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When it was last found to stand.")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True, default="")
    resolution = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        db_table = "order_differences"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                name="order_differences_once",
                fields=["client", "broker", "kind", "symbol", "subject"],
                condition=Q(resolved_at__isnull=True),
            ),
            models.CheckConstraint(
                name="order_differences_resolved_by_somebody",
                condition=Q(resolved_at__isnull=True, resolved_by="", resolution="")
                | (Q(resolved_at__isnull=False) & ~Q(resolved_by="") & ~Q(resolution="")),
            ),
        ]
        indexes = [models.Index(name="order_differences_by_client", fields=["client", "-id"])]

    def __str__(self) -> str:
        return " ".join(part for part in (self.get_kind_display(), self.symbol, self.subject) if part)


class Adjustment(models.Model):
    """What an account has beside our fills: what was there before, and what a person explained; only added to."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    broker = models.CharField(max_length=32)
    is_money = models.BooleanField(help_text="An amount of the currency; otherwise a quantity of a symbol.")
    asset = models.CharField(max_length=32, help_text="The symbol, or the currency.")
    quantity = models.DecimalField(max_digits=28, decimal_places=8)
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=150)
    difference = models.ForeignKey(Difference, null=True, on_delete=models.PROTECT, related_name="+")
    time = models.DateTimeField()

    class Meta:
        db_table = "account_adjustments"
        ordering = ["-id"]
        indexes = [models.Index(name="account_adjustments_of", fields=["client", "broker", "asset"])]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.asset}"


class Reconciliation(models.Model):
    """When a client's account at a venue was last compared with ours, and why it cannot be."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey("tenants.Client", on_delete=models.PROTECT, related_name="+", db_index=False)
    broker = models.CharField(max_length=32)
    checked_at = models.DateTimeField(null=True, blank=True, help_text="The last time that all could be compared.")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="When its holdings were first seen.")
    fills_since = models.DateTimeField(help_text="Fills before this have been looked through.")
    tried_at = models.DateTimeField()
    error = models.CharField(max_length=300, blank=True, default="", help_text="Why not all could be compared.")

    class Meta:
        db_table = "reconciliations"
        ordering = ["client", "broker"]
        constraints = [models.UniqueConstraint(name="reconciliations_once", fields=["client", "broker"])]

    def __str__(self) -> str:
        return f"{self.broker}, last at {self.checked_at:%Y-%m-%d %H:%M}" if self.checked_at else self.broker
