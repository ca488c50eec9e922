"""The schedule: entries of django-celery-beat, edited in the admin, each of which enqueues a job once for each slot."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from celery import schedules
from django.conf import settings
from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from trading.jobs import services
from trading.jobs.registry import Cadence, Job, registry
from trading.jobs.states import Trigger
from trading.tenants.models import Client

log = structlog.get_logger("quantum.schedule")

DECLARED = "As declared in the code: "
"""Begins an entry's description, which keeps what was declared last: an operator's change stays until that changes."""


def sync() -> None:
    """Give every job that declares a cadence its entry; an entry whose declaration has not changed is left alone."""
    with transaction.atomic():
        for job in registry:
            entry = PeriodicTask.objects.filter(name=job.slug).first()
            declared = DECLARED + _words(job.cadence)
            if entry is None and job.cadence is None:
                continue
            if entry is not None and entry.description == declared:
                continue
            _declare(job, entry or PeriodicTask(name=job.slug), declared)


def _words(cadence: Cadence | None) -> str:
    if cadence is None or not (cadence.seconds or cadence.cron):
        return "off"
    return f"every {cadence.seconds} s" if cadence.seconds else f"{cadence.cron} ({cadence.timezone})"


def _declare(job: Job[Any], entry: PeriodicTask, declared: str) -> None:
    entry.task = job.slug
    entry.description = declared
    entry.enabled = declared != DECLARED + "off"
    cadence = job.cadence or Cadence()
    if cadence.cron:
        minute, hour, day_of_month, month_of_year, day_of_week = cadence.cron.split()
        entry.interval = None
        entry.crontab, _ = CrontabSchedule.objects.get_or_create(
            minute=minute,
            hour=hour,
            day_of_month=day_of_month,
            month_of_year=month_of_year,
            day_of_week=day_of_week,
            timezone=ZoneInfo(cadence.timezone),
        )
    else:
        entry.crontab = None
        entry.interval, _ = IntervalSchedule.objects.get_or_create(
            every=cadence.seconds or 86_400, period=IntervalSchedule.SECONDS
        )
    entry.save()


def slot(schedule: schedules.schedule, *, last_run_at: datetime, now: datetime) -> datetime:
    """The moment that a due ``schedule`` is due for: the same for every beat, whenever it looks.

    An interval's moments are the multiples of its length since 1970; a cron line's is the first one after the last run.
    """
    if isinstance(schedule, schedules.crontab):
        start, delta, _ = schedule.remaining_delta(_in_zone(schedule, last_run_at))
        due: datetime = start + delta
        return due.astimezone(UTC)
    if isinstance(schedule, schedules.schedule):
        length = max(int(schedule.run_every.total_seconds()), 1)  # type: ignore[attr-defined]  # lacking in the stubs
        return datetime.fromtimestamp(int(now.timestamp()) // length * length, UTC)
    return now.replace(microsecond=0, second=0)


def enqueue_at_start(now: datetime) -> int:
    """Enqueue what is wanted whenever a beat starts, unless an operator has switched it off; how many runs were new."""
    wanted = [job.slug for job in registry if job.cadence is not None and job.cadence.at_start]
    return sum(enqueue(entry, now) for entry in PeriodicTask.objects.filter(name__in=wanted, enabled=True))


def _in_zone(schedule: schedules.BaseSchedule, moment: datetime) -> datetime:
    """``moment`` where the schedule's cron line is read: Celery takes its hour and day as they come."""
    return moment.astimezone(getattr(schedule, "tz", UTC))


def enqueue(entry: PeriodicTask, moment: datetime) -> int:
    """Enqueue the job of ``entry`` for ``moment``, for each active client where it is per client; how many were new.

    Any number of beats may do so: the slot is unique. Raises `UnknownJob` or `InvalidArguments`.
    """
    job = registry.get(entry.task)
    arguments = json.loads(entry.kwargs or "{}")
    key = f"{entry.name[:200]}@{moment.isoformat()}"
    clients: list[UUID | None] = [None]
    if job.per_client:
        clients = [*Client.objects.filter(is_active=True).order_by("id").values_list("id", flat=True)]
    created = 0
    for client_id in clients:
        created += services.enqueue(
            job.slug,
            arguments,
            client_id=client_id,
            schedule_slot=key if client_id is None else f"{key}@{client_id}",
            trigger=Trigger.SCHEDULE,
            triggered_by=f"schedule {entry.name}",
        ).created
    return created


def next_run(entry: PeriodicTask, now: datetime) -> datetime | None:
    """When ``entry`` is due next (UTC); None when it is off."""
    if not entry.enabled or settings.QUANTUM_TRADER_DISABLE_SCHEDULER:
        return None
    last = entry.last_run_at or entry.date_changed or now
    remaining: timedelta = entry.schedule.remaining_estimate(_in_zone(entry.schedule, last))
    due = now + max(remaining, timedelta(0))
    return max(due, entry.start_time) if entry.start_time else due
