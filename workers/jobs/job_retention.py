"""Delete runs that ended long ago, a few thousand at a time, and what else has had its day."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session

from trading.core.idempotency import KEPT
from trading.core.models import IdempotencyKey
from trading.jobs import services
from trading.jobs.context import StepContext
from trading.jobs.models import TaskSignature
from trading.jobs.registry import Arguments, Cadence, Job, Step
from trading.tenants import login, sessions

BATCH = 2_000


class RetentionArguments(Arguments):
    """``days``: how long ended runs are kept; the setting when not given."""

    days: int | None = None


def prune(ctx: StepContext, args: RetentionArguments) -> dict[str, Any]:
    """Delete batch by batch, so that no lock is held for long and a stop loses nothing."""
    days = settings.QT_JOB_RETENTION_DAYS if args.days is None else args.days
    before = ctx.now - timedelta(days=days)
    deleted = 0
    while True:
        with ctx.transaction():
            batch = services.prune(ended_before=before, limit=BATCH)
        deleted += batch
        ctx.progress(deleted, deleted, f"{deleted} deleted")
        if batch == 0:
            return {"deleted": deleted, "ended_before": before.isoformat()}


def forget(ctx: StepContext, args: RetentionArguments) -> dict[str, Any]:
    """Delete spent signatures, idempotency keys, logins and sessions that no request can bring again."""
    with ctx.transaction():
        logins = sessions.forget(now=ctx.now) + login.forget()
        pages, _ = Session.objects.filter(expire_date__lt=ctx.now).delete()
        signatures, _ = TaskSignature.objects.filter(taken_at__lt=ctx.now - timedelta(hours=1)).delete()
        keys, _ = IdempotencyKey.objects.filter(created_at__lt=ctx.now - KEPT).delete()
    return {"signatures": signatures, "idempotency_keys": keys, "logins": logins, "sessions": pages}


JOB = Job(
    slug="job-retention",
    title="Prune old runs",
    steps=(Step(prune), Step(forget)),
    arguments=RetentionArguments,
    queue="bulk",
    unique=lambda args, client_id: "fleet",
    timeout=timedelta(minutes=30),
    cadence=Cadence(cron="20 3 * * *"),
)
