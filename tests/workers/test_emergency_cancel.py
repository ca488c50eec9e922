"""After a halt the open orders of every client are cancelled, and counted as their venues confirm it."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.models.functions import Now
from pytest_django import Settings

from tests.execution.conftest import make_market
from tests.jobs.conftest import Hands, make_due
from trading.brokers.accounts import open_session
from trading.brokers.adapters.mock.session import MockBroker
from trading.brokers.base import BrokerUnavailable, OrderReport, OrderStatus, OrderType, Side, Ticket, TimeInForce
from trading.brokers.lists import PartlyUnreadable
from trading.execution import services as execution
from trading.execution.models import Order, OrderState
from trading.execution.planning import Planned
from trading.jobs import services as jobs
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.states import State
from trading.risk import halts
from trading.risk.models import Guard, Halt, HaltedOrder, Reservation
from trading.risk.switches import set_switches
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal


@pytest.fixture(autouse=True)
def _platform(transactional_db: None, settings: Settings) -> None:
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    Guard.objects.get_or_create(id=1)
    settings.QT_MAX_NOTIONAL_PER_TRADE = D(1_000_000)
    settings.QT_MAX_PRICE_MOVE_PCT = D(99)


def price() -> Decimal:
    with open_session(uuid4(), "mock") as session:
        ask = session.quote("BTCUSDT").ask
        assert ask is not None
        return ask


def rest(client: Client, quantity: str = "1", *, send: bool = True, state: str = OrderState.OPEN) -> Order:
    """A buy far below the market, which rests in the mock venue's book."""
    now = price()
    planned = Planned("BTCUSDT", Side.BUY, D(quantity), now, limit_price=now / 2, time_in_force=TimeInForce.GTC)
    with open_session(client.id, "mock") as session:
        quotes = execution.quotes(session, [planned.symbol])
        with transaction.atomic():
            (order,) = execution.intend(client.id, uuid4(), [planned], broker="mock", quotes=quotes)
        assert order.state == OrderState.INTENDED, order.reason
        if send:
            order = execution.submit(order, session, hold=execution.in_transaction)
            assert order.state == state
    return order


@pytest.fixture
def desks() -> list[Client]:
    make_market({"BTCUSDT": (100, 100)})
    return [Client.objects.create(name=f"Desk {number}") for number in range(3)]


def test_the_open_orders_of_all_clients_are_cancelled_and_counted(desks: list[Client]) -> None:
    open_orders = [rest(desks[0]), rest(desks[0]), rest(desks[1])]
    unsent = rest(desks[1], send=False)
    set_switches(halted=True, reason="drill", by="ops")
    assert halts.described()["cancels"]["confirmed"] == 0
    run = JobRun.objects.get(job="emergency-cancel")
    assert (run.queue, str(run.id)) == ("critical", halts.described()["cancels"]["run_id"])
    Hands().work_off()
    for order in open_orders:
        order.refresh_from_db()
        assert order.state == OrderState.CANCELLED
        with open_session(order.client_id, "mock") as session:
            shown = session.order(order.client_order_id, symbol=order.symbol)
            assert shown is not None
            assert shown.status is OrderStatus.CANCELLED
            assert session.open_orders() == ()
    unsent.refresh_from_db()
    assert unsent.state == OrderState.WITHDRAWN
    told = halts.described()["cancels"]
    assert (told["state"], told["confirmed"], told["not_confirmed"], told["open"]) == (State.SUCCEEDED, 4, 0, [])
    assert not Reservation.objects.exists()


def test_an_open_order_that_cannot_be_read_hides_no_other(desks: list[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that we took for over is open there and is cancelled; of the one that makes no sense a person is told."""
    order, _ = rest(desks[0]), rest(desks[0])
    real = MockBroker.open_orders
    Order.objects.filter(id=order.id).update(state=OrderState.NOT_BOOKED, finished_at=Now())

    def partly(self: MockBroker) -> tuple[OrderReport, ...]:
        raise PartlyUnreadable(real(self), ["7"], broker="mock", operation="open_orders")

    monkeypatch.setattr(MockBroker, "open_orders", partly)
    set_switches(halted=True, by="ops")
    Hands().work_off()
    with open_session(desks[0].id, "mock") as session:
        shown = session.order(order.client_order_id, symbol=order.symbol)
    assert shown is not None
    assert shown.status is OrderStatus.CANCELLED
    assert "mock lists 2, of which 1 cannot be read: 7" in halts.described()["cancels"]["open"][0]["why"]


@pytest.mark.parametrize("operation", ["cancel", "open_orders"])
def test_what_nobody_has_foreseen_at_one_order_leaves_no_other_open(
    desks: list[Client], operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = rest(desks[0]), rest(desks[0])
    real = MockBroker.cancel

    def broken(self: MockBroker, client_order_id: str = "", *, symbol: str = "") -> OrderReport:
        if client_order_id in (first.client_order_id, ""):
            raise AttributeError("no side")
        return real(self, client_order_id, symbol=symbol)

    monkeypatch.setattr(MockBroker, operation, broken)
    set_switches(halted=True, by="ops")
    Hands().work_off()
    states = [Order.objects.get(id=order.id).state for order in (first, second)]
    assert states == [OrderState.OPEN if operation == "cancel" else OrderState.CANCELLED, OrderState.CANCELLED]
    (row, *_) = halts.described()["cancels"]["open"]
    assert row["order"] == (first.client_order_id if operation == "cancel" else "")
    assert row["why"] == "unexpected AttributeError: no side"


def test_what_a_venue_does_not_confirm_is_named_and_tried_again(
    desks: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    order, other = rest(desks[0]), rest(desks[1])
    real = MockBroker.cancel

    def down(self: MockBroker, client_order_id: str, *, symbol: str) -> OrderReport:
        if client_order_id == order.client_order_id:
            raise BrokerUnavailable("the venue is down", broker="mock", operation="cancel", code="down")
        return real(self, client_order_id, symbol=symbol)

    monkeypatch.setattr(MockBroker, "cancel", down)
    set_switches(halted=True, by="ops")
    hands = Hands()
    hands.work_off()
    told = halts.described()["cancels"]
    assert (told["confirmed"], told["not_confirmed"]) == (1, 1)
    assert [(row["client"], row["broker"], row["order"], row["why"]) for row in told["open"]] == [
        ("Desk 0", "mock", order.client_order_id, "the venue is down")
    ]
    assert told["state"] == State.SNOOZED, "it waits for the run of that client"
    monkeypatch.setattr(MockBroker, "cancel", real)
    make_due(JobRun.objects.get(job="emergency-cancel-client", client=desks[0]))
    jobs.admit_due()
    hands.work_off()
    told = halts.described()["cancels"]
    assert (told["state"], told["confirmed"], told["not_confirmed"]) == (State.SUCCEEDED, 2, 0)
    assert {row.order for row in HaltedOrder.objects.all()} == {order.client_order_id, other.client_order_id}


def test_halting_again_tries_what_is_open_at_once(desks: list[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try of a client's run may be minutes away by then."""
    rest(desks[0])
    real = MockBroker.cancel

    def down(self: MockBroker, client_order_id: str, *, symbol: str) -> OrderReport:
        raise BrokerUnavailable("the venue is down", broker="mock", operation="cancel", code="down")

    monkeypatch.setattr(MockBroker, "cancel", down)
    set_switches(halted=True, by="ops")
    hands = Hands()
    hands.work_off()
    JobRun.objects.filter(job="emergency-cancel-client").update(scheduled_at=Now() + timedelta(minutes=5))
    monkeypatch.setattr(MockBroker, "cancel", real)
    jobs.admit_due()
    hands.work_off()
    assert halts.described()["cancels"]["confirmed"] == 0
    set_switches(halted=True, by="ops")
    hands.work_off()
    told = halts.described()["cancels"]
    assert (told["state"], told["confirmed"], told["not_confirmed"]) == (State.SUCCEEDED, 1, 0)


def test_what_was_not_sent_by_us_is_left_alone_and_shown(desks: list[Client]) -> None:
    rest(desks[0])
    ticket = Ticket("by-hand", "BTCUSDT", Side.BUY, D(1), OrderType.LIMIT, price() / 2, TimeInForce.GTC)
    with open_session(desks[0].id, "mock") as session:
        session.place(ticket)
        set_switches(halted=True, by="ops")
        Hands().work_off()
        assert [report.client_order_id for report in session.open_orders()] == ["by-hand"]
    told = halts.described()["cancels"]
    assert (told["confirmed"], told["left_alone"], told["state"]) == (1, 1, State.SUCCEEDED)
    assert [row["order"] for row in told["open"]] == ["by-hand"]


def test_an_order_that_the_venue_fills_meanwhile_is_over_not_cancelled(
    desks: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = rest(desks[0])

    def too_late(self: MockBroker, client_order_id: str, *, symbol: str) -> OrderReport:
        return OrderReport(client_order_id, "v", OrderStatus.REJECTED, reason="gone", symbol=symbol)

    monkeypatch.setattr(MockBroker, "cancel", too_late)
    set_switches(halted=True, by="ops")
    Hands().work_off()
    order.refresh_from_db()
    assert order.state == OrderState.REJECTED
    assert halts.counts(Halt.objects.get())["over"] == 1


def test_halting_again_is_one_halt_and_lifting_ends_it(desks: list[Client]) -> None:
    rest(desks[0])
    set_switches(halted=True, reason="first", by="ann")
    Hands().work_off()
    set_switches(halted=True, reason="second", by="ben")
    Hands().work_off()
    halt = Halt.objects.get()
    assert (halt.by, halt.reason, halt.lifted_at) == ("ann", "first", None)
    assert halt.settled_at is not None
    assert halts.counts(halt)["confirmed"] == 1
    set_switches(halted=False, by="cyd")
    halt.refresh_from_db()
    assert halt.lifted_by == "cyd"
    set_switches(halted=True, by="dan")
    assert Halt.objects.count() == 2


def test_a_client_that_is_not_active_is_named(desks: list[Client]) -> None:
    order = rest(desks[0])
    Client.objects.filter(id=desks[0].id).update(is_active=False)
    set_switches(halted=True, by="ops")
    Hands().work_off()
    told = halts.described()["cancels"]
    assert [row["order"] for row in told["open"]] == [order.client_order_id]
    assert told["state"] == State.SUCCEEDED
