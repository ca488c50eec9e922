"""A halt while a sender's session, and with it the senders' lock, is lost after its order was committed as sent."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from tests.execution.conftest import Venue, buy, desk, intend, market  # noqa: F401  # fixtures
from trading.brokers.base import BrokerUnavailable, OrderReport, Ticket
from trading.core.scope import platform_scope
from trading.execution import outcomes, services
from trading.execution.models import Order, OrderState
from trading.risk import services as risk
from trading.risk import switches
from trading.risk.models import Guard, Halt, Reservation
from trading.tenants.models import Client

pytestmark = [pytest.mark.usefixtures("transactional_db", "market"), pytest.mark.timeout(60)]
WAIT_SECONDS = 10.0
SEND_WITHIN = timedelta(seconds=1)


class Preparing(Venue):
    """Does what adapters do before the wire (a token, the rules) as long as it is told to, and looks at the time."""

    def __init__(self) -> None:
        super().__init__()
        self.committed, self.may_go = threading.Event(), threading.Event()
        self.session: int | None = None
        self.sent_at: datetime | None = None

    def place(self, ticket: Ticket) -> OrderReport:
        self.session = connection.connection.info.backend_pid
        self.committed.set()
        assert self.may_go.wait(WAIT_SECONDS)
        now = datetime.now(UTC)
        assert ticket.send_by is not None
        if now > ticket.send_by:
            raise BrokerUnavailable("too late", broker=self.name, operation="place", code="too_late")
        self.sent_at = now
        return super().place(ticket)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(autouse=True)
def _quick(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Guard.objects.get_or_create(id=1)
    monkeypatch.setattr(services, "SEND_WITHIN", SEND_WITHIN)
    monkeypatch.setattr(switches, "CLOCKS_AGREE", timedelta(milliseconds=200))


@platform_scope()
def submit(order: Order, venue: Venue) -> Order:
    with closing(connection):
        return services.submit(order, venue, hold=services.in_transaction)  # type: ignore[arg-type]


@platform_scope()
def halt() -> datetime:
    """When it was answered."""
    with closing(connection):
        switches.set_switches(halted=True, by="test")
        return datetime.now(UTC)


def end_session(pid: int | None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE NONE")
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert cursor.fetchone() == (True,)


def test_nothing_is_sent_after_the_answer_when_the_sender_has_lost_its_session(
    desk: Client,  # noqa: F811  # the fixture
    pool: ThreadPoolExecutor,
) -> None:
    venue = Preparing()
    (order,) = intend(desk, buy())
    sending = pool.submit(submit, order, venue)
    assert venue.committed.wait(WAIT_SECONDS)
    assert Order.objects.get(id=order.id).state == OrderState.SENT
    end_session(venue.session)
    answered = pool.submit(halt).result(WAIT_SECONDS)
    venue.may_go.set()
    with pytest.raises(DatabaseError):  # its work is not lost: it is in the database as sent
        sending.result(WAIT_SECONDS)
    assert venue.sent_at is None, f"sent {venue.sent_at - answered} after the halt had been answered"
    assert venue.submissions == []
    assert Halt.objects.get().settled_at is not None


def test_a_halt_is_answered_as_soon_as_the_order_is(desk: Client, pool: ThreadPoolExecutor) -> None:  # noqa: F811
    """The order has been sent before, by whomever, and its answer is written down over another session."""
    intend(desk, buy())
    Reservation.objects.update(send_by=datetime.now(UTC) + timedelta(seconds=15))
    halting: Future[datetime] = pool.submit(halt)
    while not Guard.objects.get(id=1).halted:
        assert not halting.done()
    assert not halting.done()
    Order.objects.update(state=OrderState.SENT)
    outcomes.mark_unknown(Order.objects.get(), "no answer", hold=services.in_transaction, is_over=True)
    began = datetime.now(UTC)
    assert halting.result(WAIT_SECONDS) - began < timedelta(seconds=5)


def test_a_switch_is_not_answered_while_a_lost_sender_may_still_begin(desk: Client) -> None:  # noqa: F811
    intend(desk, buy())
    Reservation.objects.update(send_by=datetime.now(UTC) + timedelta(seconds=15))
    with pytest.raises(switches.StillSending, match="session has ended"):
        switches.set_switches(halted=True, patience=timedelta(seconds=0.2))
    assert Guard.objects.get(id=1).halted


def test_an_order_does_not_go_out_over_another_session_than_that_of_its_lock(desk: Client) -> None:  # noqa: F811
    (order,) = intend(desk, buy())
    with pytest.raises(OperationalError, match="is closed"), risk.sending() as lock:  # nor is there a lock to let go of
        connection.close()
        with pytest.raises(OperationalError, match="has ended"), transaction.atomic():
            lock.leaves(order.client_order_id, datetime.now(UTC))
    assert Reservation.objects.get().send_by is None
