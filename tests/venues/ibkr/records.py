"""Orders and executions as the gateway keeps them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

NEVER = datetime.min.replace(tzinfo=UTC)
LIVE = ("PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel")


@dataclass
class Order:
    """An order; ``perm_id`` is its own for ever, ``order_id`` only its client's."""

    client_id: int
    order_id: int
    con_id: int
    exchange: str
    action: str
    quantity: Decimal
    order_type: str
    tif: str
    account: str
    order_ref: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    oca_group: str = ""
    oca_type: int = 0
    parent_id: int = 0
    outside_rth: bool = False
    good_till: str = ""
    transmit: bool = True
    what_if: bool = False
    perm_id: int = 0
    status: str = "PendingSubmit"
    filled: Decimal = Decimal(0)
    average_price: Decimal = Decimal(0)
    last_price: Decimal = Decimal(0)
    reason: str = ""
    created_at: datetime = field(default_factory=lambda: NEVER)
    changed_at: datetime = field(default_factory=lambda: NEVER)

    @property
    def is_live(self) -> bool:
        """Whether it can still trade."""
        return self.status in LIVE

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self.action == "BUY" else -1


@dataclass(frozen=True)
class Execution:
    """A part of an order that was traded; a correction has the same id up to the last dot."""

    exec_id: str
    perm_id: int
    quantity: Decimal
    price: Decimal
    cumulative: Decimal
    average_price: Decimal
    time: datetime
    commission: Decimal
