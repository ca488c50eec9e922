"""What every venue offers: submit an order, find it again by our id, tell the account."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderStatus(StrEnum):
    """Where an order stands at its venue."""

    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Ticket:
    """An order as it is handed to a venue: an immediate-or-cancel market order for a positive ``quantity``."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal


@dataclass(frozen=True)
class Execution:
    """A part of an order that was traded: ``price`` per unit, ``fee`` in the account's currency."""

    execution_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    time: datetime


@dataclass(frozen=True)
class OrderReport:
    """What the venue says of one order, with all its executions so far."""

    client_order_id: str
    broker_order_id: str
    status: OrderStatus
    executions: tuple[Execution, ...] = ()
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in (OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELLED)


@dataclass(frozen=True)
class Account:
    """The cash of an account and the currency that it is in."""

    cash: Decimal
    currency: str


class BrokerError(RuntimeError):
    """A venue failed; fields as the API's ``broker_error`` shows them."""

    def __init__(
        self,
        message: str,
        *,
        broker: str,
        operation: str,
        code: str,
        retryable: bool = False,
        context: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.broker = broker
        self.operation = operation
        self.code = code
        self.retryable = retryable
        self.context = context or {}


class BrokerUnavailable(BrokerError):
    """The venue was not reached, so that nothing happened there: another try is safe."""


class OutcomeUnknown(BrokerError):
    """The order may have been taken or not: ask for it by its id, and do not send it again."""


class Broker(Protocol):
    """A session with one venue for one client."""

    name: str
    deduplicates: bool
    """Whether sending one client order id twice makes one order. If not, it is never sent again."""
    lot: Decimal
    """Quantities are multiples of this."""

    def submit(self, ticket: Ticket) -> OrderReport:
        """Send an order. Must not be called inside a database transaction.

        Raises `BrokerUnavailable` when it was surely not taken, `OutcomeUnknown` when that cannot be said. A refusal by
        the venue is a report with status ``rejected``, not an error.
        """

    def find(self, client_order_id: str) -> OrderReport | None:
        """The order of that id; None when the venue says that it has none. Raises `BrokerError`."""

    def account(self) -> Account:
        """Cash now. Raises `BrokerError`."""


class Adapter(Protocol):
    """What a module of ``adapters`` declares as ``ADAPTER``: how to open a session for a client."""

    name: str

    def open(self, client_id: UUID) -> Broker:
        """A session; raises `BrokerError` when it cannot be had."""
