"""The halt while orders are being sent, and the room that reviews share, over connections of their own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from tests.risk.books import given
from trading.brokers.base import Side
from trading.core.ids import uuid7
from trading.core.scope import platform_scope
from trading.risk import services, switches
from trading.risk.limits import Book, Proposal
from trading.risk.models import Guard, Reservation, RiskDecision
from trading.risk.services import ApprovedOrder, Refusal
from trading.risk.state import BookQuery
from trading.risk.switches import StillSending
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_SECONDS = 10.0


@pytest.fixture(autouse=True)
def _guard(transactional_db: None) -> None:
    """A transactional test truncates the row of the data migration."""
    Guard.objects.get_or_create(id=1)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@platform_scope()
def _closing(call: Callable[[], object]) -> object:
    """``call`` over a connection that ends with it."""
    with closing(connection):
        return call()


_EMPTY = Book({}, {}, {}, {"AAA": Decimal(100)}, Decimal(0))
_BOOK = given(_EMPTY)


def _proposal(quantity: str) -> Proposal:
    return Proposal("AAA", Side.BUY, Decimal(quantity), Decimal(100), Decimal(100), bid=Decimal(100), ask=Decimal(100))


def _review(client: Client, quantity: str, book: BookQuery = _BOOK) -> ApprovedOrder | Refusal:
    with transaction.atomic():
        return services.review(client.id, f"qt-{uuid7()}", _proposal(quantity), book=book)


class Sender:
    """Sends in a thread until it is let go."""

    def __init__(self) -> None:
        self.is_inside, self.may_go = threading.Event(), threading.Event()

    def __call__(self) -> Refusal | None:
        with services.sending() as lock:
            self.is_inside.set()
            assert self.may_go.wait(WAIT_SECONDS)
            return lock.refusal


def test_a_halt_waits_for_who_is_sending_and_lets_nobody_in(pool: ThreadPoolExecutor) -> None:
    sender = Sender()
    sending = pool.submit(_closing, sender)
    assert sender.is_inside.wait(WAIT_SECONDS)
    halting = pool.submit(_closing, lambda: switches.set_switches(halted=True, reason="drill"))
    while not Guard.objects.get(id=1).halted:
        assert not halting.done()
    assert not halting.done()
    late = pool.submit(_closing, lambda: _refusal_now())
    sender.may_go.set()
    assert sending.result(WAIT_SECONDS) is None
    halting.result(WAIT_SECONDS)
    assert late.result(WAIT_SECONDS) == "emergency_halt"


def _refusal_now() -> str | None:
    with services.sending() as lock:
        return None if lock.refusal is None else lock.refusal.limit


def test_a_slow_venue_does_not_keep_the_halt_from_holding(pool: ThreadPoolExecutor) -> None:
    sender = Sender()
    sending = pool.submit(_closing, sender)
    assert sender.is_inside.wait(WAIT_SECONDS)
    with pytest.raises(StillSending, match="switch is on"):
        switches.set_switches(halted=True, patience=timedelta(seconds=0.2))
    assert Guard.objects.get(id=1).halted
    assert _refusal_now() == "emergency_halt"
    sender.may_go.set()
    sending.result(WAIT_SECONDS)


def test_lifting_a_halt_waits_for_nobody(pool: ThreadPoolExecutor) -> None:
    switches.set_switches(halted=True)
    sender = Sender()
    sending = pool.submit(_closing, sender)
    assert sender.is_inside.wait(WAIT_SECONDS)
    switches.set_switches(halted=False, patience=timedelta(seconds=0.2))
    assert _refusal_now() is None
    sender.may_go.set()
    sending.result(WAIT_SECONDS)


def test_a_sender_that_dies_leaves_no_lock_behind() -> None:
    with pytest.raises(KeyboardInterrupt), services.sending():
        raise KeyboardInterrupt
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone() == (0,)


def test_reviews_at_once_share_the_room_of_a_limit(pool: ThreadPoolExecutor, settings: Settings) -> None:
    """A limit of 1,000 has room for three orders of 300, whoever comes first."""
    settings.QT_MAX_POSITION_PER_SYMBOL = Decimal(1000)
    client = Client.objects.create(name="Alpha")
    start = threading.Barrier(8)

    def ask() -> ApprovedOrder | Refusal:
        start.wait(WAIT_SECONDS)
        return _review(client, "3")

    answers = [asked.result(30) for asked in [pool.submit(_closing, ask) for _ in range(8)]]
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(answers) - len(refused) == Reservation.objects.count() == 3
    assert {(answer.limit, answer.breach.limit_value, answer.breach.order_value) for answer in refused} == {
        ("QT_MAX_POSITION_PER_SYMBOL", "1000", "1200.00")
    }
    assert RiskDecision.objects.filter(approved=False, limit="QT_MAX_POSITION_PER_SYMBOL").count() == 5


def test_an_order_that_is_filled_while_a_review_reads_counts_once(pool: ThreadPoolExecutor, settings: Settings) -> None:
    """Its reservation goes as its fill comes: the review sees all as it was before, as it is of one moment."""
    settings.QT_MAX_POSITION_PER_SYMBOL = Decimal(1000)
    client = Client.objects.create(name="Alpha")
    first = _review(client, "9")
    assert isinstance(first, ApprovedOrder)

    def filled_meanwhile(row: object) -> Book:
        pool.submit(_closing, lambda: services.settle(first.client_order_id)).result(WAIT_SECONDS)
        return _EMPTY

    answer = _review(client, "9", BookQuery("SELECT 1 AS one", filled_meanwhile))
    assert isinstance(answer, Refusal)
    assert answer.breach.order_value == "1800.00"
