"""The ledger's statements: claim, write under a fence, finish, renew, rescue, admit.

Each is one statement or one short transaction on Django's connection, prepared by the server, with the database's
clock. A write names the fence its claim was given, so a holder that was replaced while it slept changes nothing.

Rows are named by their key alone, with no join, and a held run by its lease, which a constraint ties to its state: the
server plans once, often while the tables are empty, and would else read all attempts, or all that the index of running
runs still has of dead ones.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, LiteralString, cast
from uuid import UUID

from django.db import connection, transaction
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from trading.core.postgres.base import DatabaseWrapper
from trading.jobs.outcomes import LeaseLost
from trading.jobs.states import Outcome, State

LEASE = timedelta(seconds=20)
Row = dict[str, Any]


def execute(statement: LiteralString, parameters: Mapping[str, Any]) -> list[Row]:
    """The rows of ``statement``, which the server prepares."""
    return cast("DatabaseWrapper", connection).run(statement, parameters)


def _json(value: Any) -> Jsonb:
    """``value`` as JSON for Postgres: decimals, UUIDs and times as text; ``ValueError`` for NaN and infinities."""
    return Jsonb(to_jsonable_python(value), dumps=partial(json.dumps, allow_nan=False))


@dataclass(frozen=True)
class Claim:
    """A run as its attempt holds it."""

    run_id: UUID
    client_id: UUID | None
    job: str
    queue: str
    args: Mapping[str, Any]
    steps: Sequence[str]
    step_index: int
    returned: Mapping[str, Any]
    fence: int
    attempt: int
    max_attempts: int
    parent_id: UUID | None
    request_id: str
    triggered_by: str
    claimed_at: datetime
    worker: str
    client_is_active: bool = True

    @property
    def step(self) -> str:
        """The name of the step to run."""
        return self.steps[self.step_index]

    @property
    def is_last_step(self) -> bool:
        """Whether the chain ends with this step."""
        return self.step_index + 1 >= len(self.steps)


@dataclass(frozen=True)
class Ring:
    """A message to be sent: this run, of this job, on this queue, may be claimed."""

    run_id: UUID
    job: str
    queue: str


_CLAIM = """
WITH claimed AS (
    UPDATE job_runs
       SET state = 'running', fence = fence + 1, attempt = attempt + 1, worker = %(worker)s,
           worker_pid = %(pid)s, lease_until = now() + %(lease)s, stop_at = now() + timeout,
           started_at = coalesce(started_at, now())
     WHERE id = %(run_id)s AND state IN ('queued', 'retrying', 'snoozed') AND rung_at IS NOT NULL
       AND scheduled_at <= now() AND children_pending = 0
       AND NOT EXISTS (SELECT FROM job_queues q WHERE q.name = job_runs.queue AND q.paused_at IS NOT NULL)
 RETURNING id, client_id, job, queue, args, steps, step_index, returned, fence, attempt, max_attempts, parent_id,
           request_id, triggered_by
), logged AS (
    INSERT INTO job_attempts (run_id, number, step, attempt, worker, code_version, started_at,
                              outcome, error_type, error_message, traceback)
    SELECT id, fence, steps[step_index + 1], attempt, %(worker)s, %(code_version)s, now(), '', '', '', '' FROM claimed
)
SELECT id AS run_id, client_id, job, queue, args, steps, step_index, returned, fence, attempt, max_attempts, parent_id,
       request_id, triggered_by, now() AS claimed_at,
       client_id IS NULL OR EXISTS (SELECT FROM tenants_client c WHERE c.id = client_id AND c.is_active)
           AS client_is_active
  FROM claimed
"""


def claim(run_id: UUID, *, worker: str, pid: int, code_version: str) -> Claim | None:
    """Take a waiting run for process ``pid`` of ``worker``; None when there is nothing to do.

    That is: taken, finished, cancelled, not yet due, waiting for children or for room, or its queue is paused.
    """
    rows = execute(
        _CLAIM, {"run_id": run_id, "worker": worker, "pid": pid, "lease": LEASE, "code_version": code_version}
    )
    return _as_claim(rows[0], worker) if rows else None


def claimed_by(run_id: UUID, *, worker: str, pid: int) -> Claim | None:
    """The run as process ``pid`` of ``worker`` holds it already: its claim was committed, but the answer was lost."""
    rows = execute(
        """
        SELECT r.id AS run_id, r.client_id, r.job, r.queue, r.args, r.steps, r.step_index, r.returned, r.fence,
               r.attempt, r.max_attempts, r.parent_id, r.request_id, r.triggered_by, a.started_at AS claimed_at,
               r.client_id IS NULL OR EXISTS (SELECT FROM tenants_client c WHERE c.id = r.client_id AND c.is_active)
                   AS client_is_active
          FROM job_runs r JOIN job_attempts a ON a.run_id = r.id AND a.number = r.fence
         WHERE r.id = %(run_id)s AND r.state = 'running' AND r.worker = %(worker)s AND r.worker_pid = %(pid)s
        """,
        {"run_id": run_id, "worker": worker, "pid": pid},
    )
    return _as_claim(rows[0], worker) if rows else None


def _as_claim(row: Row, worker: str) -> Claim:
    row.update(args=json.loads(row["args"]), returned=json.loads(row["returned"]))  # Django leaves jsonb as text
    return Claim(**row, worker=worker)


@dataclass(frozen=True)
class Progress:
    """How far a step is: ``done`` of ``total``, and of what."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Ending:
    """How an attempt leaves its run: the attempt's outcome, and the run's new place."""

    outcome: Outcome
    state: State
    step_index: int
    attempt: int
    delay: timedelta = timedelta(0)
    on_the_bell: bool = False
    children_pending: int = 0
    returned: Mapping[str, Any] | None = None
    result: Any = None
    note: str | None = None
    progress: Progress | None = None
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""


_FINISH = """
WITH finished AS (
    UPDATE job_runs
       SET state = %(state)s, step_index = %(step_index)s, attempt = %(attempt)s,
           worker = '', worker_pid = NULL, lease_until = NULL, stop_at = NULL,
           scheduled_at = CASE WHEN %(final)s THEN scheduled_at ELSE now() + %(delay)s END,
           rung_at = CASE WHEN %(on_the_bell)s THEN now() END,
           children_pending = %(children_pending)s,
           returned = returned || %(returned)s,
           result = coalesce(%(result)s, result),
           progress_done = coalesce(%(done)s, progress_done),
           progress_total = coalesce(%(total)s, progress_total),
           progress_note = coalesce(%(note)s, progress_note),
           error_type = %(error_type)s, error_message = %(error_message)s,
           finished_at = CASE WHEN %(final)s THEN now() END
     WHERE id = %(run_id)s AND fence = %(fence)s AND lease_until IS NOT NULL
 RETURNING id
), logged AS (
    UPDATE job_attempts
       SET finished_at = now(), outcome = %(outcome)s, error_type = %(error_type)s,
           error_message = %(error_message)s, traceback = %(traceback)s
     WHERE run_id = %(run_id)s AND number = %(fence)s AND EXISTS (SELECT FROM finished)
)
SELECT id FROM finished
"""


def finish(claim: Claim, ending: Ending) -> bool:
    """Write how the attempt ended; False when the run is no longer this attempt's."""
    told = _columns(ending.progress)
    rows = execute(
        _FINISH,
        {
            "run_id": claim.run_id,
            "fence": claim.fence,
            "state": ending.state.value,
            "step_index": ending.step_index,
            "attempt": ending.attempt,
            "final": ending.state in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DISCARDED),
            "delay": ending.delay,
            "on_the_bell": ending.on_the_bell,
            "children_pending": ending.children_pending,
            "returned": _json(dict(ending.returned or {})),
            "result": None if ending.result is None else _json(ending.result),
            **told,
            "note": told["note"] if ending.note is None else ending.note,
            "error_type": ending.error_type[:200],
            "error_message": ending.error_message,
            "traceback": ending.traceback,
            "outcome": ending.outcome.value,
        },
    )
    return bool(rows)


def was_finished_by(claim: Claim, outcome: Outcome) -> bool:
    """Whether this very attempt is on record as ended so: true after a commit whose answer was cut."""
    rows = execute(
        "SELECT 1 FROM job_attempts WHERE run_id = %(run_id)s AND number = %(fence)s AND outcome = %(outcome)s",
        {"run_id": claim.run_id, "fence": claim.fence, "outcome": outcome.value},
    )
    return bool(rows)


def fenced(claim: Claim) -> AbstractContextManager[None]:
    """A transaction that commits only while ``claim`` still holds its run; else it raises `LeaseLost`."""
    return _Fenced(claim)


class _Fenced(transaction.Atomic):
    def __init__(self, claim: Claim) -> None:
        super().__init__(using=None, savepoint=True, durable=False)
        self._claim = claim
        self._began = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and time.monotonic() - self._began > LEASE.total_seconds() / 4:
            # While the row was locked the keeper could not lengthen its lease: whoever finds it expired after the
            # commit would take the run from a holder that lives.
            try:
                execute(
                    "UPDATE job_runs SET lease_until = clock_timestamp() + %(lease)s WHERE id = %(run_id)s",
                    {"lease": LEASE, "run_id": self._claim.run_id},
                )
            except BaseException as failed:  # whatever it was: the block is left all the same
                super().__exit__(type(failed), failed, failed.__traceback__)
                raise
        super().__exit__(kind, error, trace)

    def __enter__(self) -> None:
        super().__enter__()
        self._began = time.monotonic()
        try:
            held = execute(
                "SELECT 1 FROM job_runs WHERE id = %(run_id)s AND fence = %(fence)s AND lease_until IS NOT NULL"
                " AND cancel_requested_at IS NULL FOR NO KEY UPDATE",
                {"run_id": self._claim.run_id, "fence": self._claim.fence},
            )
            if not held:
                raise LeaseLost(f"run {self._claim.run_id} is no longer held by attempt {self._claim.fence}")
        except BaseException as error:  # whatever it was: a block that was not entered is not left either
            # The connection would stay in it, of no use to anybody.
            super().__exit__(type(error), error, error.__traceback__)
            raise


def _columns(progress: Progress | None) -> Row:
    """As a run's row has it; None for what stays."""
    if progress is None:
        return {"done": None, "total": None, "note": None}
    return {"done": progress.done, "total": max(progress.total, progress.done), "note": progress.note[:200]}


def write_progress(claim: Claim, progress: Progress) -> bool:
    """Record progress; False when the run is no longer this attempt's or was asked to stop."""
    rows = execute(
        "UPDATE job_runs SET progress_done = %(done)s, progress_total = %(total)s, progress_note = %(note)s"
        " WHERE id = %(run_id)s AND fence = %(fence)s AND lease_until IS NOT NULL AND cancel_requested_at IS NULL"
        " RETURNING 1",
        {"run_id": claim.run_id, "fence": claim.fence, **_columns(progress)},
    )
    return bool(rows)


class Stop(Enum):
    """Why an attempt is to end before its step has."""

    CANCELLED = "cancelled"
    LATE = "late"


def stop_reason(claim: Claim) -> Stop | None:
    """Why this attempt should stop: asked to cancel, or past its time; None when it should not."""
    rows = execute(
        "SELECT cancel_requested_at IS NOT NULL AS cancelled, stop_at <= now() AS late FROM job_runs"
        " WHERE id = %(run_id)s AND fence = %(fence)s AND lease_until IS NOT NULL",
        {"run_id": claim.run_id, "fence": claim.fence},
    )
    if not rows:
        return None
    return Stop.CANCELLED if rows[0]["cancelled"] else Stop.LATE if rows[0]["late"] else None


@dataclass(frozen=True)
class ReadyParent:
    """A fan-out's run whose last child has ended."""

    client_id: UUID | None
    queue: str
    ring: Ring


def child_ended(parent_id: UUID) -> ReadyParent | None:
    """Count one child of a waiting parent as ended; the parent when it was the last.

    Runs in the transaction that ends the child, which happens once. A parent of a client waits for `admit`.
    """
    rows = execute(
        """
        UPDATE job_runs
           SET children_pending = children_pending - 1, progress_done = least(progress_done + 1, progress_total),
               state = CASE WHEN children_pending = 1 THEN 'queued' ELSE state END,
               scheduled_at = CASE WHEN children_pending = 1 THEN now() ELSE scheduled_at END,
               rung_at = CASE WHEN children_pending = 1 AND client_id IS NULL THEN now() END
         WHERE id = %(parent_id)s AND state = 'snoozed' AND children_pending > 0
     RETURNING id, job, queue, client_id, children_pending
        """,
        {"parent_id": parent_id},
    )
    if not rows or rows[0]["children_pending"] > 0:
        return None
    row = rows[0]
    return ReadyParent(row["client_id"], row["queue"], Ring(row["id"], row["job"], row["queue"]))


def database_now() -> datetime:
    """The clock that leases and schedules go by."""
    now: datetime = execute("SELECT now() AS now", {})[0]["now"]
    return now
