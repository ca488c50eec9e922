"""What an emergency halt has brought about: the open orders that it found, and which of them are surely cancelled."""

from typing import Any, Final
from uuid import UUID

from django.db.models import Count

from trading.jobs.models import JobRun
from trading.risk.models import STILL_OPEN, CancelOutcome, Guard, Halt, HaltedOrder

SHOWN: Final = 200
"""So many orders that are not confirmed are named; all are counted."""


def newest() -> Halt | None:
    """The halt that holds, or else the last one."""
    return Halt.objects.order_by("-id").first()


def note(
    halt_id: UUID, client_id: UUID, broker: str, order: str, symbol: str, outcome: CancelOutcome, why: str
) -> None:
    """Keep what became of an order; what is confirmed, or was over, stays so. In the caller's transaction."""
    row, is_new = HaltedOrder.objects.get_or_create(
        halt_id=halt_id,
        client_id=client_id,
        broker=broker,
        order=order,
        defaults={"symbol": symbol, "outcome": outcome, "why": why[:300]},
    )
    if not is_new and row.outcome in STILL_OPEN:
        row.outcome, row.why = outcome, why[:300]
        row.save()


def forget_unconfirmed(halt_id: UUID, client_id: UUID, broker: str) -> None:
    """Before orders are looked at again: what is still open is found again. In the caller's transaction."""
    HaltedOrder.objects.filter(halt_id=halt_id, client_id=client_id, broker=broker, outcome__in=STILL_OPEN).delete()


def counts(halt: Halt) -> dict[str, int]:
    """The orders of a halt by their outcome."""
    rows = halt.orders.order_by().values("outcome").annotate(number=Count("id")).values_list("outcome", "number")
    return {outcome.value: dict(rows).get(outcome, 0) for outcome in CancelOutcome}


def unconfirmed(halt: Halt) -> list[HaltedOrder]:
    """Its orders that may still be open at their venues, with why, at most `SHOWN`."""
    orders = halt.orders.filter(outcome__in=STILL_OPEN).select_related("client")
    return list(orders.order_by("client__name", "broker", "order")[:SHOWN])


def described() -> dict[str, Any]:
    """The halt's state in plain JSON: whether it holds, since when and why, and the orders that were cancelled."""
    guard = Guard.objects.get(id=1)
    halt = newest()
    return {
        "enabled": guard.halted,
        "reason": halt.reason if halt else "",
        "by": halt.by if halt else "",
        "since": _time(halt.began_at) if halt else None,
        "settled_at": _time(halt.settled_at) if halt else None,
        "lifted_at": _time(halt.lifted_at) if halt else None,
        "lifted_by": halt.lifted_by if halt else "",
        "cancels": _cancels(halt) if halt else None,
    }


def _cancels(halt: Halt) -> dict[str, Any]:
    run = None
    if halt.run_id is not None:
        run = JobRun.objects.filter(id=halt.run_id).values_list("state", flat=True).first()
    return {
        "run_id": str(halt.run_id) if halt.run_id else None,
        "state": run or "unknown",
        **counts(halt),
        "open": [
            {
                "client_id": str(row.client_id),
                "client": row.client.name,
                "broker": row.broker,
                "order": row.order,
                "symbol": row.symbol,
                "outcome": row.outcome,
                "why": row.why,
            }
            for row in unconfirmed(halt)
        ],
    }


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
