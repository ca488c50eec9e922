"""Runs one step of one run, from claim to recorded ending, whatever happens in between."""

import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    transaction,
)
from structlog.contextvars import bound_contextvars

from trading.core.redaction import blot
from trading.core.scope import platform_scope, scope_of_run
from trading.jobs import interrupts, ledger, services
from trading.jobs.context import StepContext
from trading.jobs.outcomes import FanOut, LeaseLost, PermanentError, RetryLater, RunCancelled, Snooze
from trading.jobs.registry import Job, registry
from trading.jobs.states import Outcome, State

log = structlog.get_logger("quantum.jobs")

PATIENCE = timedelta(seconds=90)
"""How long a process tries to claim a run, or to write how an attempt ended, while the database is away."""
LONGEST_BACKOFF = timedelta(hours=1)
MAX_TEXT = 20_000
T = TypeVar("T")


@dataclass(frozen=True)
class Decision:
    """An ending, and the fan-out that comes with it."""

    ending: ledger.Ending
    fan_out: FanOut | None = None


class StillHeld(RuntimeError):
    """This process has stopped working at a run that the ledger says it holds: it has to end, and so give it up."""


def execute(run_id: UUID, *, worker: str, code_version: str) -> State | None:
    """Claim the run, run its current step, record the ending; the run's new state, None if nothing was to do.

    Whatever is raised means that this process may hold a run which it does not work at any more.
    """
    interrupts.forget()
    with platform_scope():
        claim = _claim(run_id, worker=worker, code_version=code_version)
        if claim is None:
            return None
        with bound_contextvars(
            run_id=str(run_id), job=claim.job, step=claim.step, fence=claim.fence, request_id=claim.request_id
        ):
            return _attempt(claim)


def _claim(run_id: UUID, *, worker: str, code_version: str) -> ledger.Claim | None:
    """Claim the run, however long the database is away; a claim whose answer was cut is recognised as our own."""
    asked = False
    pid = os.getpid()

    def take() -> ledger.Claim | None:
        nonlocal asked
        if not asked:
            asked = True
            return ledger.claim(run_id, worker=worker, pid=pid, code_version=code_version)
        return (
            ledger.claimed_by(run_id, worker=worker, pid=pid)
            or ledger.claim(run_id, worker=worker, pid=pid, code_version=code_version)
            # The cut claim may have been committed only now, while the second waited for the row.
            or ledger.claimed_by(run_id, worker=worker, pid=pid)
        )

    return _with_patience(take)


def _attempt(claim: ledger.Claim) -> State | None:
    log.debug("step.started", attempt=claim.attempt)
    began = time.monotonic()
    try:
        decision = _decide(claim)
    except LeaseLost:
        decision = None
    if decision is None and _with_patience(lambda: ledger.stop_reason(claim)) is ledger.Stop.CANCELLED:
        decision = Decision(_cancelled(claim))  # it was refused a transaction because it is to stop
    if decision is None or not _record(claim, decision):
        if _with_patience(lambda: ledger.claimed_by(claim.run_id, worker=claim.worker, pid=os.getpid())) is not None:
            raise StillHeld(f"run {claim.run_id} was taken for lost by attempt {claim.fence}, which holds it")
        log.warning("step.lease_lost", seconds=round(time.monotonic() - began, 3))
        return None
    log.info(
        "step.ended",
        outcome=decision.ending.outcome.value,
        state=decision.ending.state.value,
        seconds=round(time.monotonic() - began, 3),
        error=decision.ending.error_message or None,
    )
    return decision.ending.state


def _decide(claim: ledger.Claim) -> Decision:
    context = StepContext(claim)
    decision = _answer(claim, context)
    return replace(decision, ending=replace(decision.ending, progress=context.unwritten))


def _answer(claim: ledger.Claim, context: StepContext) -> Decision:
    try:
        job = registry.get(claim.job)
        step = job.step(claim.step)
    except LookupError as error:
        return Decision(_failed(claim, error, permanent=True))
    try:
        arguments = services.validated(
            job, claim.args, client_id=claim.client_id, client_is_active=claim.client_is_active
        )
        with scope_of_run(claim.client_id), _leaving_no_transaction(), interrupts.interruptible():
            result = step.run(context, arguments)
        return _answered(claim, result)
    except (LeaseLost, StillHeld):
        raise
    except RunCancelled:
        return Decision(_cancelled(claim))
    except interrupts.Interrupted as interrupted:
        return Decision(_interrupted(claim, job, interrupted))
    except (PermanentError, services.InvalidArguments) as error:
        return Decision(_failed(claim, error, permanent=True))
    except RetryLater as error:
        return Decision(_failed(claim, error, permanent=False, delay=error.delay, job=job))
    except Exception as error:  # noqa: BLE001  # whatever a step raises is the run's to record, with its traceback
        return Decision(_failed(claim, error, permanent=False, job=job))


@contextmanager
def _leaving_no_transaction() -> Iterator[None]:
    """Raise `StillHeld` when a step has ended inside a transaction, as one stopped while it began or ended it may.

    What is written after it would be undone, unseen, with that transaction.
    """
    database = transaction.get_connection()

    def depth() -> tuple[bool, int]:
        return database.connection is not None and not database.autocommit, len(database.atomic_blocks)

    before = depth()
    try:
        yield
    except interrupts.Interrupted:
        # Cut off anywhere, its session may have kept a lock, such as the senders', which a halt waits for.
        if depth() == before == (False, 0):
            database.close()
        raise
    finally:
        if depth() != before:
            raise StillHeld("the step has left its connection in a transaction")


def _answered(claim: ledger.Claim, result: Mapping[str, Any] | Snooze | FanOut | None) -> Decision:
    if isinstance(result, Snooze):
        return Decision(
            ledger.Ending(
                Outcome.SNOOZED,
                State.SNOOZED,
                step_index=claim.step_index,
                attempt=claim.attempt - 1,
                delay=result.delay,
                note=result.note[:200] or None,
            )
        )
    if isinstance(result, FanOut):
        if claim.is_last_step:
            message = f"Step {claim.step!r} fans out but is the chain's last: declare the step that joins it."
            return Decision(_failed(claim, PermanentError(message), permanent=True))
        if not result.arguments:
            return Decision(_succeeded(claim, result.value))
        waiting = replace(
            _succeeded(claim, result.value),
            state=State.SNOOZED,
            on_the_bell=False,
            children_pending=len(result.arguments),
            note=f"waiting for {len(result.arguments)} runs of {result.job}",
        )
        return Decision(waiting, result)
    return Decision(_succeeded(claim, result))


def _succeeded(claim: ledger.Claim, value: Mapping[str, Any] | None) -> ledger.Ending:
    returned = {} if value is None else {claim.step: dict(value)}
    if claim.is_last_step:
        return ledger.Ending(
            Outcome.SUCCEEDED,
            State.SUCCEEDED,
            step_index=claim.step_index,
            attempt=claim.attempt,
            returned=returned,
            result=None if value is None else dict(value),
        )
    return ledger.Ending(
        Outcome.SUCCEEDED,
        State.QUEUED,
        step_index=claim.step_index + 1,
        attempt=0,
        on_the_bell=True,
        returned=returned,
    )


def _cancelled(claim: ledger.Claim) -> ledger.Ending:
    return ledger.Ending(Outcome.CANCELLED, State.CANCELLED, step_index=claim.step_index, attempt=claim.attempt)


def _interrupted(claim: ledger.Claim, job: Job[Any], interrupted: interrupts.Interrupted) -> ledger.Ending:
    """A step stopped from outside: asked to cancel, past its time, or by a signal that was meant for another."""
    reason = _with_patience(lambda: ledger.stop_reason(claim))
    if reason is ledger.Stop.CANCELLED:
        return _cancelled(claim)
    if reason is ledger.Stop.LATE:
        seconds = job.timeout.total_seconds()
        error = StepTimeout(f"The step took longer than its {seconds:g} s.")
        return _failed(claim, error.with_traceback(interrupted.__traceback__), permanent=False, job=job)
    return ledger.Ending(
        Outcome.RELEASED,
        State.QUEUED,
        step_index=claim.step_index,
        attempt=claim.attempt - 1,
        on_the_bell=True,
    )


class StepTimeout(Exception):
    """A step took longer than its job allows."""


def _failed(
    claim: ledger.Claim,
    error: BaseException,
    *,
    permanent: bool,
    delay: timedelta | None = None,
    job: Job[Any] | None = None,
) -> ledger.Ending:
    final = permanent or claim.attempt >= claim.max_attempts
    if delay is None and job is not None and not final:
        delay = backoff(job.backoff, claim.attempt, jitter=secrets.SystemRandom().random())
    return ledger.Ending(
        Outcome.FAILED,
        State.FAILED if final else State.RETRYING,
        step_index=claim.step_index,
        attempt=claim.attempt,
        delay=delay or timedelta(0),
        error_type=type(error).__name__,
        error_message=(_printable(str(error)) or type(error).__name__)[:MAX_TEXT],
        traceback=_printable("".join(traceback.format_exception(error)))[-MAX_TEXT:],
    )


def _printable(text: str) -> str:
    """``text`` as Postgres can hold it, no NUL and no lone surrogate, and without a secret."""
    return blot(text).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def backoff(first: timedelta, attempt: int, *, jitter: float) -> timedelta:
    """The delay after the ``attempt``-th failure: ``first`` doubled for each one before, up to an hour, ± 25 %.

    ``jitter`` is uniform in [0, 1); it keeps runs that failed together from coming back together.
    """
    delay: timedelta = min(first * 2 ** min(attempt - 1, 30), LONGEST_BACKOFF)
    return delay * (0.75 + 0.5 * jitter)


def _record(claim: ledger.Claim, decision: Decision) -> bool:
    """Write the ending, however long the database is away; False when the run is another's by now."""
    asked = False

    def write() -> bool:
        nonlocal asked
        if asked and ledger.was_finished_by(claim, decision.ending.outcome):
            services.announce(claim, decision.ending)
            return True  # the commit whose answer was cut had gone through
        asked = True
        return services.end_attempt(claim, decision.ending, decision.fan_out)

    try:
        return _with_patience(write)
    except (TypeError, ValueError, DataError, IntegrityError, LookupError) as error:
        # What the step returned cannot be stored, or its fan-out names what does not exist.
        failure = _failed(claim, PermanentError(f"The step's answer cannot be recorded: {error}"), permanent=True)
        return _with_patience(lambda: services.end_attempt(claim, failure))


def _with_patience(call: Callable[[], T], patience: timedelta = PATIENCE) -> T:
    """``call`` tried again over a fresh connection while the database is away; the last error past ``patience``."""
    deadline = time.monotonic() + patience.total_seconds()
    delay = 0.1
    while True:
        try:
            return call()
        except (OperationalError, InterfaceError, InternalError):  # the last: cut off while idle in a transaction
            connection.close()
            if time.monotonic() + delay > deadline:
                raise
            time.sleep(delay)
            delay = min(delay * 2, 2.0)
