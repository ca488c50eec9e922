"""``python -m tests.risk.races``: many processes ask for the same room, and send while everything is halted.

Reviews: however many ask at once, as many pass as the limit has room for. Halts: of those who send in a loop, nobody
begins to after a halt has been answered. On servers of its own; `tests/risk/test_races.py` does the same with threads.
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from multiprocessing.sharedctypes import RawArray
from typing import Any
from uuid import UUID, uuid4

PRICE = Decimal(100)
IDLE, HALTED, STOP = 0, 1, 2
"""What the senders are told by the last cell of what they share."""
AT_ONCE = 125
"""So many reviews are one task of a process."""
Cells = Any
_shared: Cells = None


def setting_up(cells: Cells = None) -> None:
    """Make a process of the pool know the platform, and what it shares with the others."""
    global _shared
    _shared = cells
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()


class Progress:
    """How far a race is, and how fast it goes: a line each five seconds."""

    def __init__(self, what: str, of: int) -> None:
        self._what, self._of = what, of
        self._began, self._before = 0.0, 0
        self._told: float | None = None

    def __call__(self, done: int, found: str) -> None:
        now = time.monotonic()
        if self._told is None:  # before the first is done, the processes start
            self._began, self._before, self._told = now, done, now
        if done < self._of and now - self._told < 5:
            return
        self._told = now
        rate = (done - self._before) / max(now - self._began, 1e-9)
        left = (self._of - done) / max(rate, 1e-9)
        print(
            f"{done:,} of {self._of:,} {self._what}, {rate:,.0f}/s, {left:,.0f} s left; {found}",
            file=sys.stderr,
            flush=True,
        )


def attempts(client_id: UUID, count: int) -> int:
    """Of ``count`` reviews of an order worth 100, those that passed."""
    from django.db import connection, transaction

    from trading.brokers.base import Side
    from trading.core.scope import platform_scope
    from trading.execution.exposure import BOOK
    from trading.risk import services as risk
    from trading.risk.limits import Proposal

    proposal = Proposal("AAA", Side.BUY, Decimal(1), PRICE, PRICE, bid=PRICE, ask=PRICE, is_autonomous=False)
    passed = 0
    with platform_scope():
        for _ in range(count):
            with transaction.atomic():
                answer = risk.review(client_id, uuid4().hex, proposal, book=BOOK)
            passed += isinstance(answer, risk.ApprovedOrder)
        connection.close()
    return passed


def reviews(pool: Executor, count: int, *, capacity: int) -> dict[str, Any]:
    """Ask ``count`` times for room that there is ``capacity`` times."""
    from trading.core import dials
    from trading.risk.models import Reservation, RiskDecision
    from trading.tenants.models import Client

    client = Client.objects.create(name=f"Room {uuid4()}")
    dials.change({"QT_MAX_GROSS_EXPOSURE": str(capacity * PRICE)}, by="races")
    began = time.monotonic()
    tell, done, passed = Progress("reviews", count), 0, 0
    sizes = [min(AT_ONCE, count - start) for start in range(0, count, AT_ONCE)]
    asked = {pool.submit(attempts, client.id, size): size for size in sizes}
    for one in as_completed(asked):
        done, passed = done + asked[one], passed + one.result()
        tell(done, f"{passed} accepted")
    took = time.monotonic() - began
    dials.change({"QT_MAX_GROSS_EXPOSURE": None}, by="races")
    return {
        "attempts": RiskDecision.objects.filter(client=client).count(),
        "capacity": capacity,
        "accepted": passed,
        "reserved": Reservation.objects.filter(client=client).count(),
        "per_s": round(count / took),
    }


def send(number: int, client_id: UUID) -> int:
    """Intend and submit one order after the other until told to stop; the number that reached the venue."""
    from django.db import connection, transaction

    from trading.brokers.base import Capabilities, Execution, OrderReport, OrderStatus, Side, Ticket
    from trading.brokers.instruments import Quote
    from trading.core.scope import platform_scope
    from trading.execution import services as execution
    from trading.execution.models import OrderState
    from trading.execution.planning import Planned

    cells, sent = _shared, 0

    class Venue:
        """Notes when each order begins to be sent."""

        name = "paper"
        capabilities = Capabilities(deduplicates_client_ids=True, queries_by_client_id=True)

        def place(self, ticket: Ticket) -> OrderReport:
            nonlocal sent
            cells[2 * number] = time.monotonic_ns()
            sent += 1
            time.sleep(0.0005 * (sent % 4))
            fill = Execution(ticket.client_order_id, ticket.quantity, PRICE, Decimal(0), datetime.now(UTC))
            return OrderReport(ticket.client_order_id, ticket.client_order_id, OrderStatus.FILLED, (fill,))

    quotes = {"AAA": Quote("AAA", PRICE, PRICE, PRICE, datetime.now(UTC))}
    with platform_scope():
        while cells[-1] != STOP:
            side = Side.SELL if sent % 2 else Side.BUY
            with transaction.atomic():
                planned = [Planned("AAA", side, Decimal(1), PRICE)]
                (order,) = execution.intend(client_id, uuid4(), planned, broker="paper", quotes=quotes)
            if order.state == OrderState.INTENDED:
                order = execution.submit(order, Venue(), hold=execution.in_transaction)  # type: ignore[arg-type]
            if order.state in (OrderState.REFUSED, OrderState.WITHDRAWN):
                cells[2 * number + 1] = time.monotonic_ns()
                time.sleep(0.002)  # the others need the processor, which being refused without a pause would take
        connection.close()
    return sent


def halts(pool: Executor, cells: Cells, count: int, *, senders: int) -> dict[str, Any]:
    """Halt ``count`` times while ``senders`` send; the sends that began after an answer."""
    from trading.risk.switches import set_switches
    from trading.tenants.models import Client

    # Not active: each switch would be told in the audit log of each active client, and most of the time go there.
    clients = [Client.objects.create(name=f"Sender {uuid4()}", is_active=False) for _ in range(senders)]
    cells[-1] = IDLE
    at_work = [pool.submit(send, number, client.id) for number, client in enumerate(clients)]
    tell, late = Progress("halts", count), 0
    took: list[float] = []
    try:
        for number in range(1, count + 1):
            _until(partial(_some_after, cells, time.monotonic_ns()), at_work)
            began = time.monotonic_ns()
            set_switches(halted=True, by="races")
            answered = time.monotonic_ns()
            took.append((answered - began) / 1e6)
            # Each has had its chance: it has been refused since.
            _until(partial(_all_refused_after, cells, answered), at_work)
            late += sum(sent_at > answered for sent_at in cells[0:-1:2])
            set_switches(halted=False, by="races")
            tell(number, f"{late} sends after the answer")
    finally:
        cells[-1] = STOP
    sent = sum(one.result() for one in at_work)
    took.sort()
    return {
        "halts": count,
        "sent": sent,
        "sends_after_the_answer": late,
        "answer_p50_ms": round(took[len(took) // 2], 1),
        "answer_p99_ms": round(took[int(len(took) * 0.99)], 1),
    }


def cells_for(senders: int) -> Cells:
    """For each sender when it last began to send and was last refused (ns); and what all are told."""
    return RawArray(ctypes.c_int64, 2 * senders + 1)


def _some_after(cells: Cells, moment: int) -> bool:
    return any(sent_at > moment for sent_at in cells[0:-1:2])


def _all_refused_after(cells: Cells, moment: int) -> bool:
    return all(refused_at > moment for refused_at in cells[1:-1:2])


def _until(is_so: Callable[[], bool], at_work: list[Any]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > deadline or any(one.done() for one in at_work):
            raise RuntimeError(f"the senders have stopped: {[one.exception() for one in at_work if one.done()]}")
        time.sleep(0.0005)


@contextmanager
def in_threads(cells: Cells, number: int) -> Iterator[Executor]:
    """All in this process."""
    global _shared
    _shared = cells
    with ThreadPoolExecutor(number) as pool:
        yield pool


@contextmanager
def in_processes(cells: Cells, number: int) -> Iterator[Executor]:
    """Each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, mp_context=spawn, initializer=setting_up, initargs=(cells,)) as pool:
        yield pool


def main() -> None:
    """Race, print the figures, and fail where a limit or a halt did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=100_000)
    parser.add_argument("--halts", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8, help="that ask for reviews")
    parser.add_argument("--senders", type=int, default=4, help="that send while everything is halted")
    options = parser.parse_args()
    from benchmarks.jobs import platform

    with platform(durable=False):  # who goes first does not depend on the disk
        os.environ["LOG_LEVEL"] = "CRITICAL"  # of the others: they say each refusal
        from trading.core.scope import platform_scope
        from trading.marketdata.models import Candle

        with platform_scope():
            market = dict.fromkeys(("open", "high", "low", "close"), PRICE)
            Candle.objects.create(symbol="AAA", time=datetime(2026, 1, 2, tzinfo=UTC), volume=1, source="t", **market)
            cells = cells_for(options.senders)
            figures: dict[str, Any] = {}
            with in_processes(cells, max(options.processes, options.senders)) as pool:
                if options.reviews:
                    figures["reviews"] = reviews(pool, options.reviews, capacity=options.reviews // 100)
                if options.halts:
                    figures["halts"] = halts(pool, cells, options.halts, senders=options.senders)
    print(json.dumps(figures, indent=2))
    held = figures.get("reviews", {"accepted": 0, "reserved": 0, "capacity": 0})
    if not held["accepted"] == held["reserved"] == held["capacity"]:
        raise SystemExit("more, or fewer, orders passed than the limit has room for")
    if figures.get("halts", {}).get("sends_after_the_answer"):
        raise SystemExit("an order was sent after a halt had been answered")


if __name__ == "__main__":
    main()
