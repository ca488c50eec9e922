"""Money never moves twice: crashes and failing venues between the intent and its outcome."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.utils import timezone

from tests.execution.conftest import make_market, quoted
from tests.execution.venue import Fault, Venue
from trading.audit.models import AuditEntry
from trading.brokers.base import (
    ALREADY_SENT,
    BrokerUnavailable,
    Execution,
    OrderReport,
    OutcomeUnknown,
    Side,
    Ticket,
)
from trading.core.ids import uuid7
from trading.execution import differences, outcomes, selectors, services
from trading.execution.models import Fill, Order, OrderState, PortfolioSnapshot, Position
from trading.execution.planning import Planned
from trading.risk.models import Guard, Reservation
from trading.risk.switches import set_switches
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _guard(transactional_db: None) -> None:
    """A transactional test truncates the row of the data migration."""
    Guard.objects.get_or_create(id=1)
    make_market({"AAA": (100, 100)})


def _intent(quantity: str = "5") -> Order:
    client = Client.objects.create(name=f"Alpha {uuid7()}")
    with transaction.atomic():
        (order,) = services.intend(
            client.id,
            uuid7(),
            [Planned("AAA", Side.BUY, Decimal(quantity), Decimal(100))],
            broker="fake",
            quotes={"AAA": quoted("AAA", Decimal(100))},
        )
    assert order.state == OrderState.INTENDED, order.reason
    return order


def _again(order: Order) -> Order:
    return Order.objects.get(id=order.id)


class Crash(BaseException):
    """The process dies."""


class CrashAt:
    """A hold that dies at its n-th use, before or after its transaction commits."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.number, self.after, self.count = number, after, 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.count += 1
        if self.count == self.number and not self.after:
            raise Crash
        with transaction.atomic():
            yield
        if self.count == self.number and self.after:
            raise Crash


@pytest.mark.parametrize("deduplicates", [True, False])
@pytest.mark.parametrize("fault", ["", "accepts and hangs up", "loses it and hangs up"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_a_crash_at_any_write_neither_doubles_nor_loses(
    number: int, after: bool, fault: Fault, deduplicates: bool
) -> None:
    venue, order = Venue(deduplicates=deduplicates), _intent()
    venue.fault = fault
    with pytest.raises(Crash):
        services.submit(order, venue, hold=CrashAt(number, after=after))
    venue.fault = ""
    for _ in range(3):
        services.submit(_again(order), venue, hold=services.in_transaction)
    order = _again(order)
    if not deduplicates:
        assert venue.submissions[order.client_order_id] <= 1
    accepted = venue.accepted[order.client_order_id]
    assert accepted == Fill.objects.count() <= 1
    assert Position.objects.filter(quantity=5).count() == accepted
    assert order.state == (OrderState.FILLED if accepted else OrderState.UNKNOWN)
    assert Reservation.objects.count() == 1 - accepted
    if deduplicates:
        assert accepted == 1


def test_a_venue_that_was_not_reached_is_tried_again() -> None:
    venue, order = Venue(deduplicates=False), _intent()
    venue.fault = "unreachable"
    with pytest.raises(BrokerUnavailable):
        services.submit(order, venue, hold=services.in_transaction)
    assert _again(order).state == OrderState.INTENDED
    venue.fault = ""
    assert services.submit(_again(order), venue, hold=services.in_transaction).state == OrderState.FILLED


def test_unknown_stays_unknown_when_the_second_try_does_not_reach_the_venue() -> None:
    venue, order = Venue(), _intent()
    venue.fault, venue.is_hiding = "accepts and hangs up", True
    services.submit(order, venue, hold=services.in_transaction)
    venue.fault = "unreachable"
    assert services.submit(_again(order), venue, hold=services.in_transaction).state == OrderState.UNKNOWN
    services.settle_leftovers(order.client_id, uuid7(), venue, hold=services.in_transaction)
    assert (_again(order).state, Reservation.objects.count()) == (OrderState.UNKNOWN, 1)
    venue.is_hiding = False
    services.settle_leftovers(order.client_id, uuid7(), venue, hold=services.in_transaction)
    assert (_again(order).state, Position.objects.get().quantity) == (OrderState.FILLED, 5)
    assert Reservation.objects.count() == 0


def test_a_halt_keeps_what_is_reserved_for_an_unknown_order() -> None:
    venue, order = Venue(), _intent()
    venue.fault, venue.is_hiding = "accepts and hangs up", True
    services.submit(order, venue, hold=services.in_transaction)
    set_switches(halted=True)
    assert services.submit(_again(order), venue, hold=services.in_transaction).state == OrderState.UNKNOWN
    assert (Reservation.objects.count(), venue.submissions[order.client_order_id]) == (1, 1)
    assert _again(order).reason.startswith("emergency_halt")


def test_an_old_order_is_not_sent_again() -> None:
    venue, order = Venue(), _intent()
    venue.fault = "loses it and hangs up"
    services.submit(order, venue, hold=services.in_transaction)
    Order.objects.update(created_at=timezone.now() - services.STALE_AFTER - timedelta(seconds=1))
    assert services.submit(_again(order), venue, hold=services.in_transaction).state == OrderState.UNKNOWN
    assert venue.submissions[order.client_order_id] == 1


def test_two_who_read_the_same_intent_send_it_once() -> None:
    venue, order = Venue(deduplicates=False), _intent()
    other = _again(order)
    venue.fault = "accepts and hangs up"  # so that its reservation, which would stop the other, is still there
    services.submit(order, venue, hold=services.in_transaction)
    assert services.submit(other, venue, hold=services.in_transaction).state != OrderState.INTENDED
    assert venue.submissions[order.client_order_id] == 1


def test_a_report_counts_once() -> None:
    venue, order = Venue(), _intent()
    services.submit(order, venue, hold=services.in_transaction)
    report = venue.order(order.client_order_id, symbol=order.symbol)
    assert report is not None
    services.record(_again(order), report, hold=services.in_transaction)
    assert (Fill.objects.count(), Position.objects.get().quantity, Position.objects.get().realised_pnl) == (1, 5, -1)


def test_a_symbol_with_an_open_outcome_is_known() -> None:
    venue, order = Venue(), _intent()
    assert selectors.unsettled_symbols(order.client_id) == frozenset()
    venue.fault = "accepts and hangs up"
    services.submit(order, venue, hold=services.in_transaction)
    assert selectors.unsettled_symbols(order.client_id) == {"AAA"}


def test_the_equity_curve_goes_by_time() -> None:
    client, now = Client.objects.create(name="Alpha"), timezone.now()
    for minutes in (2, 0, 1):  # stored in another order than they were taken
        PortfolioSnapshot.objects.create(
            client=client, run_id=uuid7(), time=now + timedelta(minutes=minutes), cash=1, equity=1, gross_exposure=0
        )
    times = [snapshot.time for snapshot in selectors.equity_curve(client.id)]
    assert times == sorted(times)


HORIZON = timedelta(seconds=20)
"""After which, and the ten seconds that a sender has to begin, the venue books nothing any more."""


def _ask(order: Order, venue: Venue, *, sent: float, missed: float | None = None) -> Order:
    """Ask for it, as if it had been sent, and first missed, so many seconds ago."""
    now = timezone.now()
    missed_at = None if missed is None else now - timedelta(seconds=missed)
    Order.objects.filter(id=order.id).update(sent_at=now - timedelta(seconds=sent), missed_at=missed_at)
    return services.resolve(_again(order), venue, hold=services.in_transaction)


def _lost(*, deduplicates: bool = False) -> tuple[Venue, Order]:
    venue, order = Venue(deduplicates=deduplicates, horizon=HORIZON), _intent()
    venue.fault = "loses it and hangs up"
    return venue, services.submit(order, venue, hold=services.in_transaction)


@pytest.mark.parametrize(
    ("sent", "missed", "state", "counts"),
    [
        (29, None, OrderState.UNKNOWN, False),
        (31, None, OrderState.UNKNOWN, True),
        (60, 1, OrderState.UNKNOWN, True),  # too soon after the first answer
        (60, 31, OrderState.UNKNOWN, True),  # which was given before the horizon, so that this is the first
        (60, 5, OrderState.NOT_BOOKED, True),
        (86_400, 5, OrderState.NOT_BOOKED, True),
    ],
)
def test_what_a_venue_has_not_past_its_horizon_and_not_a_little_later_was_not_booked(
    sent: float, missed: float | None, state: OrderState, counts: bool
) -> None:
    venue, order = _lost()
    order = _ask(order, venue, sent=sent, missed=missed)
    assert (order.state, order.missed_at is not None, Reservation.objects.count()) == (
        state, counts, int(state == OrderState.UNKNOWN),
    )  # fmt: skip
    assert venue.submissions[order.client_order_id] == 1
    told = AuditEntry.objects.filter(action="order.not_booked", subject=f"order:{order.id}")
    assert told.count() == int(state == OrderState.NOT_BOOKED)


def test_an_answer_past_the_horizon_is_one_to_a_question_past_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow answer may speak of what was there when it was asked for."""
    venue, order = _lost()

    def slow(client_order_id: str, *, symbol: str) -> None:
        Order.objects.update(sent_at=timezone.now() - timedelta(seconds=31))

    monkeypatch.setattr(venue, "order", slow)
    Order.objects.update(sent_at=timezone.now() - timedelta(seconds=29))
    order = services.resolve(_again(order), venue, hold=services.in_transaction)
    assert (order.state, order.missed_at) == (OrderState.UNKNOWN, None)


def test_a_venue_that_cannot_be_asked_has_not_said_no(monkeypatch: pytest.MonkeyPatch) -> None:
    venue, order = _lost()

    def away(client_order_id: str, *, symbol: str) -> None:
        raise BrokerUnavailable("no route", broker="fake", operation="order", code="down")

    with monkeypatch.context() as patched:
        patched.setattr(venue, "order", away)
        for missed in (None, 5):
            assert _ask(order, venue, sent=3600, missed=missed).state == OrderState.UNKNOWN
    assert _ask(order, venue, sent=3600).state == OrderState.UNKNOWN
    assert _ask(order, venue, sent=3600, missed=5).state == OrderState.NOT_BOOKED


def test_without_a_horizon_nothing_ends_by_itself() -> None:
    venue, order = _lost()
    venue.horizon = None
    assert _ask(order, venue, sent=86_400, missed=3600).state == OrderState.UNKNOWN
    assert Reservation.objects.count() == 1


def test_a_call_that_sent_nothing_does_not_begin_the_horizon_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has written down that it sends, and never says more, says so each time that it is asked."""
    venue, order = _lost(deduplicates=True)

    def sent_before(ticket: Ticket) -> OrderReport:
        raise OutcomeUnknown("sent before", broker="fake", operation="place", code=ALREADY_SENT)

    monkeypatch.setattr(venue, "place", sent_before)
    order = _ask(order, venue, sent=60)
    assert order.sent_at is not None
    assert timezone.now() - order.sent_at > timedelta(seconds=59)
    assert _ask(order, venue, sent=60, missed=5).state == OrderState.NOT_BOOKED


def test_what_is_sent_for_good_is_asked_for_and_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent and unknown; once more sent, which tells that it is for good; then it is only asked for."""
    venue, order = _lost(deduplicates=True)
    asked: list[str] = []

    def sent_before(ticket: Ticket) -> OrderReport:
        asked.append(ticket.client_order_id)
        raise OutcomeUnknown("sent before", broker="fake", operation="place", code=ALREADY_SENT)

    monkeypatch.setattr(venue, "place", sent_before)
    for sent in (5, 10, 15, 20):
        assert _ask(order, venue, sent=sent).state == OrderState.UNKNOWN
    assert asked == [order.client_order_id]
    told = AuditEntry.objects.filter(subject=f"order:{order.id}").order_by("id").values_list("action", flat=True)
    assert list(told) == ["order.sent", "order.unknown", "order.sent", "order.unknown"]


def test_a_second_sending_begins_it_anew() -> None:
    venue, order = _lost(deduplicates=True)
    order = _ask(order, venue, sent=60)  # lost again
    assert order.sent_at is not None
    assert timezone.now() - order.sent_at < timedelta(seconds=9)
    assert venue.submissions[order.client_order_id] == 2


def test_an_order_that_was_not_booked_and_is_there_lives_again_and_blocks_its_symbol() -> None:
    venue, order = Venue(deduplicates=False, horizon=HORIZON), _intent()
    venue.fault, venue.is_hiding = "accepts and hangs up", True
    services.submit(order, venue, hold=services.in_transaction)
    assert _ask(order, venue, sent=60, missed=5).state == OrderState.NOT_BOOKED
    venue.is_hiding = False
    report = venue.order(order.client_order_id, symbol=order.symbol)
    assert report is not None
    assert services.record(_again(order), report, hold=services.in_transaction).state == OrderState.FILLED
    assert Position.objects.get().quantity == 5
    found = differences.blocking(order.client_id, "fake", "AAA", Side.BUY)
    assert found is not None
    assert (found.kind, found.ours, found.theirs) == ("revived", "not_booked", "filled")


def test_a_part_of_an_order_that_was_not_booked_brings_it_back() -> None:
    """The list of fills shows 2 of 5: the rest may stand there, so that it is asked for again."""
    venue, order = _lost()
    order = _ask(order, venue, sent=60, missed=5)
    part = Execution("late", Decimal(2), Decimal(100), Decimal(0), timezone.now())
    order = outcomes.record_fills(order, [part], hold=services.in_transaction)
    assert (order.state, Position.objects.get().quantity) == (OrderState.PARTIALLY_FILLED, 2)
    assert differences.blocking(order.client_id, "fake", "AAA", Side.SELL) is not None
