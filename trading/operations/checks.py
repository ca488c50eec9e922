"""Checks at every start: versions and settings that are known to lose or repeat work are refused."""

from datetime import timedelta
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection

from trading.brokers.hosts import check_setting
from trading.jobs.ledger import LEASE

SAFE_VERSIONS = {"celery": "5.6.3", "kombu": "5.7.0"}
DECISION = "docs/decisions/0003-early-acknowledgement.md says why, and how to change it."


@register(Tags.compatibility)
def check_celery_versions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Only versions that have been through the drill: Celery 5.7.0 hangs when Redis restarts."""
    return [
        Error(
            f"{name} {found} is installed; only {safe} is known to survive a restart of Redis.",
            hint=f"Install requirements/production.txt. {DECISION}",
            id=f"quantum.E00{number}",
        )
        for number, (name, safe) in enumerate(SAFE_VERSIONS.items(), 1)
        if (found := version(name)) != safe
    ]


@register(Tags.compatibility)
def check_celery_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The ledger redelivers; a broker that does so too runs a job twice."""
    unsafe = {
        "CELERY_TASK_ACKS_LATE": (settings.CELERY_TASK_ACKS_LATE is False, "must be False"),
        "CELERY_WORKER_PREFETCH_MULTIPLIER": (settings.CELERY_WORKER_PREFETCH_MULTIPLIER == 1, "must be 1"),
        "CELERY_ACCEPT_CONTENT": (
            list(settings.CELERY_ACCEPT_CONTENT) == ["json"],
            "must be ['json']: pickle runs code",
        ),
        "CELERY_TASK_SERIALIZER": (settings.CELERY_TASK_SERIALIZER == "json", "must be 'json'"),
        "CELERY_TASK_IGNORE_RESULT": (settings.CELERY_TASK_IGNORE_RESULT is True, "must be True: results live in runs"),
        "CELERY_RESULT_BACKEND": (not getattr(settings, "CELERY_RESULT_BACKEND", None), "must not be set"),
    }
    return [
        Error(f"{name} {rule}.", hint=DECISION, id="quantum.E003") for name, (good, rule) in unsafe.items() if not good
    ]


@register(Tags.security)
def check_broker_hosts(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An entry that cannot be read lists no host, so that the broker behind it would be refused."""
    return [
        Error(
            f"QT_BROKER_HOSTS has an entry that cannot be read: {problem}.",
            hint="docs/broker-hosts.md shows the forms.",
            id="quantum.E005",
        )
        for problem in check_setting(settings.QT_BROKER_HOSTS)
    ]


def require() -> None:
    """End a process of Celery's, which runs no checks of Django's, where one of these finds something."""
    found = [*check_celery_versions(None), *check_celery_settings(None)]
    if found:
        raise SystemExit("\n".join(f"{message.msg} {message.hint}" for message in found))


@register(Tags.database)
def check_idle_transactions(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """A stopped process must lose its transaction before its lease, or it would hold a run past its rescue."""
    if not databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)")
        allowed = timedelta(seconds=float(cursor.fetchone()[0]))
    if timedelta(0) < allowed < LEASE:
        return []
    return [
        Error(
            f"idle_in_transaction_session_timeout is {allowed}; it must be shorter than a lease of {LEASE}.",
            hint="config/settings/base.py sets it; DATABASE_URL must not override its options.",
            id="quantum.E004",
        )
    ]
