"""A client with a paper account, a market, and a venue that lies, sleeps and dies on demand."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from trading.brokers.base import (
    Account,
    BrokerUnavailable,
    Capabilities,
    Execution,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
    Side,
    Ticket,
)
from trading.brokers.instruments import Quote
from trading.brokers.services import open_paper_account
from trading.execution import services
from trading.execution.models import Order
from trading.execution.planning import Planned
from trading.marketdata.models import Candle
from trading.risk.models import Guard
from trading.tenants.models import Client


@dataclass
class Venue:
    """Keeps a ledger of its own: which ids it was sent, how often, and what it accepted."""

    name: str = "venue"
    deduplicates: bool = True
    lot: Decimal = Decimal("0.001")
    fails: list[str] = field(default_factory=list)
    """What the next submissions do: ``lost answer``, ``unreachable``, ``lost request``."""
    submissions: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    price: Decimal = Decimal(100)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _orders: dict[str, Ticket] = field(default_factory=dict)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(deduplicates_client_ids=self.deduplicates, queries_by_client_id=True)

    def place(self, ticket: Ticket) -> OrderReport:
        with self._lock:
            self.submissions.append(ticket.client_order_id)
            failure = self.fails.pop(0) if self.fails else ""
            if failure == "unreachable":
                raise BrokerUnavailable("refused", broker=self.name, operation="submit", code="down")
            if failure != "lost request" and (ticket.client_order_id not in self._orders or not self.deduplicates):
                self.accepted.append(ticket.client_order_id)
                self._orders[ticket.client_order_id] = ticket
            if failure:
                raise OutcomeUnknown("no answer", broker=self.name, operation="submit", code="timeout")
            return self._report(ticket)

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        ticket = self._orders.get(client_order_id)
        return None if ticket is None else self._report(ticket)

    def account(self) -> Account:
        return Account(Decimal(10_000), "USD")

    def _report(self, ticket: Ticket) -> OrderReport:
        fill = Execution(
            f"x-{ticket.client_order_id}",
            ticket.quantity,
            self.price,
            Decimal("0.5"),
            datetime(2026, 11, 20, tzinfo=UTC),
        )
        return OrderReport(ticket.client_order_id, f"v-{ticket.client_order_id}", OrderStatus.FILLED, (fill,))


@pytest.fixture(autouse=True)
def _guard(transactional_db: None) -> None:
    """A transactional test truncates the row of the migration."""
    Guard.objects.get_or_create(id=1)


@pytest.fixture
def desk() -> Client:
    client = Client.objects.create(name="Desk")
    open_paper_account(client.id, cash=Decimal(10_000))
    return client


@pytest.fixture
def market() -> None:
    make_market({"AAA": (100, 100), "BBB": (50, 50)})


def make_market(closes: dict[str, tuple[float, float]], volume: int = 1_000_000) -> None:
    """Two daily bars of each symbol, the last of which ended today."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for symbol, pair in closes.items():
        for day, close in enumerate(pair):
            price = Decimal(str(close))
            time = today - timedelta(days=2 - day)
            Candle.objects.create(
                symbol=symbol, time=time, open=price, high=price, low=price, close=price, volume=volume, source="test"
            )


@pytest.fixture
def venue() -> Iterator[Venue]:
    yield Venue()


def intend(client: Client, *planned: Planned, run_id: UUID | None = None) -> list[Order]:
    with transaction.atomic():
        quotes = {one.symbol: quoted(one.symbol, one.price) for one in planned}
        return services.intend(client.id, run_id or uuid4(), list(planned), broker="venue", quotes=quotes)


def quoted(symbol: str, price: Decimal) -> Quote:
    """Bid and ask at one price."""
    return Quote(symbol, price, price, price, datetime(2026, 11, 20, tzinfo=UTC))


def buy(quantity: str = "2", symbol: str = "AAA", price: str = "100") -> Planned:
    return Planned(symbol, Side.BUY, Decimal(quantity), Decimal(price))


def sell(quantity: str = "2", symbol: str = "AAA", price: str = "100") -> Planned:
    return Planned(symbol, Side.SELL, Decimal(quantity), Decimal(price))
