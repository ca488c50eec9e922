"""Changes to the ledger: enqueue, retry, cancel, pause and resume, ending an attempt, rescue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from trading.audit.services import record
from trading.jobs import bell, ledger, upkeep
from trading.jobs.arguments import InvalidArguments as InvalidArguments  # callers catch it from here
from trading.jobs.arguments import validated as validated
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.outcomes import FanOut
from trading.jobs.registry import registry
from trading.jobs.states import FINAL, LIVE, RETRYABLE, WAITING, State, Trigger

_RETRIED = ", retried by "


class WrongState(Exception):
    """The run's state does not allow what was asked."""

    code = "wrong_state"


@dataclass(frozen=True)
class Enqueued:
    """The run that answers an `enqueue`; ``created`` is False when a live one or one for the slot existed."""

    run: JobRun
    created: bool


def enqueue(
    slug: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    client_id: UUID | None = None,
    scheduled_at: datetime | None = None,
    schedule_slot: str | None = None,
    parent: JobRun | None = None,
    trigger: Trigger = Trigger.SERVICE,
    triggered_by: str = "",
    request_id: str = "",
) -> Enqueued:
    """Insert a run of the job called ``slug`` in the caller's transaction; its message goes out on commit.

    Raises `UnknownJob` or `InvalidArguments`. A job declared unique answers with the live run of the same key, and a
    schedule's slot with the run that has it, instead of a second one.
    """
    job = registry.get(slug)
    values = validated(job, arguments or {}, client_id=client_id)
    run = JobRun(
        client_id=client_id,
        job=job.slug,
        queue=job.queue,
        args=values.model_dump(mode="json"),
        steps=list(job.step_names),
        max_attempts=job.max_attempts,
        timeout=job.timeout,
        parent=parent,
        unique_key=(job.unique(values, client_id) or None) if job.unique else None,
        schedule_slot=schedule_slot,
        rung_at=Now() if client_id is None and scheduled_at is None else None,
        trigger=trigger,
        triggered_by=triggered_by[:200],
        request_id=request_id[:64],
    )
    if scheduled_at is not None:
        run.scheduled_at = scheduled_at
    while True:
        with transaction.atomic(savepoint=False):
            created = _insert(run)
            if created and scheduled_at is None:
                _after_commit(dispatch, run)
        existing = run if created else _existing(run)
        if existing is not None:
            return Enqueued(existing, created)
        # The one in the way ended between the insert and the look: try again.


def _insert(run: JobRun) -> bool:
    """Insert unless a live twin or the slot's run is in the way."""
    if run.unique_key is None and run.schedule_slot is None:
        run.save(force_insert=True)
        return True
    inserted = JobRun.objects.bulk_create([run], ignore_conflicts=True)
    return JobRun.objects.filter(id=inserted[0].id).exists()


def _existing(run: JobRun) -> JobRun | None:
    if run.schedule_slot is not None:
        found = JobRun.objects.filter(schedule_slot=run.schedule_slot).first()
        if found is not None:
            return found
    return JobRun.objects.filter(job=run.job, unique_key=run.unique_key, state__in=LIVE).first()


def _after_commit(call: Callable[..., object], *arguments: object) -> None:
    """Have ``call`` made once the transaction is committed; an error of its own is logged, as the change stands."""

    def hook() -> None:  # not a partial: Django logs a failed hook by its name, which a partial lacks
        call(*arguments)

    transaction.on_commit(hook, robust=True)


def dispatch(run: JobRun) -> None:
    """Send the message of a run that has just been committed, or of whichever its client has room for."""
    if run.client_id is None:
        bell.ring([ledger.Ring(run.id, run.job, run.queue)])
    else:
        admit(run.client_id, run.queue)


def admit(client_id: UUID, queue: str) -> int:
    """Put a client's waiting runs on the bell as far as its share of the queue has room; how many."""
    with transaction.atomic():
        rings = upkeep.admit(client_id, queue)
    bell.ring(rings)
    return len(rings)


def admit_due() -> int:
    """Put every waiting run that is due on the bell as far as its client has room; how many."""
    rings = upkeep.admit_system()
    bell.ring(rings)
    return len(rings) + sum(admit(client_id, queue) for client_id, queue in upkeep.clients_with_due_runs())


def retry(run_id: UUID, *, by: str = "") -> JobRun:
    """Queue a run that ended without success again, from the step that did not; raises `WrongState` otherwise.

    Runs that it had started and that did not succeed are queued again first, and it waits for them as before. ``by`` is
    who asked for it; the run's record keeps that beside who or what asked for the run.
    """
    with transaction.atomic():
        # Children before their parent, as their own endings do: in the other order the two would deadlock.
        locked = JobRun.objects.select_for_update(no_key=True)
        children = list(locked.filter(parent_id=run_id).exclude(state=State.SUCCEEDED).order_by("id"))
        run = locked.get(id=run_id)
        if run.state not in RETRYABLE:
            raise WrongState(f"The run is {run.state}; only a failed, discarded or cancelled one can be retried.")
        if (
            run.unique_key is not None
            and JobRun.objects.filter(job=run.job, unique_key=run.unique_key, state__in=LIVE).exists()
        ):
            raise WrongState("Another run of this job is live; wait for it to end, or cancel it, then retry this one.")
        if run.parent_id is not None:
            JobRun.objects.filter(id=run.parent_id, state=State.SNOOZED, children_pending__gt=0).update(
                children_pending=F("children_pending") + 1, progress_done=F("progress_done") - 1
            )
        for child in children:
            if child.state in RETRYABLE:
                _queue_again(child, by)
        _queue_again(run, by, children=len(children))
        _note("job_run.retried", run)
    run.refresh_from_db()
    return run


def _queue_again(run: JobRun, by: str, *, children: int = 0) -> None:
    job = registry.get(run.job)
    if run.step_index >= len(run.steps) or run.step not in job.step_names:
        raise WrongState("This version of the code has no such step any more; enqueue a new run instead.")
    if by:
        run.triggered_by = f"{run.triggered_by.partition(_RETRIED)[0]}{_RETRIED}{by}"[:200]
    run.state = State.SNOOZED if children else State.QUEUED
    run.children_pending = children
    if children:
        run.progress_done = max(0, run.progress_total - children)
    run.attempt = 0
    run.max_attempts = job.max_attempts
    run.timeout = job.timeout
    run.scheduled_at = Now()
    run.rung_at = Now() if run.client_id is None and not children else None
    run.cancel_requested_at = run.finished_at = None
    run.error_type = run.error_message = ""
    run.save()
    if not children:
        _after_commit(dispatch, run)


def cancel(run_id: UUID) -> JobRun:
    """Cancel a waiting run at once; ask a running one to stop. Raises `WrongState` when it has ended.

    The runs that a fan-out started are cancelled with it.
    """
    with transaction.atomic():
        run = _cancel(run_id)
        _note("job_run.cancelled", run)
    run.refresh_from_db()
    return run


def hasten(run_id: UUID) -> None:
    """Make what a run waits for due now, where it waits for its next try: somebody has reason to think it goes well."""
    waiting = JobRun.objects.filter(parent_id=run_id, state=State.RETRYING, rung_at=None)
    for child in waiting.filter(scheduled_at__gt=Now()).order_by("id"):
        waiting.filter(id=child.id).update(scheduled_at=Now())
        _after_commit(dispatch, child)


def _note(action: str, run: JobRun) -> None:
    """For the audit log, as the transaction's last act: its chain is locked from here on."""
    record(action, client_id=run.client_id, subject=f"job_run:{run.id}", data={"job": run.job, "step": run.step})


def _cancel(run_id: UUID) -> JobRun:
    with transaction.atomic():
        # Children before their parent, as their own endings do: in the other order the two would deadlock.
        list(JobRun.objects.select_for_update(no_key=True).filter(parent_id=run_id, state__in=LIVE).order_by("id"))
        run = JobRun.objects.select_for_update(no_key=True).get(id=run_id)
        if run.state in FINAL:
            raise WrongState(f"The run has already ended: it {_ENDED[State(run.state)]}.")
        if run.state == State.RUNNING:
            if run.cancel_requested_at is None:
                JobRun.objects.filter(id=run_id).update(cancel_requested_at=Now())
        else:
            for child_id in run.children.filter(state__in=LIVE).values_list("id", flat=True):
                _cancel_child(child_id)
            JobRun.objects.filter(id=run_id).update(
                state=State.CANCELLED,
                finished_at=Now(),
                cancel_requested_at=Now(),
                rung_at=None,
                children_pending=0,
            )
            _after_ending(run)
    return run


_ENDED = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "was cancelled",
    State.DISCARDED: "was discarded",
}


def _cancel_child(run_id: UUID) -> None:
    try:
        _cancel(run_id)
    except WrongState:
        return  # it ended by itself meanwhile, which is as good


def _after_ending(run: JobRun) -> None:
    """What the end of a run sets off: its parent's count, in its transaction; after the commit, its client's next."""
    if run.parent_id is not None:
        _join(run.parent_id)
    if run.client_id is not None:
        _after_commit(admit, run.client_id, run.queue)


def _join(parent_id: UUID) -> None:
    parent = ledger.child_ended(parent_id)
    if parent is None:
        return
    if parent.client_id is not None:
        _after_commit(admit, parent.client_id, parent.queue)
    else:
        _after_commit(bell.ring, [parent.ring])


def pause(queue: str, *, by: str) -> JobQueue:
    """Start nothing more from ``queue``; what runs goes on, what is enqueued waits."""
    with transaction.atomic():
        row, _ = JobQueue.objects.get_or_create(name=queue)
        row.paused_at = ledger.database_now()
        row.paused_by = by[:200]
        row.save()
        record("queue.paused", subject=f"queue:{queue}")
    return row


def resume(queue: str) -> JobQueue:
    """Start runs from ``queue`` again: everything waiting in it is put on the bell anew."""
    with transaction.atomic():
        row, _ = JobQueue.objects.get_or_create(name=queue)
        row.paused_at = None
        row.paused_by = ""
        row.save()
        JobRun.objects.filter(queue=queue, state__in=WAITING, rung_at__isnull=False).update(rung_at=None)
        record("queue.resumed", subject=f"queue:{queue}")
    return row


def end_attempt(claim: ledger.Claim, ending: ledger.Ending, fan_out: FanOut | None = None) -> bool:
    """Write how an attempt ended and all that follows from it in one transaction; False when the run is another's.

    What follows: the runs of a fan-out and the parent's count, in the same transaction; after it, the message for the
    next step or for the client's next run.
    """
    joins = ending.state in FINAL and claim.parent_id is not None
    if fan_out is None and not joins:
        held = ledger.finish(claim, ending)  # one statement is its own transaction
    else:
        with transaction.atomic():
            held = ledger.finish(claim, ending)
            if held and fan_out is not None:
                _start_children(claim, fan_out)
            if held and joins and claim.parent_id is not None:
                _join(claim.parent_id)
    if held:
        announce(claim, ending)
    return held


def announce(claim: ledger.Claim, ending: ledger.Ending) -> None:
    """Send what follows from an attempt's end once that is committed; sent twice it does no harm."""
    if ending.on_the_bell:
        bell.ring([ledger.Ring(claim.run_id, claim.job, claim.queue)])
    elif claim.client_id is not None:
        admit(claim.client_id, claim.queue)


def _start_children(claim: ledger.Claim, fan_out: FanOut) -> None:
    """Enqueue the runs of a fan-out and let the parent wait for those that are new."""
    parent = JobRun(id=claim.run_id)
    clients: Sequence[UUID | None] = fan_out.client_ids or [claim.client_id] * len(fan_out.arguments)
    started = 0
    for arguments, client_id in zip(fan_out.arguments, clients, strict=True):
        child = enqueue(
            fan_out.job,
            arguments,
            client_id=client_id,
            parent=parent,
            trigger=Trigger.PARENT,
            triggered_by=f"run {claim.run_id}",
            request_id=claim.request_id,
        )
        started += child.created
    # One more than there are, so that ending this wait takes the same path as the end of a child.
    JobRun.objects.filter(id=claim.run_id).update(
        children_pending=started + 1, progress_done=0, progress_total=started + 1
    )
    _join(claim.run_id)
    JobRun.objects.filter(id=claim.run_id).update(progress_done=0, progress_total=started)


def rescue() -> list[UUID]:
    """Put back what dead workers held; the ids. Poison, out of attempts, is discarded and its parent told."""
    with transaction.atomic():
        taken = upkeep.take_back_expired()
        follow_up(taken)
    return [row["id"] for row in taken]


def release(*, worker: str) -> list[UUID]:
    """Give back what a worker that is shutting down still holds, at no cost in attempts; the ids."""
    with transaction.atomic():
        taken = upkeep.release(worker=worker)
        follow_up(taken)
    return [row["id"] for row in taken]


def follow_up(taken: Sequence[ledger.Row]) -> None:
    """What follows from runs that were taken back from their worker."""
    for row in taken:
        run = JobRun(id=row["id"], client_id=row["client_id"], queue=row["queue"], parent_id=row["parent_id"])
        if row["state"] in FINAL:
            _after_ending(run)
        elif run.client_id is not None:
            _after_commit(admit, run.client_id, run.queue)


def mend_joins() -> list[UUID]:
    """Set right the parents whose count of pending children is not the number still live; the ids.

    The count changes in the transaction that ends a child, so a difference means that rows were edited by hand.
    """
    mended = []
    with transaction.atomic():
        for row in upkeep.mend_joins():
            mended.append(row["id"])
            if row["ready"]:
                _join(row["id"])
    return mended


def prune(*, ended_before: datetime, limit: int) -> int:
    """Delete at most ``limit`` runs that ended before then, with their attempts; how many.

    A fan-out's runs stay as long as the run that started them.
    """
    return upkeep.prune(ended_before=ended_before, limit=limit)
