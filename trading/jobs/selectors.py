"""Reading runs: lists and details as the API shows them, and the state of the queues."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from trading.core.ids import first_uuid7_at
from trading.jobs.chain import WAITING as WAITING_STEP
from trading.jobs.chain import links
from trading.jobs.ledger import execute
from trading.jobs.models import JobAttempt, JobRun
from trading.jobs.states import FINAL, State

LISTED = (
    "id",
    "job",
    "state",
    "client_id",
    "queue",
    "attempt",
    "max_attempts",
    "progress_done",
    "progress_total",
    "progress_note",
    "error_type",
    "error_message",
    "trigger",
    "request_id",
    "created_at",
    "scheduled_at",
    "started_at",
    "finished_at",
)


def listed(
    rows: QuerySet[JobRun], *, state: str | None = None, job: str | None = None, since: datetime | None = None
) -> QuerySet[JobRun]:
    """``rows`` as a list shows them, without what is large, by state, job and time of creation."""
    if state is not None:
        rows = rows.filter(state=state)
    if job is not None:
        rows = rows.filter(job=job)
    if since is not None:
        rows = rows.filter(id__gte=first_uuid7_at(since))
    return rows.only(*LISTED)


def summary(run: JobRun) -> dict[str, Any]:
    """A run as the list shows it."""
    return {
        "id": str(run.id),
        "job": run.job,
        "state": run.state,
        "client_id": None if run.client_id is None else str(run.client_id),
        "queue": run.queue,
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "progress": {"done": run.progress_done, "total": run.progress_total, "note": run.progress_note},
        "error": _error(run.error_type, run.error_message),
        "trigger": run.trigger,
        "request_id": run.request_id or None,
        "created_at": run.created_at,
        "scheduled_at": run.scheduled_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }


def detail(run: JobRun) -> dict[str, Any]:
    """A run with its arguments, steps, attempts and result."""
    attempts = list(run.attempts.order_by("number"))
    return {
        **summary(run),
        "args": run.args,
        "steps": steps(run, attempts),
        "attempts": [
            {
                "number": attempt.number,
                "step": attempt.step,
                "worker": attempt.worker,
                "code_version": attempt.code_version,
                "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
                "outcome": attempt.outcome or None,
                "error": _error(attempt.error_type, attempt.error_message),
            }
            for attempt in attempts
        ],
        "result": run.result,
    }


def steps(run: JobRun, attempts: Sequence[JobAttempt]) -> list[dict[str, Any]]:
    """Each step with where it stands; what will not be reached any more counts as cancelled."""
    unreached = State.CANCELLED if run.state in FINAL else State.QUEUED
    return [
        {
            "name": link.name,
            "state": unreached.value if link.state == WAITING_STEP else link.state,
            "attempt": link.tries,
            "started_at": link.started_at,
            "finished_at": link.finished_at,
            "error": _error(link.error_type, link.error),
        }
        for link in links(run, attempts)
    ]


def _error(type_: str, message: str) -> dict[str, str] | None:
    return {"type": type_, "message": message} if type_ else None


COUNTED_AT_MOST = 10_000


@dataclass(frozen=True)
class QueueState:
    """A queue as it stands; ``waiting`` and ``running`` are counted up to `COUNTED_AT_MOST`."""

    name: str
    paused_at: datetime | None
    paused_by: str
    client_concurrency: int
    waiting: int
    running: int
    oldest_due: datetime | None
    oldest_age: timedelta | None
    """How long the run that has been due for longest has waited."""


def queue_states() -> list[QueueState]:
    """Every queue with its waiting and running runs, in a statement whose cost does not grow with those that ended."""
    rows = execute(
        """
        SELECT q.name, q.paused_at, q.paused_by, q.client_concurrency,
               coalesce(live.waiting, 0) AS waiting, coalesce(live.running, 0) AS running, live.oldest_due,
               CASE WHEN live.oldest_due IS NOT NULL THEN now() - live.oldest_due END AS oldest_age
          FROM job_queues q
          LEFT JOIN (
               SELECT queue, count(*) FILTER (WHERE state <> 'running') AS waiting,
                      count(*) FILTER (WHERE state = 'running') AS running,
                      min(scheduled_at) FILTER (WHERE state <> 'running' AND scheduled_at <= now()
                                                  AND children_pending = 0) AS oldest_due
                 FROM ((SELECT queue, state, scheduled_at, children_pending FROM job_runs
                         WHERE state IN ('queued', 'retrying', 'snoozed') LIMIT %(limit)s)
                       UNION ALL
                       (SELECT queue, state, scheduled_at, children_pending FROM job_runs
                         WHERE state = 'running' LIMIT %(limit)s)) counted
                GROUP BY queue) live ON live.queue = q.name
         ORDER BY array_position(ARRAY['critical', 'default', 'bulk'], q.name), q.name
        """,
        {"limit": COUNTED_AT_MOST},
    )
    return [QueueState(**row) for row in rows]
