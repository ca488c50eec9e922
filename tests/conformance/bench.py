"""What the suite needs of each venue beside its adapter: its own ledger, its market, and ways to fail on demand."""

import importlib
from abc import ABC, abstractmethod
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal, NamedTuple

from tests.conformance import benches
from trading.brokers import registry
from trading.brokers.base import Broker


class Fault(StrEnum):
    """How a venue fails. Each is for the next call of an operation, and then over."""

    LOST_REQUEST = "lost_request"
    """Hangs up without having taken it."""
    LOST_ANSWER = "lost_answer"
    """Takes it, and does not answer within the client's time."""
    LATE_BOOKING = "late_booking"
    """Does not answer, and takes it a second after the client has given up."""
    GARBAGE = "garbage"
    """Takes it, and answers with what cannot be read."""
    WRONG_ID = "wrong_id"
    """Takes it, and answers about another order."""
    REFUSED_BUT_BOOKED = "refused_but_booked"
    """Takes it, and answers that the request was bad."""
    SERVER_ERROR = "server_error"
    """Takes it, and answers that it has failed."""
    SLOW = "slow"
    """Takes its time, but not more than the client gives."""
    RATE_LIMITED = "rate_limited"
    """Refuses for three seconds because too much was asked, without having taken it."""


Operation = Literal["place", "cancel", "order", "read"]


class Traded(NamedTuple):
    """A trade in the venue's own ledger."""

    quantity: Decimal
    price: Decimal


class Bench(ABC):
    """One venue on the bench, fresh for each test: an account with money and a market that stands still."""

    symbol: ClassVar[str]
    quantity: ClassVar[Decimal]
    """A market order of this trades at once and whole."""
    far_bid: ClassVar[Decimal]
    """A buy at this price rests."""
    near_bid: ClassVar[Decimal]
    """A buy at this price trades."""
    faults: ClassVar[frozenset[Fault]] = frozenset()
    """What it can be told to do; nothing, where there is no line that could break."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """What no message may hold."""

    @abstractmethod
    def open(self) -> Broker:
        """A session with good credentials."""

    def open_with_bad_credentials(self) -> Broker | None:
        """A session that the venue does not accept; None where it asks for none."""
        return None

    @abstractmethod
    def booked(self, client_order_id: str) -> int:
        """How many orders of that id the venue has taken, by its own ledger; rejected ones do not count."""

    @abstractmethod
    def traded(self, client_order_id: str) -> list[Traded]:
        """The trades of that order, by its own ledger."""

    @abstractmethod
    def make_shallow(self) -> Decimal:
        """How much can be traded at the best price from now on; there is nothing behind it."""

    def fault(self, kind: Fault, operation: Operation) -> None:
        """Fail the next call of ``operation``; ``read``: of every one of open orders, fills, positions, balances."""
        raise NotImplementedError(kind, operation)

    def restart(self) -> None:  # noqa: B027  # not every venue has a process
        """Stop the venue and start it again on its ledger; nothing to do for one without a process."""

    def close(self) -> None:  # noqa: B027  # not every venue holds something
        """Let go of everything."""


def bench_of(name: str) -> type[Bench]:
    """The bench of an adapter; an adapter without one fails the suite."""
    bench: type[Bench] = importlib.import_module(f"{benches.__name__}.{name}").BENCH
    return bench


ADAPTERS = registry.names()
