"""The upkeep of the ledger: leases renewed and taken back, runs admitted to the bell, lost messages, joins, pruning.

As in `trading.jobs.ledger`, each is one statement that any number of processes may issue at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from trading.jobs.ledger import LEASE, Ring, Row, execute
from trading.jobs.states import Outcome

STOP_GRACE = timedelta(seconds=10)
"""Between the moment when a step is asked to stop and the end of its process."""
NEWBORN = timedelta(seconds=2)
"""A process that is missing among the live ones may have been started since those were counted: its claim is young."""
RETURN = timedelta(seconds=8)
"""After Postgres has started, how long the holders of runs have to lengthen leases that ran out while it was away."""
LOST = "lost"
LOST_MESSAGE = "Its worker stopped while it ran: killed, out of memory, past its time, or cut off from the database."


@dataclass(frozen=True)
class Held:
    """A run that a worker holds: the process it runs in, and whether that is to be asked or made to stop."""

    run_id: UUID
    pid: int
    stop: bool
    kill: bool


def tend(*, worker: str, pids: Sequence[int]) -> list[Held]:
    """Lengthen the leases of what ``worker`` runs in its live processes ``pids``, end the others'; what it holds.

    A run whose row is locked is inside a fenced transaction of its own: nobody can take it, so it is passed over.
    """
    rows = execute(
        """
        WITH held AS (
            SELECT id FROM job_runs WHERE worker = %(worker)s AND state = 'running' FOR NO KEY UPDATE SKIP LOCKED
        ), renewed AS (
            UPDATE job_runs r
               SET lease_until = CASE WHEN r.worker_pid = ANY(%(pids)s) THEN now() + %(lease)s
                                      WHEN r.lease_until < now() + %(lease)s - %(newborn)s THEN now()
                                      ELSE r.lease_until END
              FROM held WHERE r.id = held.id
        )
        SELECT id AS run_id, worker_pid AS pid, now() >= least(cancel_requested_at, stop_at) AS stop,
               now() >= least(cancel_requested_at, stop_at) + %(grace)s AS kill
          FROM job_runs
         WHERE worker = %(worker)s AND state = 'running' AND worker_pid = ANY(%(pids)s)
        """,
        {"worker": worker, "pids": list(pids), "lease": LEASE, "grace": STOP_GRACE, "newborn": NEWBORN},
    )
    return [Held(**row) for row in rows]


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
           worker = '', worker_pid = NULL, lease_until = NULL, stop_at = NULL, rung_at = NULL,
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
    return execute(
        _TAKE_BACK.replace(
            "{which}",
            "lease_until <= now() AND (lease_until > pg_postmaster_start_time() + interval '1 second'"
            " OR pg_postmaster_start_time() < now() - %(return)s)",
        ),
        {
            "return": RETURN,
            "burn": True,
            "outcome": Outcome.LOST.value,
            "error_type": LOST,
            "error_message": LOST_MESSAGE,
        },
    )


def release(*, worker: str) -> list[Row]:
    """Give back all that a worker which is shutting down holds; it costs the runs no attempt."""
    return execute(
        _TAKE_BACK.replace("{which}", "worker = %(worker)s"),
        {
            "burn": False,
            "outcome": Outcome.RELEASED.value,
            "error_type": "",
            "error_message": "",
            "worker": worker,
        },
    )


def holds_runs(*, worker: str) -> bool:
    """Whether any run is still ``worker``'s."""
    return bool(
        execute("SELECT 1 FROM job_runs WHERE worker = %(worker)s AND state = 'running' LIMIT 1", {"worker": worker})
    )


def admit(client_id: UUID, queue: str) -> list[Ring]:
    """Put as many of a client's waiting runs on the bell as its share of the queue has room for.

    Must run in a transaction: a lock on (client, queue) makes counting and admitting one step, so that the number
    of runs that are running or about to never exceeds the queue's ``client_concurrency``.
    """
    execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))",
        {"key": f"job-admit:{client_id}:{queue}"},
    )
    rows = execute(
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
    rows = execute(
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
    rows = execute(
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
    rows = execute(
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


def mend_joins() -> list[Row]:
    """Correct the count of parents that wait for another number of children than live; ``ready`` when none does.

    A parent with none left keeps one pending, for `child_ended` to take.
    """
    return execute(
        """
        WITH waiting AS (
            SELECT id FROM job_runs WHERE state = 'snoozed' AND children_pending > 0 FOR NO KEY UPDATE SKIP LOCKED
        ), counted AS (
            SELECT w.id, (SELECT count(*) FROM job_runs c WHERE c.parent_id = w.id
                             AND c.state IN ('queued', 'running', 'retrying', 'snoozed')) AS live
              FROM waiting w
        )
        UPDATE job_runs r SET children_pending = greatest(counted.live, 1)
          FROM counted
         WHERE r.id = counted.id AND r.children_pending <> counted.live
     RETURNING r.id, counted.live = 0 AS ready
        """,
        {},
    )


def prune(*, ended_before: datetime, limit: int) -> int:
    """Delete runs that ended before then, with those that they started and all attempts; how many."""
    # Attempts are found by a list of runs: joined, a plan made while the tables were empty reads all of them.
    rows = execute(
        """
        WITH RECURSIVE old AS (
            SELECT id FROM job_runs r
             WHERE finished_at < %(before)s AND parent_id IS NULL
               AND NOT EXISTS (SELECT FROM job_runs c WHERE c.parent_id = r.id AND c.finished_at IS NULL)
             ORDER BY finished_at LIMIT %(limit)s
        ), family AS (
            SELECT id FROM old UNION SELECT c.id FROM job_runs c JOIN family f ON c.parent_id = f.id
        ), attempts AS (
            DELETE FROM job_attempts WHERE run_id = ANY (ARRAY(SELECT id FROM family))
        )
        DELETE FROM job_runs r USING family f WHERE r.id = f.id RETURNING r.id
        """,
        {"before": ended_before, "limit": limit},
    )
    return len(rows)
