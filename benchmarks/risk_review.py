"""``python -m benchmarks.risk_review``: what the review of an order, and the reservation of its exposure, takes.

Beside each review stand, in turns with it and in the same processes, so that each ratio is of one machine in one state:
``bare``, a transaction that takes the same row's lock and inserts one row; ``one_row``, the insert alone, which is the
least that can be durable: one message and one flush; and ``disk``, 8 kB written and flushed without Postgres. What is
asked of a review's tail cannot be less than theirs.

``open_loop``: each writer, a process with a client of its own, begins a review at a fixed rate, whatever became of the
one before; a latency counts from when it was due. This is what a caller meets while the platform is as busy as
``per_s`` says. ``own_clients``, a closed loop: each writer begins the next review when the last has ended, so that as
many as there are writers are always under way: what they meet when the machine is as busy as it can be.
``one_client``: the same, of one client, so that they wait for each other's commit. ``one_writer``: one alone.

On servers of its own, durable as in production; latencies are of the whole transaction, from its begin to its commit,
and ``cpu_ms`` is the writer's processor time of one, which a busy machine hardly changes.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from benchmarks.jobs import platform

PRICE: Final = Decimal(100)
HELD: Final = 10
"""Positions of each client, and as many orders under way."""
FILLS: Final = 200
"""Of each client today, half of which closed something."""
WARM_UP: Final = 50
BLOCK: Final = 25
"""So many of a kind before the next kind has its turn."""
ROUNDS: Final = 5
"""So many turns of each kind in the open loop."""
PAGE: Final = bytes(8192)
Acts = dict[str, Callable[[], None]]


_together: Barrier | None = None


def ready(together: Barrier | None = None) -> None:
    """Make a process of the pool know the platform, and where all of them wait for each other."""
    global _together
    _together = together
    import django

    django.setup()


def acts(client_id: UUID) -> tuple[Acts, Callable[[], None]]:
    """What is measured, by name, and what removes the reservations that it leaves."""
    from django.db import connection, transaction

    from trading.brokers.base import Side
    from trading.core.ids import uuid7
    from trading.execution.exposure import BOOK
    from trading.risk import services as risk
    from trading.risk.limits import Proposal

    proposal = Proposal("S0", Side.BUY, Decimal("0.01"), PRICE, PRICE, bid=PRICE, ask=PRICE, is_autonomous=False)
    file = os.open(Path(os.environ["QT_DATA_DIR"]) / f"flushed-{os.getpid()}", os.O_RDWR | os.O_CREAT)
    os.pwrite(file, PAGE, 0)

    def review() -> None:
        order = uuid4().hex
        with transaction.atomic():
            answer = risk.review(client_id, order, proposal, book=BOOK)
        if not isinstance(answer, risk.ApprovedOrder):
            raise SystemExit(f"refused: {answer}")

    def one_row() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO risk_reservations (id, client_id, client_order_id, symbol, quantity, price, multiplier,"
                " is_autonomous, created_at) VALUES (%s, %s, %s, 'S0', 0.01, 100, 1, false, now())",
                [uuid7(), client_id, uuid4().hex],
            )

    def bare() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM risk_accounts WHERE client_id = %s FOR NO KEY UPDATE", [client_id])
            one_row()

    def disk() -> None:
        os.pwrite(file, PAGE, 0)
        os.fdatasync(file)

    def forget() -> None:
        """What is under way stays as many as it was."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM risk_reservations WHERE client_id = %s AND symbol = 'S0'", [client_id])

    return {"review": review, "bare": bare, "one_row": one_row, "disk": disk}, forget


def work(client_id: UUID, count: int) -> dict[str, list[float]]:
    """Milliseconds of each kind, in turns, and of the processor's time that the writer took for one."""
    from django.db import connection

    from trading.core.scope import tenant_scope

    kinds, forget = acts(client_id)
    took: dict[str, list[float]] = {}
    with tenant_scope(client_id):
        for _ in range(WARM_UP):
            for act in kinds.values():
                act()
        for _ in range(max(count // BLOCK, 1)):
            for name, act in kinds.items():
                used = time.process_time()
                took.setdefault(name, []).extend(_timed(act) for _ in range(BLOCK))
                took.setdefault(f"{name}_cpu", []).append((time.process_time() - used) * 1000 / BLOCK)
            forget()
        connection.close()
    return took


def pace(client_id: UUID, per_s: float, seconds: float, after: float) -> dict[str, list[float]]:
    """Milliseconds from when each was due, kinds in turns; the first of a turn is due ``after`` seconds."""
    from django.db import connection

    from trading.core.scope import tenant_scope

    kinds, forget = acts(client_id)
    took: dict[str, list[float]] = {name: [] for name in kinds}
    with tenant_scope(client_id):
        for _ in range(WARM_UP):
            for act in kinds.values():
                act()
        forget()
        for name, act in list(kinds.items()) * ROUNDS:
            if _together is not None:
                _together.wait()
            begins = time.monotonic() + after
            for number in range(int(per_s * seconds / ROUNDS)):
                due = begins + number / per_s
                time.sleep(max(due - time.monotonic(), 0))
                act()
                took[name].append((time.monotonic() - due) * 1000)
                if number % BLOCK == 0 and time.monotonic() < due + 0.5 / per_s:
                    forget()  # between two, where there is the time
            forget()
        connection.close()
    return took


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def summary(took: list[float]) -> dict[str, float]:
    """Median and tail in milliseconds."""
    took = sorted(took)
    at = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    return {name: round(took[int(len(took) * share)], 3) for name, share in at.items()}


def fill(name: str) -> UUID:
    """A client with positions, orders under way and a day's trades."""
    from trading.execution.models import Fill, Order, OrderState
    from trading.risk.models import Reservation, RiskAccount
    from trading.tenants.models import Client

    client = Client.objects.create(name=name)
    RiskAccount.objects.create(client=client)
    now = datetime.now(UTC)
    order = Order.objects.create(
        client=client, run_id=uuid4(), sequence=1, client_order_id=uuid4().hex, broker="paper", symbol="S1",
        side="buy", quantity=FILLS, reference_price=PRICE, previous_price=PRICE, state=OrderState.FILLED,
        finished_at=now,
    )  # fmt: skip
    opened = [("S1", 1 if number % 2 else -1) for number in range(FILLS)]
    held = [(f"S{number}", 1) for number in range(1, HELD)]
    Fill.objects.bulk_create(
        Fill(
            client=client, order=order, broker="paper", execution_id=uuid4().hex, symbol=symbol, quantity=quantity,
            price=PRICE, fee=Decimal("0.5"), realised_pnl=Decimal("-0.5") if quantity > 0 else Decimal(1), time=now,
        )
        for symbol, quantity in [*opened, *held]
    )  # fmt: skip
    Reservation.objects.bulk_create(
        Reservation(
            client=client, client_order_id=uuid4().hex, symbol=symbol, quantity=1, price=PRICE, unit_delta=PRICE
        )
        for symbol, _ in held
    )
    return client.id


def measured(pool: ProcessPoolExecutor, clients: list[UUID], each: int) -> dict[str, Any]:
    """All writers at once."""
    took = _joined([one.result() for one in [pool.submit(work, client, each) for client in clients]])
    cpu = {name.removesuffix("_cpu"): took.pop(name) for name in list(took) if name.endswith("_cpu")}
    shown = compared(took)
    for name in cpu:
        shown[name]["cpu_ms"] = round(statistics.fmean(cpu[name]), 3)
    return shown


def paced(pool: ProcessPoolExecutor, clients: list[UUID], per_s: float, seconds: float) -> dict[str, Any]:
    """All writers, each at ``per_s``, and none in step with another."""
    apart = 1 / per_s / len(clients)
    asked = [pool.submit(pace, client, per_s, seconds, n * apart) for n, client in enumerate(clients)]
    return {"per_s": per_s * len(clients), **compared(_joined([one.result() for one in asked]))}


def compared(took: dict[str, list[float]]) -> dict[str, Any]:
    """The figures of each kind, and how many times each other's the review's are."""
    shown: dict[str, Any] = {name: summary(values) for name, values in took.items()}
    for at in ("p50", "p99"):
        shown[f"ratios_{at}"] = {
            name: round(shown["review"][f"{at}_ms"] / shown[name][f"{at}_ms"], 2) for name in took if name != "review"
        }
    return shown


def _joined(parts: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    return {name: [value for one in parts for value in one[name]] for name in parts[0]}


def main() -> None:
    """Measure, print, and keep the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--each", type=int, default=500, help="reviews of each writer")
    parser.add_argument("--rate", type=float, default=25, help="reviews that each writer begins a second, open loop")
    parser.add_argument("--seconds", type=float, default=20, help="of each kind in the open loop")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with platform():
        from trading.core import dials
        from trading.core.scope import platform_scope
        from trading.marketdata.models import Candle

        with platform_scope():
            market = dict.fromkeys(("open", "high", "low", "close"), PRICE)
            Candle.objects.bulk_create(
                Candle(symbol=f"S{number}", time=datetime(2026, 1, day, tzinfo=UTC), volume=1, source="b", **market)
                for number in range(HELD)
                for day in range(1, 31)
            )
            dials.change({"QT_MAX_GROSS_EXPOSURE": "1000000"}, by="bench")
            clients = [fill(f"Desk {number}") for number in range(options.writers)]
        spawn = multiprocessing.get_context("spawn")
        together = spawn.Barrier(options.writers)
        with ProcessPoolExecutor(options.writers, spawn, ready, (together,)) as pool:
            figures: dict[str, Any] = {"writers": options.writers}
            figures["open_loop"] = paced(pool, clients, options.rate, options.seconds)
            figures["own_clients"] = measured(pool, clients, options.each)
            figures["one_client"] = measured(pool, clients[:1] * options.writers, options.each // 4)
        with ProcessPoolExecutor(1, mp_context=spawn, initializer=ready) as pool:
            figures["one_writer"] = measured(pool, clients[:1], options.each)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
