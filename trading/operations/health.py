"""Is it alive, is it ready, what does the scheduler do: answers without secrets, host names or addresses."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django_celery_beat.models import PeriodicTask

from trading.brokers import registry as brokers
from trading.core.scope import platform_scope
from trading.execution.selectors import gross_exposure
from trading.jobs import processes, schedule
from trading.jobs.models import JobRun
from trading.jobs.states import State

log = structlog.get_logger("quantum.health")

RECENT_ERRORS = 5


@platform_scope()
def scheduler() -> dict[str, Any]:
    """Whether a beat is alive, and when something is due next."""
    running = processes.alive("beat").exists()
    now = datetime.now(UTC)
    due = [moment for entry in _entries() if (moment := schedule.next_run(entry, now)) is not None]
    wanted = not settings.QUANTUM_TRADER_DISABLE_SCHEDULER
    return {
        "status": "ok" if running or not wanted else "degraded",
        "running": running and wanted,
        "next_run_time": min(due) if due and running else None,
    }


@platform_scope()
def scheduler_status() -> dict[str, Any]:
    """What the scheduler has, does and failed at."""
    now = datetime.now(UTC)
    failed = JobRun.objects.filter(state__in=(State.FAILED, State.DISCARDED)).order_by("-id")[:RECENT_ERRORS]
    errors = [{"job": run.job, "run_id": str(run.id), "at": run.finished_at, "type": run.error_type} for run in failed]
    return {
        **scheduler(),
        "jobs": [
            {
                "name": entry.name,
                "job": entry.task,
                "enabled": entry.enabled,
                "last_run_at": entry.last_run_at,
                "next_run_time": schedule.next_run(entry, now),
            }
            for entry in _entries()
        ],
        "errors": errors,
        "symbols": settings.QUANTUM_TRADER_SYMBOLS,
        "liquidity": {"analytics": None},
        "execution": {"gross_exposure": f"{gross_exposure():.2f}"},
    }


def _entries() -> list[PeriodicTask]:
    return list(PeriodicTask.objects.select_related("interval", "crontab").order_by("name"))


@platform_scope()
def readiness() -> tuple[bool, dict[str, str]]:
    """Whether each thing that work needs can be reached; each answer comes within a few seconds."""
    checks: dict[str, Callable[[], str]] = {
        "database": _database,
        "redis": _redis,
        "worker": _worker,
        "broker": _broker,
    }
    found: dict[str, str] = {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except (DatabaseError, redis.RedisError, OSError) as error:
            log.warning("health.unreachable", what=name, error=str(error))
            found[name] = "unreachable"
    return all(answer == "ok" for answer in found.values()), found


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _redis() -> str:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()
    return "ok"


def _worker() -> str:
    return "ok" if processes.alive("worker").exists() else "no worker has been heard of lately"


def _broker() -> str:
    return "ok" if settings.QT_EXECUTION_EXCHANGE in brokers.names() else "QT_EXECUTION_EXCHANGE names no adapter"
