"""Reading runs: who may see which, their steps as the attempts show them, and the state of the queues."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Min, Q, QuerySet

from trading.jobs.models import JobAttempt, JobQueue, JobRun
from trading.jobs.states import FINAL, WAITING, State

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


def visible(client_id: UUID | None, *, everything: bool) -> QuerySet[JobRun]:
    """The runs that one client may see; all of them for those who stand outside all clients."""
    return JobRun.objects.all() if everything else JobRun.objects.filter(client_id=client_id)


def listed(
    rows: QuerySet[JobRun], *, state: str | None = None, job: str | None = None, since: datetime | None = None
) -> QuerySet[JobRun]:
    """``rows`` as a list shows them, without what is large, by state, job and time of creation."""
    if state is not None:
        rows = rows.filter(state=state)
    if job is not None:
        rows = rows.filter(job=job)
    if since is not None:
        rows = rows.filter(created_at__gte=since)
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
    """Each step with where it stands: those before the current one have succeeded, those after it wait."""
    shown = []
    for index, name in enumerate(run.steps):
        tries = [attempt for attempt in attempts if attempt.step == name]
        last = tries[-1] if tries else None
        if index < run.step_index or run.state == State.SUCCEEDED:
            state: str = State.SUCCEEDED
        elif index == run.step_index:
            state = run.state
        else:
            state = State.CANCELLED if run.state in FINAL else State.QUEUED
        shown.append(
            {
                "name": name,
                "state": state,
                "attempt": 0 if last is None else last.attempt,
                "started_at": tries[0].started_at if tries else None,
                "finished_at": None if last is None else last.finished_at,
                "error": None if last is None else _error(last.error_type, last.error_message),
            }
        )
    return shown


def _error(type_: str, message: str) -> dict[str, str] | None:
    return {"type": type_, "message": message} if type_ else None


def queues() -> list[dict[str, Any]]:
    """Each queue with what waits, what runs, and since when the oldest has been due."""
    waiting = Q(state__in=WAITING)
    counts = {
        row["queue"]: row
        for row in JobRun.objects.filter(state__in=(*WAITING, State.RUNNING))
        .values("queue")
        .annotate(
            waiting=Count("id", filter=waiting),
            running=Count("id", filter=Q(state=State.RUNNING)),
            oldest=Min("scheduled_at", filter=waiting & Q(children_pending=0)),
        )
        .order_by("queue")
    }
    empty = {"waiting": 0, "running": 0, "oldest": None}
    return [
        {"name": queue.name, "paused": queue.paused_at is not None, **empty, **counts.get(queue.name, {})}
        for queue in JobQueue.objects.order_by("name")
    ]
