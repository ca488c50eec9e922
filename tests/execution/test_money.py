"""Money moves once: whatever fails between the intent and the record, the venue takes at most one order for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tests.execution.conftest import Venue, buy, intend, sell
from trading.brokers.base import BrokerUnavailable, Side
from trading.execution import services
from trading.execution.books import apply_fill
from trading.execution.models import Fill, Order, OrderState, Position
from trading.execution.planning import Planned, Rules, client_order_id, plan
from trading.risk.models import Reservation
from trading.risk.switches import set_switches
from trading.tenants.models import Client

HOLD = services.in_transaction


class Crash(Exception):
    """The process dies here."""


def crash_at(point: int) -> services.Hold:
    """A hold that dies at the ``point``-th transaction, before it is committed."""
    left = [point]

    @contextmanager
    def hold() -> Iterator[None]:
        left[0] -= 1
        with transaction.atomic():
            yield
            if left[0] == 0:
                raise Crash

    return hold


@pytest.mark.parametrize("point", [1, 2])
@pytest.mark.parametrize("venue_fails", [[], ["lost answer"], ["lost request"]])
def test_after_a_crash_at_any_point_one_order_stands(
    desk: Client, market: None, venue: Venue, point: int, venue_fails: list[str]
) -> None:
    (order,) = intend(desk, buy())
    venue.fails = list(venue_fails)
    with pytest.raises(Crash):
        services.submit(order, venue, hold=crash_at(point))
    for _ in range(3):
        order.refresh_from_db()
        services.submit(order, venue, hold=HOLD)
    order.refresh_from_db()
    assert order.state == OrderState.FILLED
    assert venue.accepted == [order.client_order_id]
    assert Fill.objects.count() == 1
    assert Position.objects.get(symbol="AAA").quantity == Decimal(2)
    assert not Reservation.objects.exists()


@pytest.mark.parametrize("failure", ["lost answer", "lost request"])
def test_unknown_is_never_failed_and_a_venue_that_forgets_ids_is_never_sent_to_twice(
    desk: Client, market: None, venue: Venue, failure: str
) -> None:
    venue.deduplicates = False
    venue.fails = [failure]
    (order,) = intend(desk, buy())
    order = services.submit(order, venue, hold=HOLD)
    assert order.state == OrderState.UNKNOWN
    assert Reservation.objects.count() == 1, "what may have been bought stays reserved"
    for _ in range(3):
        order = services.submit(order, venue, hold=HOLD)
    assert len(venue.submissions) == 1
    assert order.state == (OrderState.FILLED if failure == "lost answer" else OrderState.UNKNOWN)


def test_what_was_surely_not_taken_may_be_sent_again(desk: Client, market: None, venue: Venue) -> None:
    venue.fails = ["unreachable"]
    (order,) = intend(desk, buy())
    with pytest.raises(BrokerUnavailable):
        services.submit(order, venue, hold=HOLD)
    order.refresh_from_db()
    assert order.state == OrderState.INTENDED
    assert services.submit(order, venue, hold=HOLD).state == OrderState.FILLED
    assert len(venue.accepted) == 1


def test_one_report_counts_once(desk: Client, market: None, venue: Venue) -> None:
    (order,) = intend(desk, buy())
    order = services.submit(order, venue, hold=HOLD)
    report = venue.order(order.client_order_id, symbol=order.symbol)
    assert report is not None
    for _ in range(3):
        services.record(order, report, hold=HOLD)
    assert (Fill.objects.count(), Position.objects.get().quantity) == (1, Decimal(2))


def test_a_run_intends_once(desk: Client, market: None) -> None:
    run_id = uuid4()
    first = intend(desk, buy(), sell(symbol="BBB", price="50"), run_id=run_id)
    again = intend(desk, buy("5"), run_id=run_id)
    assert [order.id for order in again] == [order.id for order in first]
    assert Order.objects.count() == 2


def test_an_old_intent_and_one_under_a_halt_are_withdrawn(desk: Client, market: None, venue: Venue) -> None:
    old, halted = intend(desk, buy(), buy(symbol="BBB", price="50"))
    Order.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(minutes=6))
    old.refresh_from_db()
    assert services.submit(old, venue, hold=HOLD).state == OrderState.WITHDRAWN
    set_switches(halted=True, reason="drill", by="test")
    halted = services.submit(halted, venue, hold=HOLD)
    assert (halted.state, "drill" in halted.reason) == (OrderState.WITHDRAWN, True)
    assert venue.submissions == []
    assert not Reservation.objects.exists()


def test_leftovers_of_a_dead_run_are_settled(desk: Client, market: None, venue: Venue) -> None:
    sent, never = intend(desk, buy(), buy(symbol="BBB", price="50"))
    with pytest.raises(Crash):
        services.submit(sent, venue, hold=crash_at(2))
    settled = services.settle_leftovers(desk.id, uuid4(), venue, hold=HOLD)
    assert {order.symbol: order.state for order in settled} == {
        "AAA": OrderState.FILLED,
        "BBB": OrderState.WITHDRAWN,
    }
    assert venue.accepted == [sent.client_order_id]
    never.refresh_from_db()
    assert never.finished_at is not None


trades = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10_000).map(lambda cents: Decimal(cents) / 100)),
    max_size=30,
)


@given(trades)
def test_a_position_is_the_sum_of_its_fills_and_profit_is_by_average_cost(
    made: list[tuple[int, Decimal]],
) -> None:
    position = Position(quantity=Decimal(0), average_cost=Decimal(0))
    realised = Fraction(0)
    held, spent = 0, Fraction(0)  # units, and what those that are held cost in all: signed as the position is
    expected = Fraction(0)
    for units, price in made:
        realised += Fraction(apply_fill(position, Decimal(units), price))
        if held * units >= 0:
            held, spent = held + units, spent + units * Fraction(price)
        else:
            closing = min(abs(units), abs(held))
            share = spent * closing / abs(held)
            proceeds = closing * Fraction(price) * (1 if held > 0 else -1)
            expected += proceeds - share
            rest = abs(units) - closing
            direction = 1 if units > 0 else -1
            held, spent = held + units, (spent - share) if not rest else direction * rest * Fraction(price)
    assert position.quantity == sum(units for units, _ in made)
    assert abs(realised - expected) < Fraction(1, 10_000)
    if held:
        assert abs(Fraction(position.average_cost) - spent / held) < Fraction(1, 10_000)


RULES = Rules(
    min_notional=Decimal(50),
    max_orders=10,
    cash_buffer=Decimal(1_000),
    allow_partial=True,
    lot=Decimal("0.001"),
    max_notional=Decimal(0),
)


def test_a_plan_by_hand() -> None:
    # Equity 2,000 + 10 * 100 + 20 * 50 = 4,000; less the buffer 3,000. AAA: 30 % is 900, so 1 unit too many.
    # BBB: 0, so all 20 go. CCC: 50 % is 1,500 at 30, so 50 units.
    made = plan(
        {"AAA": Decimal("0.3"), "CCC": Decimal("0.5")},
        {"AAA": Decimal(10), "BBB": Decimal(20)},
        {"AAA": Decimal(100), "BBB": Decimal(50), "CCC": Decimal(30)},
        cash=Decimal(2_000),
        rules=RULES,
    )
    assert made == [
        Planned("BBB", Side.SELL, Decimal("20.000"), Decimal(50)),
        Planned("AAA", Side.SELL, Decimal("1.000"), Decimal(100)),
        Planned("CCC", Side.BUY, Decimal("50.000"), Decimal(30)),
    ]


symbols = st.sampled_from(["AAA", "BBB", "CCC", "DDD"])
amounts = st.decimals(min_value=0, max_value=1000, places=3)


@given(
    weights=st.dictionaries(symbols, st.decimals(min_value=0, max_value=Decimal("0.25"), places=4)),
    held=st.dictionaries(symbols, amounts),
    prices=st.dictionaries(symbols, st.decimals(min_value=Decimal("0.01"), max_value=500, places=2)),
    cash=st.decimals(min_value=0, max_value=100_000, places=2),
    max_orders=st.integers(0, 4),
    cap=st.sampled_from([Decimal(0), Decimal(200), Decimal(1000)]),
    partial=st.booleans(),
)
def test_whatever_is_planned_keeps_to_the_rules(
    weights: dict[str, Decimal],
    held: dict[str, Decimal],
    prices: dict[str, Decimal],
    cash: Decimal,
    max_orders: int,
    cap: Decimal,
    partial: bool,
) -> None:
    rules = Rules(Decimal(50), max_orders, Decimal(0), partial, Decimal("0.001"), cap)
    made = plan(weights, held, prices, cash=cash, rules=rules)
    assert len(made) <= max_orders
    assert [order.side for order in made] == sorted((order.side for order in made), key=lambda side: side is Side.BUY)
    for order in made:
        assert order.quantity > 0 and order.quantity % rules.lot == 0
        assert order.price == prices[order.symbol]
        if cap:
            assert order.quantity * order.price <= cap
        if order.side is Side.SELL:
            assert order.quantity <= held[order.symbol]
            if not partial:
                assert weights.get(order.symbol, Decimal(0)) == 0
    equity = cash + sum((held[symbol] * prices[symbol] for symbol in held if symbol in prices), Decimal(0))
    bought = sum((order.quantity * order.price for order in made if order.side is Side.BUY), Decimal(0))
    assert bought <= equity


def test_a_client_order_id_follows_from_its_run() -> None:
    client_id, run_id = uuid4(), uuid4()
    ids = {client_order_id(client_id, run_id, number) for number in range(100)}
    assert len(ids) == 100
    assert client_order_id(client_id, run_id, 7) in ids
    assert max(map(len, ids)) == 32
