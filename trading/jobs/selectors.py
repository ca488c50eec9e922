"""What screens ask the ledger."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from trading.jobs.ledger import execute

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


def newest_id_before(moment: datetime) -> UUID:
    """The smallest id that a run created at ``moment`` or later can have: ids begin with their time of creation."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
