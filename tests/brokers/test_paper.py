"""The paper venue: what it fills, what it charges, and that its books add up, computed apart in fractions."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django import Settings

from trading.brokers import quotes
from trading.brokers.adapters.paper import PaperBroker
from trading.brokers.base import BrokerUnavailable, OrderStatus, OrderType, Side, Ticket, TimeInForce
from trading.brokers.models import PaperAccount, PaperHolding, PaperOrder
from trading.brokers.quotes import LastTrade
from trading.brokers.registry import UnknownBroker, open_session
from trading.brokers.services import open_paper_account
from trading.core.ids import uuid7
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
UNIT = Fraction(1, 10**8)


@pytest.fixture
def market() -> Iterator[dict[str, LastTrade]]:
    """What trades, in place of the candles."""
    trades = {"AAA": LastTrade(Decimal(100), Decimal(1_000_000))}
    source = quotes._source
    assert source is not None
    quotes.provide(trades.get)
    yield trades
    quotes.provide(source)


@pytest.fixture(autouse=True)
def _fees(settings: Settings) -> None:
    settings.QT_PAPER_FEE_BPS = settings.QT_PAPER_SLIPPAGE_BPS = Decimal(5)
    settings.QT_PAPER_PARTICIPATION = Decimal("0.1")
    settings.QT_PAPER_SPREAD_BPS, settings.QT_PAPER_LATENCY_MS = Decimal(0), 0


def _account(cash: str = "100000") -> Client:
    client = Client.objects.create(name=f"Alpha {uuid7()}")
    open_paper_account(client.id, cash=Decimal(cash))
    return client


def _ticket(side: Side, quantity: str, symbol: str = "AAA") -> Ticket:
    return Ticket(f"qt-{uuid7()}", symbol, side, Decimal(quantity))


def test_a_buy_and_a_sell_by_hand(market: dict[str, LastTrade]) -> None:
    """Bought at 100 + 5 bps for 5 bps of 1,000.50, sold at 100 - 5 bps for 5 bps of 999.50."""
    client = _account("100000")
    broker = open_session("paper", client.id)
    bought = broker.place(_ticket(Side.BUY, "10"))
    (part,) = bought.executions
    assert bought.status is OrderStatus.FILLED
    assert (part.quantity, part.price, part.fee) == (Decimal(10), Decimal("100.05"), Decimal("0.50025"))
    assert broker.account().cash == Decimal("98998.99975")
    sold = broker.place(_ticket(Side.SELL, "10"))
    assert (sold.executions[0].price, sold.executions[0].fee) == (Decimal("99.95"), Decimal("0.49975"))
    assert broker.account().cash == Decimal("99998")


def test_an_id_that_comes_twice_is_one_order(market: dict[str, LastTrade]) -> None:
    client = _account()
    broker = open_session("paper", client.id)
    ticket = _ticket(Side.BUY, "10")
    assert broker.order(ticket.client_order_id, symbol="AAA") is None
    first = broker.place(ticket)
    market["AAA"] = LastTrade(Decimal(50), Decimal(10))
    assert broker.place(ticket) == broker.order(ticket.client_order_id, symbol="AAA") == first
    assert PaperOrder.objects.count() == 1
    assert PaperHolding.objects.get(account_id=client.id).quantity == 10


def test_a_tenth_of_the_bars_volume_is_the_most(market: dict[str, LastTrade]) -> None:
    market["AAA"] = LastTrade(Decimal(100), Decimal(50))
    report = open_session("paper", _account().id).place(_ticket(Side.BUY, "20"))
    assert (report.status, report.executions[0].quantity) == (OrderStatus.CANCELLED, Decimal(5))


@pytest.mark.parametrize(
    ("side", "quantity", "symbol", "reason"),
    [
        (Side.SELL, "1", "AAA", "does not lend"),
        (Side.BUY, "1", "BBB", "BBB is not traded here"),
        (Side.BUY, "0.0005", "AAA", "multiple of 0.001"),
        (Side.BUY, "0", "AAA", "must be a positive multiple"),
        (Side.BUY, "1", "DRY", "no volume"),
        (Side.BUY, "1", "DEAR", "not enough cash"),
    ],
)
def test_what_it_rejects_changes_nothing(
    market: dict[str, LastTrade], side: Side, quantity: str, symbol: str, reason: str
) -> None:
    market["DRY"] = LastTrade(Decimal(100), Decimal(0))
    market["DEAR"] = LastTrade(Decimal(10**9), Decimal(1000))
    client = _account()
    broker = open_session("paper", client.id)
    report = broker.place(_ticket(side, quantity, symbol))
    assert report.status is OrderStatus.REJECTED
    assert reason in report.reason
    assert report.executions == ()
    assert broker.account().cash == 100_000


def test_it_is_not_called_inside_a_transaction(market: dict[str, LastTrade]) -> None:
    broker = open_session("paper", _account().id)
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a transaction"):
        broker.place(_ticket(Side.BUY, "1"))
    assert not PaperOrder.objects.exists()


def test_no_account_and_no_such_venue_are_said(market: dict[str, LastTrade]) -> None:
    stranger = Client.objects.create(name="Beta")
    with pytest.raises(BrokerUnavailable, match="open_paper_account"):
        open_session("paper", stranger.id).account()
    with pytest.raises(UnknownBroker, match=r"there are: .*paper"):
        open_session("papyrus", stranger.id)


orders = st.lists(
    st.tuples(st.sampled_from(Side), st.decimals("0.001", "900", places=3), st.decimals("0.01", "400", places=8)),
    min_size=1,
    max_size=8,
)


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=orders, cash=st.decimals("1", "5000", places=8), volume=st.integers(1, 5000))
def test_its_books_add_up(
    market: dict[str, LastTrade], orders: list[tuple[Side, Decimal, Decimal]], cash: Decimal, volume: int
) -> None:
    """Cash is what it was less what was paid, to the smallest unit for each order; nothing is owed, nothing short."""
    client = _account(str(cash))
    broker = open_session("paper", client.id)
    held, expected, filled = Decimal(0), Fraction(cash), 0
    for side, quantity, price in orders:
        market["AAA"] = LastTrade(price, Decimal(volume))
        for part in broker.place(_ticket(side, str(quantity))).executions:
            filled += 1
            held += side.sign * part.quantity
            assert part.quantity <= min(quantity, Decimal(volume) / 10)
            value = Fraction(part.quantity) * Fraction(part.price)
            assert abs(Fraction(part.fee) - value * 5 / 10_000) <= UNIT / 2
            assert abs(Fraction(part.price) / Fraction(price) - 1 - side.sign * Fraction(5, 10_000)) <= UNIT / Fraction(
                price
            )
            expected -= side.sign * value + Fraction(part.fee)
    account = PaperAccount.objects.get(client=client)
    assert account.cash >= 0
    assert abs(Fraction(account.cash) - expected) <= filled * UNIT / 2
    holding = PaperHolding.objects.filter(account=account).first()
    assert held == (holding.quantity if holding else 0) >= 0


def test_cash_to_the_last_unit_is_spent_and_not_more(market: dict[str, LastTrade]) -> None:
    """0.001 at 0.00000001 is worth 0.00000000001, which rounds to nothing; 0.001 at 0.015 costs 0.000015 and a fee
    of 0.0000000075, rounded up to 0.00000001: the cash for that without the rounding does not buy it."""
    market["AAA"] = LastTrade(Decimal("0.015"), Decimal(10))
    client = _account("0.00001502")
    report = open_session("paper", client.id).place(_ticket(Side.BUY, "1"))
    assert PaperAccount.objects.get(client=client).cash >= 0
    assert report.status in (OrderStatus.CANCELLED, OrderStatus.REJECTED)


BAR = datetime(2026, 11, 20, tzinfo=UTC)


def _limit(side: Side, quantity: str, price: str, force: TimeInForce = TimeInForce.GTC) -> Ticket:
    return replace(_ticket(side, quantity), order_type=OrderType.LIMIT, limit_price=Decimal(price), time_in_force=force)


def test_the_spread_is_crossed_before_the_price_slips(market: dict[str, LastTrade], settings: Settings) -> None:
    """A spread of 20 bps is 10 to either side: quoted 99.90 and 100.10; slipped by 5 more, 100.15 is paid."""
    settings.QT_PAPER_SPREAD_BPS = Decimal(20)
    broker = open_session("paper", _account().id)
    quote = broker.quote("AAA")
    assert (quote.bid, quote.ask, quote.last) == (Decimal("99.9"), Decimal("100.1"), Decimal(100))
    assert broker.place(_ticket(Side.BUY, "1")).executions[0].price == Decimal("100.15")
    capped = broker.place(_limit(Side.BUY, "1", "100.12"))
    assert capped.executions[0].price == Decimal("100.12"), "not beyond its limit"
    assert broker.place(_limit(Side.BUY, "1", "100.09", TimeInForce.IOC)).status is OrderStatus.CANCELLED


def test_what_rests_meets_each_later_bar_with_its_volume(market: dict[str, LastTrade]) -> None:
    """Of 100, 40 and 1,000 units a tenth each is to be had; the limit of 100.05 is met by closes of 100 and 98."""
    market["AAA"] = LastTrade(Decimal(100), Decimal(100), BAR)
    client = _account()
    broker = open_session("paper", client.id)
    ticket = _limit(Side.BUY, "20", "100.05")
    assert broker.place(ticket).filled == 10
    assert broker.open_orders()[0].filled == 10, "a bar is met once"
    market["AAA"] = LastTrade(Decimal(101), Decimal(40), BAR + timedelta(days=1))
    assert broker.open_orders()[0].filled == 10
    market["AAA"] = LastTrade(Decimal(98), Decimal(40), BAR + timedelta(days=2))
    (resting,) = broker.open_orders()
    assert (resting.status, [part.quantity for part in resting.executions]) == (OrderStatus.PARTIALLY_FILLED, [10, 4])
    market["AAA"] = LastTrade(Decimal(98), Decimal(1000), BAR + timedelta(days=3))
    done = broker.order(ticket.client_order_id, symbol="AAA")
    assert done is not None
    assert (done.status, [part.quantity for part in done.executions]) == (OrderStatus.FILLED, [10, 4, 6])
    paid = sum(part.quantity * part.price + part.fee for part in done.executions)
    assert broker.account().cash == 100_000 - paid
    assert broker.positions()[0].quantity == 20
    assert len({part.execution_id for part in done.executions}) == 3


def test_an_order_meets_the_market_of_when_it_arrives(market: dict[str, LastTrade], settings: Settings) -> None:
    settings.QT_PAPER_LATENCY_MS = 250
    now = [BAR]
    broker = PaperBroker(_account().id, clock=lambda: now[0])
    ticket = _ticket(Side.BUY, "1")
    assert broker.place(ticket).status is OrderStatus.ACCEPTED
    now[0] += timedelta(milliseconds=249)
    assert broker.open_orders()[0].executions == ()
    market["AAA"] = LastTrade(Decimal(200), Decimal(1_000_000))
    now[0] += timedelta(milliseconds=1)
    report = broker.order(ticket.client_order_id, symbol="AAA")
    assert report is not None
    assert (report.status, report.executions[0].price, report.executions[0].time) == (
        OrderStatus.FILLED,
        Decimal("200.1"),
        now[0],
    )


def test_what_rests_ends_when_it_cannot_be_paid_for(market: dict[str, LastTrade]) -> None:
    market["AAA"] = LastTrade(Decimal(100), Decimal(1_000_000), BAR)
    broker = open_session("paper", _account("1000").id)
    resting = _limit(Side.BUY, "8", "90")
    assert broker.place(resting).status is OrderStatus.ACCEPTED
    assert broker.place(_ticket(Side.BUY, "5")).status is OrderStatus.FILLED
    market["AAA"] = LastTrade(Decimal(80), Decimal(1_000_000), BAR + timedelta(days=1))
    ended = broker.order(resting.client_order_id, symbol="AAA")
    assert ended is not None
    assert ended.status is OrderStatus.CANCELLED
    assert 0 < ended.filled < 8
    assert "not enough cash" in ended.reason
    assert 0 <= broker.account().cash < Decimal("0.1")
