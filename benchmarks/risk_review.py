"""``python -m benchmarks.risk_review``: what the review of an order, and the reservation of its exposure, takes.

Several writers, each a process with a client of its own, review one order after the other; in turns with that, in the
same processes, a bare transaction takes the same row's lock and inserts one row, so that the ratio is of one machine in
one state. A second part has all writers ask for the same client, who wait for each other's commit. On servers of its
own, durable as in production; latencies are of the whole transaction, from its begin to its commit, and ``cpu_ms`` is
the writer's processor time of one, which a busy machine does not change.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
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
"""So many of a kind before the other kind has its turn."""


def ready() -> None:
    """Make a process of the pool know the platform."""
    import django

    django.setup()


def work(client_id: UUID, count: int) -> dict[str, list[float]]:
    """Milliseconds of reviews and of bare transactions, in turns."""
    from django.db import connection, transaction

    from trading.brokers.base import Side
    from trading.core.ids import uuid7
    from trading.core.scope import tenant_scope
    from trading.execution.exposure import BOOK
    from trading.risk import services as risk
    from trading.risk.limits import Proposal

    proposal = Proposal("S0", Side.BUY, Decimal("0.01"), PRICE, PRICE, bid=PRICE, ask=PRICE, is_autonomous=False)

    def review() -> None:
        order = uuid4().hex
        with transaction.atomic():
            answer = risk.review(client_id, order, proposal, book=BOOK)
        if not isinstance(answer, risk.ApprovedOrder):
            raise SystemExit(f"refused: {answer}")

    def bare() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM risk_accounts WHERE client_id = %s FOR NO KEY UPDATE", [client_id])
            cursor.execute(
                "INSERT INTO risk_reservations (id, client_id, client_order_id, symbol, quantity, price, multiplier,"
                " is_autonomous, created_at) VALUES (%s, %s, %s, 'S0', 0.01, 100, 1, false, now())",
                [uuid7(), client_id, uuid4().hex],
            )

    def forget() -> None:
        """What is under way stays as many as it was."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM risk_reservations WHERE client_id = %s AND symbol = 'S0'", [client_id])

    took: dict[str, list[float]] = {"review": [], "bare": [], "review_cpu": [], "bare_cpu": []}
    with tenant_scope(client_id):
        for _ in range(WARM_UP):
            review()
            bare()
        for _ in range(max(count // BLOCK, 1)):
            for name, act in (("review", review), ("bare", bare)):
                used = time.process_time()
                took[name] += [_timed(act) for _ in range(BLOCK)]
                took[f"{name}_cpu"].append((time.process_time() - used) * 1000 / BLOCK)
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
    done = [one.result() for one in [pool.submit(work, client, each) for client in clients]]
    took = {name: [value for one in done for value in one[name]] for name in done[0]}
    ratio = statistics.median(took["review"]) / statistics.median(took["bare"])
    shown = {
        name: {**summary(took[name]), "cpu_ms": round(statistics.fmean(took[f"{name}_cpu"]), 3)}
        for name in ("review", "bare")
    }
    tails = shown["review"]["p99_ms"] / shown["bare"]["p99_ms"]
    return {**shown, "ratio_p50": round(ratio, 2), "ratio_p99": round(tails, 2)}


def main() -> None:
    """Measure, print, and keep the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--each", type=int, default=500, help="reviews of each writer")
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
        with ProcessPoolExecutor(options.writers, mp_context=spawn, initializer=ready) as pool:
            figures = {"writers": options.writers}
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
