"""Beat's scheduler: the schedule, enqueued straight into the ledger. Any number of beats may run."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from trading.core.version import code_version
from trading.jobs import processes, schedule
from trading.jobs.registry import UnknownJob
from trading.jobs.services import InvalidArguments
from workers.tasks import INSTANCE

log = structlog.get_logger("quantum.beat")

REPORT_SECONDS = 5.0
NAME = f"beat {INSTANCE}"


class LedgerScheduler(DatabaseScheduler):  # type: ignore[misc]  # untyped upstream
    """Enqueues a run where Celery's own would send a message: no broker is needed, and no slot runs twice."""

    producer = None  # the base class would wait for the broker here
    _reported = 0.0

    def setup_schedule(self) -> None:
        """Bring the entries up to what the jobs declare, and begin with those that a start asks for."""
        schedule.sync()
        if not settings.QUANTUM_TRADER_DISABLE_SCHEDULER:
            schedule.enqueue_at_start(datetime.now(UTC))

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Enqueue what is due; the seconds until the next look. With the database away, try again in a second."""
        try:
            if time.monotonic() - self._reported > REPORT_SECONDS:
                processes.report(NAME, kind="beat", code_version=code_version())
                self._reported = time.monotonic()
                if settings.QT_HEARTBEAT_FILE:
                    Path(settings.QT_HEARTBEAT_FILE).touch()
            if settings.QUANTUM_TRADER_DISABLE_SCHEDULER:
                return REPORT_SECONDS
            seconds: float = super().tick(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            log.warning("beat.database_away", error=str(error).strip())
            connection.close()
            return 1.0
        return min(seconds, REPORT_SECONDS)

    def reserve(self, entry: ModelEntry) -> ModelEntry:
        """Note that ``entry`` runs now, and what it was due for."""
        self._moment = schedule.slot(entry.schedule, last_run_at=entry.last_run_at, now=datetime.now(UTC))
        return super().reserve(entry)

    def apply_entry(self, entry: ModelEntry, producer: Any = None) -> None:
        """Enqueue, however long the database is away: this slot does not come again."""
        moment: datetime = self._moment
        while True:
            try:
                created = schedule.enqueue(entry.model, moment)
                log.info("beat.enqueued", entry=entry.name, slot=moment.isoformat(), runs=created)
                return
            except (UnknownJob, InvalidArguments, ValueError) as error:
                log.error("beat.entry_invalid", entry=entry.name, error=str(error))
                return
            except (OperationalError, InterfaceError) as error:
                log.warning("beat.database_away", entry=entry.name, error=str(error).strip())
                connection.close()
                time.sleep(1.0)

    def close(self) -> None:
        """Save when entries ran last, and take leave."""
        super().close()
        try:
            processes.leave(NAME)
        except (OperationalError, InterfaceError):
            return  # the database is away; the row goes stale and is swept
