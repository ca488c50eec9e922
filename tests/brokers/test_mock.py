"""The mock venue: the same prices for all who ask at one time, futures that settle daily, options that expire."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import exp, log, sqrt
from statistics import NormalDist

import pytest
from django.test import Client as Browser
from pytest_django import Settings

from trading.brokers import accounts
from trading.brokers.adapters.mock import market
from trading.brokers.adapters.mock.session import MockBroker
from trading.brokers.base import BrokerRefused, OrderStatus, OrderType, Side, Ticket, TimeInForce
from trading.brokers.instruments import Right
from trading.brokers.throttle import Budget
from trading.core.ids import uuid7
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DECEMBER = date(2026, 12, 18)


class Clock:
    """A time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk() -> Client:
    return Client.objects.create(name="Desk")


@pytest.fixture
def broker(desk: Client, clock: Clock) -> MockBroker:
    return MockBroker(desk.id, clock)


def _ticket(symbol: str, side: Side, quantity: int, limit: Decimal | None = None) -> Ticket:
    kind, force = (OrderType.MARKET, TimeInForce.IOC) if limit is None else (OrderType.LIMIT, TimeInForce.GTC)
    return Ticket(f"qt-{uuid7()}", symbol, side, Decimal(quantity), kind, limit, force)


def test_third_fridays_that_have_not_ended() -> None:
    assert market.expiries(NOON)[:2] == [date(2026, 11, 20), DECEMBER]
    assert market.expiries(NOON.replace(hour=21))[:2] == [DECEMBER, date(2027, 1, 15)]
    assert len(market.expiries(NOON)) == market.MONTHS


def test_a_chain_is_the_same_for_all_and_prices_no_arbitrage(broker: MockBroker, clock: Clock) -> None:
    chain = broker.chain("ES", expiry=DECEMBER)
    assert chain == MockBroker(Client.objects.create(name="Other").id, clock).chain("ES", expiry=DECEMBER)
    assert len(chain.options) == 2 * (2 * market.STRIKES + 1)
    assert chain.future.last is not None
    years = (datetime(2026, 12, 18, 21, tzinfo=UTC) - NOON) / timedelta(days=365)
    for row in chain.options:
        greeks, instrument = row.quote.greeks, row.instrument
        assert greeks is not None
        assert instrument.strike is not None
        s, f, k = float(greeks.volatility), float(chain.future.last), float(instrument.strike)
        width = s * sqrt(years)
        d1 = log(f / k) / width + width / 2
        sign = 1 if instrument.right is Right.CALL else -1
        normal = NormalDist()
        delta = sign * exp(-market.RATE * years) * normal.cdf(sign * d1)
        value = exp(-market.RATE * years) * sign * (f * normal.cdf(sign * d1) - k * normal.cdf(sign * (d1 - width)))
        assert float(greeks.delta) == pytest.approx(delta, abs=1e-7)
        assert float(row.quote.bid or 0) <= value <= float(row.quote.ask or 0)
        assert broker.quote(instrument.symbol) == row.quote


def test_a_future_pays_what_it_wins_at_once(broker: MockBroker, clock: Clock) -> None:
    """IND has 50 units: 2 contracts bought at the ask win 100 for each point that the future rises."""
    symbol = "IND-202612"
    (part,) = broker.place(_ticket(symbol, Side.BUY, 2)).executions
    clock.now += timedelta(days=1)
    last = broker.quote(symbol).last
    assert last is not None
    assert last != part.price
    assert broker.account().cash == 1_000_000 + 100 * (last - part.price) - Decimal("4.50")
    (holding,) = broker.positions()
    assert (holding.symbol, holding.quantity, holding.average_cost) == (symbol, 2, part.price)
    (sold,) = broker.place(_ticket(symbol, Side.SELL, 5)).executions
    assert broker.positions()[0].quantity == -3
    assert broker.positions()[0].average_cost == sold.price
    clock.now = datetime(2026, 12, 18, 21, tzinfo=UTC)  # it ends, and pays its last price
    end = market.settlement(symbol, clock.now)
    assert end is not None
    assert broker.positions() == ()
    won = 100 * (sold.price - part.price) + 150 * (sold.price - end)
    assert broker.account().cash == 1_000_000 + won - Decimal("15.75")  # 7 contracts at 2.25


def test_an_option_is_paid_for_and_exercised_at_its_end(broker: MockBroker, clock: Clock) -> None:
    symbol = "IND-202612-C-5000"
    (part,) = broker.place(_ticket(symbol, Side.BUY, 1)).executions
    paid = 1_000_000 - 50 * part.price - Decimal("2.25")
    assert broker.account().cash == paid
    assert broker.positions()[0].symbol == symbol
    clock.now = datetime(2026, 12, 18, 21, tzinfo=UTC)
    future = market.settlement("IND-202612", clock.now)
    assert future is not None
    assert broker.positions() == ()
    assert broker.account().cash == paid + 50 * max(future - 5000, Decimal(0))
    with pytest.raises(BrokerRefused):
        broker.quote(symbol)


def test_what_rests_meets_the_market_when_it_comes(broker: MockBroker, clock: Clock) -> None:
    symbol = "IND-202612"
    quotes = []
    for hours in range(1, 169):
        clock.now = NOON + timedelta(hours=hours)
        quotes.append((broker.quote(symbol).ask or Decimal(0), clock.now))
    lowest, at = min(quotes)
    clock.now = NOON
    ticket = _ticket(symbol, Side.BUY, 60, limit=lowest)
    assert broker.place(ticket).status is OrderStatus.ACCEPTED
    clock.now = at
    (resting,) = broker.open_orders()
    assert (resting.status, resting.filled) == (OrderStatus.PARTIALLY_FILLED, 50), "the book is 50 deep"
    assert broker.open_orders() == (resting,), "and not deeper until it is renewed"
    clock.now = datetime(2026, 12, 18, 21, tzinfo=UTC)
    ended = broker.order(ticket.client_order_id, symbol=symbol)
    assert ended is not None
    assert (ended.status, ended.filled, ended.reason) == (OrderStatus.CANCELLED, 50, "it has expired")


def test_what_is_not_listed(broker: MockBroker) -> None:
    for symbol in ("IND-202611-C-1", "IND-203012", "XX-202612", "IND-202612-C-5001", "IND-202612-C-500000", "\0"):
        with pytest.raises(BrokerRefused) as refused:
            broker.instrument(symbol)
        assert refused.value.code == "unknown_symbol"
    with pytest.raises(BrokerRefused, match="Options end on"):
        broker.chain("IND", expiry=date(2026, 12, 1))


def test_it_stands_in_for_real_venues_until_they_are_wanted(desk: Client, settings: Settings) -> None:
    settings.USE_MOCK_BROKER = True
    with accounts.open_session(desk.id, "binance") as session:
        assert session.name == "mock"
    with accounts.open_session(desk.id, "paper") as session:
        assert session.name == "paper"
    accounts.try_session(desk.id, "binance", {"api_key": "12345678", "api_secret": "not asked of any venue"})
    with pytest.raises(accounts.InvalidCredentials):
        accounts.try_session(desk.id, "binance", {"api_key": "12345678"})
    settings.USE_MOCK_BROKER = False
    with pytest.raises(BrokerRefused) as refused:
        accounts.open_session(desk.id, "binance")
    assert refused.value.code == "no_credentials"


def test_operators_see_its_orders_and_the_limits(broker: MockBroker) -> None:
    broker.place(_ticket("IND-202612", Side.BUY, 2))
    Budget("binance:api.binance.com:443:weight", limit=6000, seconds=60, broker="binance").block(90)
    browser = Browser()
    browser.force_login(User.objects.create_user("op", role=Role.OPERATOR, is_staff=True))
    orders = browser.get("/admin/brokers/mockorder/?q=qt-").content.decode()
    assert "IND-202612" in orders
    assert (
        "binance:api.binance.com:443:weight" in browser.get("/admin/brokers/brokerbudget/?q=binance").content.decode()
    )
