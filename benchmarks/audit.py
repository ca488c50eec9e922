"""``python -m benchmarks.audit``: what an audit entry adds to a write, how writers share chains, how fast a walk is.

On servers of its own in a temporary folder, durable as in production. A write with and one without its entry take
turns, so that both meet the same machine.
"""

import argparse
import json
import resource
import statistics
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from benchmarks.jobs import platform

DATA = {"limit": "QT_MAX_NOTIONAL_PER_TRADE", "limit_value": "1000", "order_value": "1200.00", "symbol": "AAPL"}


def a_write(client_id: UUID) -> None:
    """What an entry usually stands beside: one row of a client's."""
    from trading.risk.models import RiskDecision

    RiskDecision.objects.create(
        client_id=client_id,
        client_order_id=uuid4().hex,
        symbol="AAPL",
        side="buy",
        quantity=Decimal(10),
        price=Decimal(120),
        approved=False,
        limit="QT_MAX_NOTIONAL_PER_TRADE",
    )


def timed(act: Callable[[], None]) -> float:
    """Milliseconds of a transaction around ``act``, with what follows its commit."""
    from django.db import transaction

    began = time.perf_counter()
    with transaction.atomic():
        act()
    return (time.perf_counter() - began) * 1000


def summary(took: list[float]) -> dict[str, float]:
    """Its median and its 99th percentile."""
    ordered = sorted(took)
    return {"p50_ms": round(statistics.median(ordered), 3), "p99_ms": round(ordered[int(len(ordered) * 0.99)], 3)}


def cost(client_id: UUID, count: int) -> dict[str, Any]:
    """A write alone, and with its entry."""
    from trading.audit.services import record

    def with_entry() -> None:
        a_write(client_id)
        record("risk.refused", client_id=client_id, subject="order:x", data=DATA)

    alone, entered = [], []
    for number in range(count + 50):
        measured = (timed(lambda: a_write(client_id)), timed(with_entry))
        if number >= 50:  # warm
            alone.append(measured[0])
            entered.append(measured[1])
    added = statistics.median(entered) - statistics.median(alone)
    return {
        "write": summary(alone),
        "write_with_entry": summary(entered),
        "ratio": round(statistics.median(entered) / statistics.median(alone), 2),
        "added_ms": round(added, 3),
    }


def sharing(clients: list[UUID], threads: int, each: int) -> dict[str, Any]:
    """Entries per second of several writers: each with a chain of its own, and all with one."""
    from django.db import connections, transaction

    from trading.audit.services import record
    from trading.core.scope import tenant_scope

    def run(chains: list[UUID]) -> float:
        def work(client_id: UUID) -> None:
            try:
                with tenant_scope(client_id):
                    for _ in range(each):
                        with transaction.atomic():
                            record("risk.refused", client_id=client_id, data=DATA)
            finally:
                connections.close_all()

        workers = [threading.Thread(target=work, args=(chain,)) for chain in chains]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return threads * each / (time.perf_counter() - began)

    own, one = run(clients[:threads]), run(clients[:1] * threads)
    return {"writers": threads, "own_chains_per_s": round(own), "one_chain_per_s": round(one)}


def walk(client_id: UUID, entries: int) -> dict[str, Any]:
    """Entries per second that a verification walks, and by how much its memory grows."""
    from django.db import transaction
    from django.utils import timezone

    from trading.audit import mirror, verification
    from trading.audit.models import AuditHead
    from trading.audit.services import record

    follow, mirror.follow = mirror.follow, lambda entry: None  # type: ignore[assignment]  # a module's function
    for _ in range(entries // 500):
        with transaction.atomic():
            for _ in range(500):
                record("risk.refused", client_id=client_id, data=DATA)
    mirror.follow = follow
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    verdict = verification.verify(client_id, now=timezone.now())
    took = time.perf_counter() - began
    if verdict.broken is not None:
        raise SystemExit(f"The chain does not verify: {verdict.broken.message}")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    walked = AuditHead.objects.get(chain=client_id).sequence
    return {"entries": walked, "per_s": round(walked / took), "memory_grown_mb": round(grown / 1024, 1)}


def main() -> None:
    """Measure, print, and keep the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="writes of each kind")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--each", type=int, default=100, help="entries of each thread")
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the chain that is walked")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with platform():
        from trading.core.scope import platform_scope, tenant_scope
        from trading.tenants.models import Client

        with platform_scope():
            made = Client.objects.bulk_create([Client(name=f"Desk {number}") for number in range(options.threads + 2)])
            clients = [client.id for client in made]
        with tenant_scope(clients[-1]):
            figures = {"cost": cost(clients[-1], options.count)}
        figures["sharing"] = sharing(clients, options.threads, options.each)
        with platform_scope():
            figures["walk"] = walk(clients[-2], options.entries)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
