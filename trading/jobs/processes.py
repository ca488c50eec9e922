"""The workers and beats that are alive: each reports itself every few seconds."""

import os
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from trading.jobs.models import JobProcess

SILENT_AFTER = timedelta(seconds=30)
FORGOTTEN_AFTER = timedelta(minutes=10)


def report(
    name: str,
    *,
    kind: str,
    code_version: str,
    queues: Sequence[str] = (),
    concurrency: int = 1,
    running: int = 0,
) -> None:
    """Say that this process is alive; those silent for long are forgotten."""
    seen = {"running": running, "seen_at": Now()}
    JobProcess.objects.update_or_create(
        name=name,
        defaults=seen,
        create_defaults={
            **seen,
            "kind": kind,
            "pid": os.getpid(),
            "queues": list(queues),
            "concurrency": concurrency,
            "code_version": code_version,
            "started_at": Now(),
        },
    )
    JobProcess.objects.filter(seen_at__lt=Now() - FORGOTTEN_AFTER).delete()


def leave(name: str) -> None:
    """Say that this process ends."""
    JobProcess.objects.filter(name=name).delete()


def alive(kind: str) -> QuerySet[JobProcess]:
    """The processes of a kind that were heard of lately."""
    return JobProcess.objects.filter(kind=kind, seen_at__gte=Now() - SILENT_AFTER)
