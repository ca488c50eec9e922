"""One review before every order: each limit by hand, everything that must refuse, and many at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from tests.execution.conftest import Venue, buy, desk, intend, market  # noqa: F401  # fixtures
from tests.risk.books import given
from trading.brokers.base import Side
from trading.core import dials
from trading.core.scope import platform_scope
from trading.execution import services as execution
from trading.execution.models import Order, OrderState
from trading.risk import services as risk
from trading.risk import switches
from trading.risk.limits import Book, Limit, Proposal, modules
from trading.risk.models import Guard, Reservation, RiskDecision
from trading.tenants import parameters
from trading.tenants.models import Client

D = Decimal


@pytest.fixture(autouse=True)
def _guard(transactional_db: None) -> None:
    Guard.objects.get_or_create(id=1)


def proposal(quantity: str = "1", price: str = "100", side: Side = Side.BUY, previous: str = "100") -> Proposal:
    return Proposal("AAA", side, D(quantity), D(price), D(previous), bid=D(price), ask=D(price))


def book(held: str = "0", *, others: str = "0", loss: str = "0", buys: str = "0", sells: str = "0") -> Book:
    return Book(
        quantities={"AAA": D(held), "BBB": D(others)},
        reserved_buys={"AAA": D(buys)},
        reserved_sells={"AAA": D(sells)},
        prices={"AAA": D(100), "BBB": D(50)},
        realised_today=-D(loss),
    )


@pytest.mark.parametrize(
    ("name", "limit", "order", "account", "refused"),
    [
        ("QT_MAX_NOTIONAL_PER_TRADE", "1000", proposal("10"), book(), False),
        ("QT_MAX_NOTIONAL_PER_TRADE", "1000", proposal("10.001"), book(), True),
        ("QT_MAX_DAILY_LOSS", "500", proposal(), book(loss="499.99"), False),
        ("QT_MAX_DAILY_LOSS", "500", proposal(), book(loss="500"), True),
        ("QT_MAX_DAILY_LOSS", "500", proposal("3", side=Side.SELL), book("3", loss="500"), False),
        ("QT_MAX_DAILY_LOSS", "500", proposal("4", side=Side.SELL), book("3", loss="500"), True),
        ("QT_MAX_DAILY_LOSS", "500", proposal("3", side=Side.SELL), book("3", loss="500", sells="-1"), True),
        ("QT_MAX_POSITION_PER_SYMBOL", "0", proposal("1000"), book(), False),
        ("QT_MAX_POSITION_PER_SYMBOL", "1000", proposal("4"), book("6"), False),
        ("QT_MAX_POSITION_PER_SYMBOL", "1000", proposal("4"), book("6", buys="0.1"), True),
        ("QT_MAX_POSITION_PER_SYMBOL", "1000", proposal("5", side=Side.SELL), book("20"), False),
        ("QT_MAX_POSITION_PER_SYMBOL", "1000", proposal("31", side=Side.SELL), book("20"), True),
        ("QT_MAX_GROSS_EXPOSURE", "0", proposal("1000"), book(), False),
        ("QT_MAX_GROSS_EXPOSURE", "2000", proposal("5"), book("5", others="20"), False),
        ("QT_MAX_GROSS_EXPOSURE", "2000", proposal("5.001"), book("5", others="20"), True),
        ("QT_MAX_GROSS_EXPOSURE", "2000", proposal("5"), book("5", others="-20.2"), True),
        ("QT_MAX_PRICE_MOVE_PCT", "25", proposal(price="125"), book(), False),
        ("QT_MAX_PRICE_MOVE_PCT", "25", proposal(price="125.01"), book(), True),
        ("QT_MAX_PRICE_MOVE_PCT", "25", proposal(price="74.99"), book(), True),
        ("QT_MAX_PRICE_MOVE_PCT", "25", proposal(price="0"), book(), True),
    ],
)
def test_each_limit_by_hand(name: str, limit: str, order: Proposal, account: Book, refused: bool) -> None:
    breach = modules()[name].check(order, account, D(limit))
    assert (breach is not None) == refused
    if breach is not None:
        assert breach.limit_value == limit
        assert breach.message


def review(client: Client, **changed: str) -> risk.ApprovedOrder | risk.Refusal:
    with transaction.atomic():
        return risk.review(client.id, f"id-{uuid4()}", proposal(**changed), book=given(book()))


def test_an_approval_reserves_and_every_answer_is_recorded(desk: Client) -> None:  # noqa: F811  # the fixture
    assert isinstance(review(desk), risk.ApprovedOrder)
    refusal = review(desk, quantity="11")
    assert isinstance(refusal, risk.Refusal)
    assert (refusal.limit, refusal.breach.limit_value, refusal.breach.order_value) == (
        "QT_MAX_NOTIONAL_PER_TRADE",
        "1000",
        "1100.00",
    )
    assert Reservation.objects.count() == 1
    assert list(RiskDecision.objects.order_by("id").values_list("approved", "limit")) == [
        (True, ""),
        (False, "QT_MAX_NOTIONAL_PER_TRADE"),
    ]


def test_what_cannot_be_checked_refuses(
    desk: Client,  # noqa: F811  # the fixture
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.RISK_LIMITS = (*settings.RISK_LIMITS, "QT_MAX_NOTHING")
    refusal = review(desk)
    assert isinstance(refusal, risk.Refusal) and refusal.limit == "QT_MAX_NOTHING"

    def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(modules(), "QT_MAX_DAILY_LOSS", Limit(("QT_MAX_DAILY_LOSS",), broken))
    settings.RISK_LIMITS = ("QT_MAX_DAILY_LOSS",)
    refusal = review(desk)
    assert isinstance(refusal, risk.Refusal) and refusal.limit == "QT_MAX_DAILY_LOSS"

    Guard.objects.all().delete()
    refusal = review(desk)
    assert isinstance(refusal, risk.Refusal) and refusal.limit == "guard"


def test_the_switches_refuse(desk: Client) -> None:  # noqa: F811  # the fixture
    for switch, name in (("kill_switch", "kill_switch"), ("halted", "emergency_halt")):
        switches.set_switches(**{switch: True}, reason="drill", by="test")
        refusal = review(desk)
        assert isinstance(refusal, risk.Refusal) and refusal.limit == name
        assert "drill" in refusal.breach.message
        switches.set_switches(**{switch: False}, by="test")
    assert isinstance(review(desk), risk.ApprovedOrder)


def test_an_approval_cannot_be_made_by_hand(desk: Client) -> None:  # noqa: F811  # the fixture
    with pytest.raises(TypeError, match="approved by"):
        risk.ApprovedOrder(desk.id, "forged", proposal(), object())
    with pytest.raises(RuntimeError, match="transaction"):
        risk.review(desk.id, "id", proposal(), book=given(book()))


def in_threads(count: int, call: object) -> list[object]:
    barrier = threading.Barrier(count)

    @platform_scope()
    def one(number: int) -> object:
        barrier.wait()
        try:
            return call(number)  # type: ignore[operator]
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_of_many_at_once_no_more_pass_than_the_limit_has_room_for(
    desk: Client,  # noqa: F811  # the fixture
    market: None,  # noqa: F811  # the fixture
    settings: Settings,
) -> None:
    settings.QT_MAX_GROSS_EXPOSURE = D(1000)
    in_threads(16, lambda number: intend(desk, buy("2")))  # 200 each: five fit
    states = list(Order.objects.values_list("state", flat=True))
    assert (states.count(OrderState.INTENDED), states.count(OrderState.REFUSED)) == (5, 11)


class SlowVenue(Venue):
    """Notes when each submission begins."""

    def place(self, ticket: object) -> object:  # type: ignore[override]
        began.append(threading.get_ident())
        assert not halted.is_set(), "an order left after the halt had returned"
        halt_may_come.set()
        threading.Event().wait(0.02)
        return super().place(ticket)  # type: ignore[arg-type]


began: list[int] = []
halted = threading.Event()
halt_may_come = threading.Event()


@pytest.fixture
def _fresh_events() -> Iterator[None]:
    began.clear()
    halted.clear()
    halt_may_come.clear()
    yield


def test_no_order_leaves_after_a_halt_has_returned(
    desk: Client,  # noqa: F811  # the fixture
    market: None,  # noqa: F811  # the fixture
    settings: Settings,
    _fresh_events: None,
) -> None:
    settings.QT_MAX_NOTIONAL_PER_TRADE = D(100_000)
    orders = [intend(desk, buy("1"))[0] for _ in range(40)]
    venue = SlowVenue()

    def work(number: int) -> None:
        if number == 0:
            halt_may_come.wait(10)
            switches.set_switches(halted=True, by="test")
            halted.set()
            return
        for order in orders[number - 1 :: 7]:
            execution.submit(order, venue, hold=execution.in_transaction)

    in_threads(8, work)
    states = list(Order.objects.values_list("state", flat=True))
    assert states.count(OrderState.FILLED) == len(venue.accepted) == len(began)
    assert states.count(OrderState.FILLED) + states.count(OrderState.WITHDRAWN) == 40
    assert OrderState.WITHDRAWN in states, "the halt came too late to show anything"


def test_a_client_s_own_limit_and_a_changed_setting_count_in_the_next_review(
    desk: Client,  # noqa: F811  # the fixture
    settings: Settings,
) -> None:
    settings.QT_MAX_NOTIONAL_PER_TRADE = D(1000)
    assert isinstance(review(desk, quantity="10"), risk.ApprovedOrder)
    parameters.change(desk.id, {"max_order_size": "400"}, by="ann")
    refused = review(desk, quantity="4.001")
    assert isinstance(refused, risk.Refusal)
    assert (refused.limit, refused.breach.limit_value) == ("QT_MAX_NOTIONAL_PER_TRADE", "400.00")
    assert isinstance(review(desk, quantity="4"), risk.ApprovedOrder)
    dials.change({"QT_MAX_NOTIONAL_PER_TRADE": "300"}, by="ops")
    assert isinstance(review(desk, quantity="3.001"), risk.Refusal)
    assert isinstance(review(desk, quantity="3"), risk.ApprovedOrder)
    dials.change({"QT_MAX_NOTIONAL_PER_TRADE": "5000"}, by="ops")
    assert isinstance(review(desk, quantity="4.001"), risk.Refusal), "the client's own stays"
