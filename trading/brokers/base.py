"""What every venue offers behind one interface: place an order once, find it again by our id, tell the account.

Prices are in the instrument's quote currency per unit, quantities in units (shares, coins, contracts), both `Decimal`;
times are aware. A list that a venue could not give completely is an error, never an empty or a shorter list.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, runtime_checkable
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from trading.brokers.instruments import Instrument, OptionChain, Quote
from trading.brokers.quotes import is_symbol
from trading.core.errors import ApiError


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """Whether an order names the worst price that it takes."""

    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    """What becomes of the part that cannot be traded at once: cancelled, or left in the book until it is cancelled."""

    IOC = "ioc"
    GTC = "gtc"


class OrderStatus(StrEnum):
    """Where an order stands at its venue."""

    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


ALREADY_SENT = "already_sent"
"""The code of an error after which `Broker.place` has sent nothing, since an earlier call has, or may have."""
GARBAGE = "garbage"
"""The code of an error after which the venue has answered, but with what cannot be read."""
FINAL = frozenset({OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELLED})


@dataclass(frozen=True)
class Ticket:
    """An order as it is handed to a venue, for a positive ``quantity``; by default immediate-or-cancel at the market.

    A limit order has a ``limit_price``, a market order has none, and the symbol could be one, else `ValueError`.
    ``send_by``: who has not begun to send it by then does not; every adapter with a `booking horizon <Capabilities>`
    sees to it.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.IOC
    send_by: datetime | None = None

    def __post_init__(self) -> None:
        if (self.order_type is OrderType.LIMIT) != (self.limit_price is not None):
            raise ValueError("a limit order has a limit price, and no other has one")
        if not is_symbol(self.symbol):
            raise ValueError("this names nothing that could be traded")


@dataclass(frozen=True)
class Execution:
    """A part of an order that was traded: ``price`` per unit, ``fee`` as worth in the account's currency.

    ``fee_asset`` is what the fee was taken in; ``fee_quantity`` is how much of the traded asset itself was kept for
    it, so that the holding has changed by so much less than ``quantity`` (0 where fees are paid in money).
    ``fee_unvalued`` is how much of ``fee_asset`` was taken where nobody tells what that is worth; ``fee`` is 0 then.
    """

    execution_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    time: datetime
    fee_asset: str = ""
    fee_quantity: Decimal = Decimal(0)
    fee_unvalued: Decimal = Decimal(0)


@dataclass(frozen=True)
class OrderReport:
    """What the venue says of one order, with all its executions so far.

    ``quantity`` is what the venue took, which may be the ticket's rounded down to a lot; None: the ticket's.
    """

    client_order_id: str
    broker_order_id: str
    status: OrderStatus
    executions: tuple[Execution, ...] = ()
    reason: str = ""
    symbol: str = ""
    side: Side | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None

    @classmethod
    def rejected(cls, ticket: Ticket, reason: str, *, quantity: Decimal | None = None) -> Self:
        """That the venue's rules refuse ``ticket``: nothing was taken of it. ``quantity``: as rounded to its lot."""
        return cls(
            ticket.client_order_id,
            "",
            OrderStatus.REJECTED,
            reason=reason[:300],
            symbol=ticket.symbol,
            side=ticket.side,
            quantity=ticket.quantity if quantity is None else quantity,
            limit_price=ticket.limit_price,
        )

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in FINAL

    @property
    def filled(self) -> Decimal:
        """The quantity of all executions."""
        return sum((part.quantity for part in self.executions), Decimal(0))


@dataclass(frozen=True)
class AccountFill:
    """An execution with the order that it belongs to; ``client_order_id`` is empty where none was given."""

    execution: Execution
    symbol: str
    side: Side
    client_order_id: str
    broker_order_id: str


@dataclass(frozen=True)
class Account:
    """The cash of an account and the currency that it is in."""

    cash: Decimal
    currency: str


@dataclass(frozen=True)
class Balance:
    """An amount of money or of an asset: what can be spent, and what open orders hold."""

    asset: str
    free: Decimal
    locked: Decimal = Decimal(0)


@dataclass(frozen=True)
class Holding:
    """What an account has of one symbol: negative when short; ``average_cost`` per unit where the venue tells it."""

    symbol: str
    quantity: Decimal
    average_cost: Decimal | None = None


class BrokerError(ApiError):
    """A venue failed, and it is not said how: after an order was sent, take it as unknown.

    In the API it is a ``broker_error``, 502, or 503 where another try is safe. ``context`` is JSON without secrets.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        broker: str,
        operation: str,
        code: str,
        context: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
        self.broker = broker
        self.operation = operation
        self.code = code
        self.context = context or {}
        self.retry_after = retry_after
        super().__init__(
            503 if self.retryable else 502,
            "broker_error",
            message,
            headers=headers,
            operation=operation,
            broker=broker,
            code=code,
            retryable=self.retryable,
            context=self.context,
        )


class BrokerRefused(BrokerError):
    """Permanent: the venue has said no, and nothing was changed there. The same request would be refused again."""


class BrokerUnavailable(BrokerError):
    """Retryable: the venue did not take the request, so that nothing happened there. ``retry_after``: seconds."""

    retryable = True


class OutcomeUnknown(BrokerError):
    """Unknown: what was asked may have been done or not. Ask for the order by its id, and do not send it again."""


def has_answered(error: BrokerError) -> bool:
    """Whether the venue was there and has answered, with a no or unreadably: asked for other things it may say them."""
    return isinstance(error, BrokerRefused) or error.code == GARBAGE


@dataclass(frozen=True)
class Capabilities:
    """What a venue can do, stated truthfully: callers decide by it.

    ``deduplicates_client_ids``: an id that was ever taken is never booked again, also after the order has ended. If
    not, nothing is sent twice. ``queries_by_client_id``: `Broker.order` asks the venue for our id itself.
    ``rests_orders``: limit orders may stay in its book. ``sells_short``: without a holding. ``booking_horizon``: how
    long after a ticket's ``send_by`` its order may still be booked, and be missing from what `Broker.order` asks, at
    most; what is not there after that was never booked. None where nobody can say.
    """

    deduplicates_client_ids: bool
    queries_by_client_id: bool
    replaces: bool = False
    streams: bool = False
    option_chains: bool = False
    greeks: bool = False
    rests_orders: bool = True
    sells_short: bool = False
    booking_horizon: timedelta | None = None


class Broker(ABC):
    """A session with one venue for one client, for use by one thread; close it, or use it in a ``with``.

    Every call may raise one of the four `BrokerError`s; of those that change nothing at the venue, each is safe to
    repeat. A call that the capabilities do not state raises `BrokerRefused` with the code ``unsupported``.
    """

    name: str
    capabilities: Capabilities
    currency: str
    """The money that orders are paid in."""
    lot: Decimal
    """Quantities of every symbol are multiples of this; an instrument's own lot may be larger."""

    @abstractmethod
    def place(self, ticket: Ticket) -> OrderReport:
        """Send an order once. Must not be called inside a database transaction.

        The quantity is rounded down to the instrument's lot. A refusal by the venue's rules is a report with the
        status ``rejected``, not an error. `BrokerUnavailable` and `BrokerRefused` are raised only when it was surely
        not taken; whatever else goes wrong after it was sent is `OutcomeUnknown`, with `ALREADY_SENT` as its code when
        this call has sent nothing.
        """

    @abstractmethod
    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """Cancel what is left of an order; the order as it stands after that, however it had ended before.

        Raises `BrokerRefused` with ``unknown_order`` when the venue has none of that id.
        """

    def replace(self, client_order_id: str, ticket: Ticket) -> OrderReport:
        """Put ``ticket``, under an id of its own, in the place of what is left of an order; the new order's report.

        It is rejected when the old order can no longer be cancelled: the two never stand together.
        """
        raise self.unsupported("replace")

    @abstractmethod
    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The order of that id; None when the venue says that it has none, which soon after sending is no proof."""

    @abstractmethod
    def open_orders(self) -> tuple[OrderReport, ...]:
        """All orders of the account that are not final, also those that we did not send."""

    @abstractmethod
    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """Everything traded at or after ``since``, oldest first; ``symbols`` for venues that list fills by symbol."""

    @abstractmethod
    def positions(self) -> tuple[Holding, ...]:
        """What the account holds; nothing that it does not."""

    @abstractmethod
    def balances(self) -> tuple[Balance, ...]:
        """Money, and on spot venues the assets too. Fails when the credentials are not accepted: a test of them."""

    @abstractmethod
    def instrument(self, symbol: str) -> Instrument:
        """The rules of ``symbol``; `BrokerRefused` with ``unknown_symbol`` when it is not traded there."""

    @abstractmethod
    def quote(self, symbol: str) -> Quote:
        """The best prices now; `BrokerRefused` with ``unknown_symbol``."""

    def chain(self, underlying: str, *, expiry: date | None = None) -> OptionChain:
        """The options on ``underlying`` that end at ``expiry``, or at the next one, with greeks where there are any."""
        raise self.unsupported("chain")

    def stream(self, symbols: Sequence[str]) -> Iterator[Quote]:
        """Quotes as they change, until the iterator is closed; a break of the line raises `BrokerUnavailable`."""
        raise self.unsupported("stream")

    def account(self) -> Account:
        """Cash of the account's currency, what open orders hold included."""
        cash = sum(
            (balance.free + balance.locked for balance in self.balances() if balance.asset == self.currency), Decimal(0)
        )
        return Account(cash, self.currency)

    def close(self) -> None:  # noqa: B027  # a session that holds nothing has nothing to let go
        """Let go of what the session holds; orders stay."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hurry(self, ticket: Ticket, operation: str, now: datetime) -> None:
        """Raise `BrokerUnavailable` when it is too late to begin to send ``ticket``."""
        if ticket.send_by is not None and now > ticket.send_by:
            message = "The time to send this order is over."
            raise BrokerUnavailable(message, broker=self.name, operation=operation, code="too_late")

    def unsupported(self, operation: str) -> BrokerRefused:
        """The error for a call that the capabilities do not state."""
        return BrokerRefused(
            f"{self.name} cannot do this: its capabilities say so.",
            broker=self.name,
            operation=operation,
            code="unsupported",
        )


class Credentials(BaseModel):
    """What opens a session. Each venue has a subclass, secrets as `pydantic.SecretStr`; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@runtime_checkable
class Adapter(Protocol):
    """What a module of ``adapters`` declares as ``ADAPTER``: how to open a session for a client."""

    name: str
    is_simulated: bool
    """Whether no money can move there, so that it may be used while ``USE_MOCK_BROKER`` is on."""
    credentials: type[Credentials]

    def open(self, client_id: UUID, credentials: Credentials) -> Broker:
        """A session, without asking the venue where its first use can say what is wrong; raises `BrokerError`."""


@runtime_checkable
class Enrols(Protocol):
    """An adapter of a venue of our own: it opens an account for a client that has none, and asks for no credentials."""

    def enrol(self, client_id: UUID) -> None:
        """Open it, in the caller's transaction; one that exists stays as it is."""
