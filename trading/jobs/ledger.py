"""The ledger's statements: claim, write under a fence, finish, renew, rescue, admit.

Each is one statement or one short transaction on Django's connection, prepared by the server, with the database's
clock. A write names the fence its claim was given, so a holder that was replaced while it slept changes nothing.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from django.db import connection, transaction
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic_core import to_jsonable_python

from trading.jobs.outcomes import LeaseLost
from trading.jobs.states import Outcome, State

LEASE = timedelta(seconds=20)
LOST = "lost"
LOST_MESSAGE = (
    "Its worker stopped while it ran: killed, out of memory, past its time limit, or cut off from the database."
)

Row = dict[str, Any]


def _run(statement: LiteralString, parameters: Mapping[str, Any]) -> list[Row]:
    """The rows of ``statement``, bound and prepared by the server rather than the client."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection, row_factory=dict_row)
        with cursor.execute(statement, parameters, prepare=True):
            return cursor.fetchall() if cursor.description else []


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
           lease_until = now() + %(lease)s, started_at = coalesce(started_at, now())
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
       request_id, triggered_by, now() AS claimed_at
  FROM claimed
"""


def claim(run_id: UUID, *, worker: str, code_version: str) -> Claim | None:
    """Take a waiting run for ``worker``; None when there is nothing to do (taken, finished, paused, not yet due)."""
    rows = _run(_CLAIM, {"run_id": run_id, "worker": worker, "lease": LEASE, "code_version": code_version})
    return Claim(**rows[0], worker=worker) if rows else None


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
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""


_FINISH = """
WITH finished AS (
    UPDATE job_runs
       SET state = %(state)s, step_index = %(step_index)s, attempt = %(attempt)s, worker = '', lease_until = NULL,
           scheduled_at = CASE WHEN %(final)s THEN scheduled_at ELSE now() + %(delay)s END,
           rung_at = CASE WHEN %(on_the_bell)s THEN now() END,
           children_pending = %(children_pending)s,
           returned = returned || %(returned)s,
           result = coalesce(%(result)s, result),
           progress_note = coalesce(%(note)s, progress_note),
           error_type = %(error_type)s, error_message = %(error_message)s,
           finished_at = CASE WHEN %(final)s THEN now() END
     WHERE id = %(run_id)s AND fence = %(fence)s AND state = 'running'
 RETURNING id, fence
), logged AS (
    UPDATE job_attempts a
       SET finished_at = now(), outcome = %(outcome)s, error_type = %(error_type)s,
           error_message = %(error_message)s, traceback = %(traceback)s
      FROM finished
     WHERE a.run_id = finished.id AND a.number = finished.fence
)
SELECT id FROM finished
"""


def finish(claim: Claim, ending: Ending) -> bool:
    """Write how the attempt ended; False when the run is no longer this attempt's."""
    rows = _run(
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
            "note": ending.note,
            "error_type": ending.error_type[:200],
            "error_message": ending.error_message,
            "traceback": ending.traceback,
            "outcome": ending.outcome.value,
        },
    )
    return bool(rows)


def was_finished_by(claim: Claim, outcome: Outcome) -> bool:
    """Whether this very attempt is on record as ended so: true after a commit whose answer was cut."""
    rows = _run(
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

    def __enter__(self) -> None:
        super().__enter__()
        held = _run(
            "SELECT 1 FROM job_runs WHERE id = %(run_id)s AND fence = %(fence)s AND state = 'running'"
            " AND cancel_requested_at IS NULL FOR NO KEY UPDATE",
            {"run_id": self._claim.run_id, "fence": self._claim.fence},
        )
        if not held:
            error = LeaseLost(f"run {self._claim.run_id} is no longer held by attempt {self._claim.fence}")
            super().__exit__(LeaseLost, error, None)
            raise error


def write_progress(claim: Claim, *, done: int, total: int, note: str) -> bool:
    """Record progress; False when the run is no longer this attempt's or was asked to stop."""
    rows = _run(
        "UPDATE job_runs SET progress_done = %(done)s, progress_total = %(total)s, progress_note = %(note)s"
        " WHERE id = %(run_id)s AND fence = %(fence)s AND state = 'running' AND cancel_requested_at IS NULL"
        " RETURNING 1",
        {
            "run_id": claim.run_id,
            "fence": claim.fence,
            "done": done,
            "total": max(total, done),
            "note": note[:200],
        },
    )
    return bool(rows)


def cancel_requested(claim: Claim) -> bool:
    """Whether this attempt's run was asked to stop."""
    rows = _run(
        "SELECT 1 FROM job_runs WHERE id = %(run_id)s AND fence = %(fence)s AND cancel_requested_at IS NOT NULL",
        {"run_id": claim.run_id, "fence": claim.fence},
    )
    return bool(rows)


def renew(run_ids: Sequence[UUID], *, worker: str) -> set[UUID]:
    """Lengthen the leases of all that ``worker`` is running; the ids of those that were asked to stop.

    A run whose row is locked is inside a fenced transaction of its own: nobody can take it, so it is passed over.
    """
    rows = _run(
        """
        WITH held AS (
            SELECT id FROM job_runs WHERE id = ANY(%(run_ids)s) AND worker = %(worker)s AND state = 'running'
               FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE job_runs r SET lease_until = now() + %(lease)s FROM held WHERE r.id = held.id
        RETURNING r.id, r.cancel_requested_at IS NOT NULL AS stop
        """,
        {"run_ids": list(run_ids), "worker": worker, "lease": LEASE},
    )
    return {row["id"] for row in rows if row["stop"]}


_TAKE_BACK = """
WITH taken AS (
    SELECT id, fence, attempt, max_attempts, cancel_requested_at IS NOT NULL AS stop
      FROM job_runs
     WHERE state = 'running' AND {which}
     ORDER BY lease_until LIMIT 500 FOR UPDATE SKIP LOCKED
), put_back AS (
    UPDATE job_runs r
       SET state = CASE WHEN stop THEN 'cancelled'
                        WHEN %(burn)s AND taken.attempt >= taken.max_attempts THEN 'discarded'
                        WHEN %(burn)s THEN 'retrying'
                        ELSE 'queued' END,
           attempt = CASE WHEN %(burn)s THEN r.attempt ELSE greatest(r.attempt - 1, 0) END,
           scheduled_at = CASE WHEN %(burn)s AND r.attempt > 1
                               THEN now() + least(2 ^ r.attempt, 30) * interval '1 second'
                               ELSE now() END,
           worker = '', lease_until = NULL, rung_at = NULL,
           error_type = %(error_type)s, error_message = %(error_message)s,
           finished_at = CASE WHEN stop OR (%(burn)s AND taken.attempt >= taken.max_attempts) THEN now() END
      FROM taken
     WHERE r.id = taken.id
 RETURNING r.id, r.client_id, r.queue, r.parent_id, r.job, r.state, taken.fence
), logged AS (
    UPDATE job_attempts a
       SET finished_at = now(), error_type = %(error_type)s, error_message = %(error_message)s, outcome = %(outcome)s
      FROM put_back
     WHERE a.run_id = put_back.id AND a.number = put_back.fence
)
SELECT id, client_id, queue, parent_id, job, state FROM put_back
"""


def take_back_expired() -> list[Row]:
    """Put back every run whose lease has run out; those out of attempts are discarded as poison."""
    return _run(
        _TAKE_BACK.replace("{which}", "lease_until < now()"),
        {"burn": True, "outcome": Outcome.LOST.value, "error_type": LOST, "error_message": LOST_MESSAGE},
    )


def release(run_ids: Sequence[UUID], *, worker: str) -> list[Row]:
    """Give back runs of a worker that is shutting down; it costs them no attempt."""
    return _run(
        _TAKE_BACK.replace("{which}", "id = ANY(%(run_ids)s) AND worker = %(worker)s"),
        {
            "burn": False,
            "outcome": Outcome.RELEASED.value,
            "error_type": "",
            "error_message": "",
            "run_ids": list(run_ids),
            "worker": worker,
        },
    )


def admit(client_id: UUID, queue: str) -> list[Ring]:
    """Put as many of a client's waiting runs on the bell as its share of the queue has room for.

    Must run in a transaction: a lock on (client, queue) makes counting and admitting one step, so that the number
    of runs that are running or about to never exceeds the queue's ``client_concurrency``.
    """
    _run(
        "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))",
        {"key": f"job-admit:{client_id}:{queue}"},
    )
    rows = _run(
        """
        WITH room AS (
            SELECT coalesce((SELECT client_concurrency FROM job_queues WHERE name = %(queue)s), 4) - count(*) AS free
              FROM job_runs
             WHERE client_id = %(client_id)s AND queue = %(queue)s
               AND (state = 'running' OR (state IN ('queued', 'retrying', 'snoozed') AND rung_at IS NOT NULL))
        ), next AS (
            SELECT id FROM job_runs
             WHERE client_id = %(client_id)s AND queue = %(queue)s AND rung_at IS NULL
               AND state IN ('queued', 'retrying', 'snoozed') AND scheduled_at <= now() AND children_pending = 0
             ORDER BY scheduled_at, id LIMIT greatest((SELECT free FROM room), 0) FOR UPDATE SKIP LOCKED
        )
        UPDATE job_runs r SET rung_at = now() FROM next WHERE r.id = next.id
        RETURNING r.id AS run_id, r.job, r.queue
        """,
        {"client_id": client_id, "queue": queue},
    )
    return [Ring(**row) for row in rows]


def admit_system(limit: int = 1000) -> list[Ring]:
    """Put the due runs that belong to no client on the bell."""
    rows = _run(
        """
        WITH next AS (
            SELECT id FROM job_runs
             WHERE client_id IS NULL AND rung_at IS NULL AND state IN ('queued', 'retrying', 'snoozed')
               AND scheduled_at <= now() AND children_pending = 0
             ORDER BY scheduled_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        )
        UPDATE job_runs r SET rung_at = now() FROM next WHERE r.id = next.id
        RETURNING r.id AS run_id, r.job, r.queue
        """,
        {"limit": limit},
    )
    return [Ring(**row) for row in rows]


def clients_with_due_runs() -> list[tuple[UUID, str]]:
    """Each (client, queue) that has a due run waiting for room."""
    rows = _run(
        """
        SELECT c.id AS client_id, q.name AS queue
          FROM tenants_client c CROSS JOIN job_queues q
         WHERE q.paused_at IS NULL AND EXISTS (
               SELECT FROM job_runs r
                WHERE r.client_id = c.id AND r.queue = q.name AND r.rung_at IS NULL
                   AND r.state IN ('queued', 'retrying', 'snoozed') AND r.scheduled_at <= now()
                   AND r.children_pending = 0)
        """,
        {},
    )
    return [(row["client_id"], row["queue"]) for row in rows]


def unheard(queue: str, *, sent_before: timedelta, messages_waiting: int, limit: int = 1000) -> list[Ring]:
    """Runs whose message has been lost: more are on the bell than the broker has messages for.

    The oldest of the surplus are marked as rung again. A message sent twice costs an empty claim.
    """
    rows = _run(
        """
        WITH surplus AS (
            SELECT least(count(*), %(limit)s + %(messages)s) - %(messages)s AS missing
              FROM (SELECT FROM job_runs
                     WHERE queue = %(queue)s AND rung_at IS NOT NULL AND state IN ('queued', 'retrying', 'snoozed')
                     LIMIT %(limit)s + %(messages)s) rung
        ), oldest AS (
            SELECT id FROM job_runs
             WHERE queue = %(queue)s AND rung_at < now() - %(sent_before)s
               AND state IN ('queued', 'retrying', 'snoozed')
               AND NOT EXISTS (SELECT FROM job_queues q WHERE q.name = %(queue)s AND q.paused_at IS NOT NULL)
             ORDER BY rung_at LIMIT greatest((SELECT missing FROM surplus), 0) FOR UPDATE SKIP LOCKED
        )
        UPDATE job_runs r SET rung_at = now() FROM oldest WHERE r.id = oldest.id
        RETURNING r.id AS run_id, r.job, r.queue
        """,
        {"queue": queue, "sent_before": sent_before, "messages": messages_waiting, "limit": limit},
    )
    return [Ring(**row) for row in rows]


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
    rows = _run(
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
    now: datetime = _run("SELECT now() AS now", {})[0]["now"]
    return now
