"""What a drill must have left behind, asked of the ledger, the effects and the broker's own book."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any
from uuid import UUID

from tests.faults.jobs import order_id
from tests.faults.stack import rows
from tests.faults.venue import Booked
from trading.audit import verification

RESCUE_SECONDS = 30.0
CLOCK_TOLERANCE_SECONDS = 0.05
EFFECTS = {
    "drill-effect": {"effect"},
    "drill-bulk": {"effect"},
    "drill-leaf": {"effect"},
    "drill-client": {"effect"},
    "drill-order": {"order"},
    "drill-chain": {"reserve", "order", "settle"},
    "drill-fan": {"join"},
    "drill-flaky": {"flaky"},
    "drill-nap": {"nap"},
    "drill-patient": {"patient"},
    "drill-tick": {"tick"},
}
"""What each job that succeeds has written."""
ENDS = {"drill-refused": {"failed"}, "drill-poison": {"discarded"}}
"""How each job ends that does not succeed."""


def of(log: Any, orders: Sequence[Booked], client_concurrency: int) -> dict[str, Any]:
    """The counts, and under ``violations`` what was not held; an empty list is a pass."""
    runs = {row[0]: row for row in rows("SELECT id, job, state, children_pending FROM job_runs")}
    drilled = {key: row for key, row in runs.items() if str(row[1]).startswith("drill-")}
    succeeded = {key for key, row in drilled.items() if row[2] == "succeeded"}
    effects = {(row[0], row[1]) for row in rows("SELECT run_id, step FROM drill_effects")}
    rescues, late = _rescues(log)
    live = ("queued", "running", "retrying", "snoozed")
    ordering = ("drill-order", "drill-chain")
    accepted = {order.order_id: order.accepted for order in orders}
    expected = {order_id(key, "order"): key for key in succeeded if "order" in EFFECTS.get(str(drilled[key][1]), ())}
    counts: dict[str, Any] = {
        "runs": len(drilled),
        "attempts": rows("SELECT count(*) FROM job_attempts")[0][0],
        "states": dict(Counter(str(row[2]) for row in drilled.values())),
        "faults": dict(log.faults),
        "holders_struck": len(log.struck),
        "attempts_lost": rows("SELECT count(*) FROM job_attempts WHERE outcome = 'lost'")[0][0],
        "rescue_seconds_median": round(median(rescues), 1) if rescues else None,
        "rescue_seconds_max": round(max(rescues), 1) if rescues else None,
        "orders_booked": sum(accepted.values()),
        "orders_sent": sum(order.submitted for order in orders),
        "schedule_slots": rows("SELECT count(*) FROM job_runs WHERE job = 'drill-tick'")[0][0],
        "client_peak": _peak(),
        "audit_entries": rows("SELECT count(*) FROM audit_log")[0][0],
    }
    wrong = {
        "runs lost": len(set(log.enqueued) - set(drilled)),
        "runs that did not end": sum(row[2] in live for row in drilled.values()),
        "effects missing": sum(
            (key, step) not in effects for key in succeeded for step in EFFECTS.get(str(drilled[key][1]), ())
        ),
        "effects doubled": rows(
            "SELECT count(*) FROM (SELECT 1 FROM drill_writes WHERE new GROUP BY run_id, step HAVING count(*) > 1) d"
        )[0][0],
        "writes by a holder that was replaced": rows(
            "SELECT count(*) FROM drill_writes WHERE held <> fence OR state <> 'running'"
        )[0][0],
        "attempts at one run at the same time": _overlaps(),
        "attempts without an end": rows(
            "SELECT count(*) FROM job_attempts a JOIN job_runs r ON r.id = a.run_id"
            " WHERE r.finished_at IS NOT NULL AND a.outcome = ''"
        )[0][0],
        "orders missing": sum(order not in accepted for order in expected),
        "orders booked twice": sum(count > 1 for count in accepted.values()),
        "orders that no run stands for": len(
            set(accepted) - {order_id(key, "order") for key in drilled if drilled[key][1] in ordering}
        ),
        "rescues later than 30 s": late,
        "states that are not true": _untrue(log, drilled),
        "clients above their share": int(counts["client_peak"] > client_concurrency),
        "slots run twice": rows(
            "SELECT count(*) FROM (SELECT 1 FROM job_runs WHERE schedule_slot IS NOT NULL"
            " GROUP BY schedule_slot HAVING count(*) > 1) d"
        )[0][0],
        "schedule silent": int(counts["schedule_slots"] == 0),
        "audit chains broken": _broken_chains(),
    }
    return {**counts, "wrong": wrong, "violations": [f"{count} {name}" for name, count in wrong.items() if count]}


def _rescues(log: Any) -> tuple[list[float], int]:
    """For each run whose holder was struck, the seconds until it was taken back or ended; how many took too long.

    The time during which Postgres was away does not count.
    """
    ended = {(row[0], row[1]): row[2] for row in rows("SELECT run_id, number, finished_at FROM job_attempts")}
    took, late = [], 0
    for struck in log.struck:
        end = ended.get((struck.run_id, struck.fence))
        if end is None:
            late += 1
            continue
        until = end.timestamp()
        away = sum(max(0.0, min(until, stop) - max(struck.at, start)) for start, stop in log.database_away)
        took.append(max(until - struck.at - away, 0.0))
    return took, late + sum(seconds > RESCUE_SECONDS for seconds in took)


def _overlaps() -> Any:
    """Attempts that began before the one before them at the same run had ended."""
    return rows(
        "SELECT count(*) FROM job_attempts a JOIN job_attempts b ON b.run_id = a.run_id AND b.number = a.number + 1"
        " WHERE b.started_at < coalesce(a.finished_at, 'infinity') - make_interval(secs => %s)",
        CLOCK_TOLERANCE_SECONDS,
    )[0][0]


def _peak() -> int:
    """The most runs that one client ever had running at once."""
    changes = rows(
        "SELECT r.client_id, a.started_at, coalesce(a.finished_at, 'infinity') FROM job_attempts a"
        " JOIN job_runs r ON r.id = a.run_id WHERE r.client_id IS NOT NULL AND r.job = 'drill-client'"
        " AND a.finished_at IS NOT NULL"
    )
    peak = 0
    for client in {row[0] for row in changes}:
        moments = sorted(change for row in changes if row[0] == client for change in ((row[1], 1), (row[2], -1)))
        running = 0
        for _, change in moments:
            running += change
            peak = max(peak, running)
    return peak


def _untrue(log: Any, drilled: dict[Any, tuple[Any, ...]]) -> int:
    """Runs whose final state is not what became of them."""
    wrong = 0
    for key, (_, job, state, _) in drilled.items():
        allowed = set(ENDS.get(str(job), {"succeeded"}))
        if key in log.cancelled:
            allowed = {"succeeded" if _was_done(key) else "cancelled"}
        if state not in allowed and state not in ("queued", "running", "retrying", "snoozed"):
            wrong += 1
            print(f"untrue: run {key} of {job} is {state}, expected {' or '.join(sorted(allowed))}", flush=True)
    return wrong


def _was_done(key: UUID) -> bool:
    """Whether the run's work was done when the request to cancel it came."""
    return bool(rows("SELECT 1 FROM drill_effects WHERE run_id = %s AND step = 'patient'", key))


def _broken_chains() -> int:
    """Audit chains of which an entry is missing, changed or out of place."""
    now = rows("SELECT now()")[0][0]
    verdicts = [verification.verify(chain, now=now) for chain in verification.chains()]
    return sum(verdict.broken is not None for verdict in verdicts)
