"""Keep each client's newest backtests, and delete folders that no run knows."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from trading.backtests import services
from trading.backtests.models import Run
from trading.jobs.context import StepContext
from trading.jobs.registry import Cadence, Job, NoArguments, Step
from trading.tenants.models import Client

UNKNOWN_FOR = timedelta(days=1)
"""A folder may be some time older than the commit of its run."""


def prune(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Delete the runs past the newest of each client; their manifests stay in the chain."""
    clients = list(Client.objects.values_list("id", flat=True))
    deleted = 0
    for done, client_id in enumerate(clients):
        deleted += services.prune(client_id, keep=settings.QT_BACKTEST_RUNS_KEPT)
        ctx.progress(done + 1, len(clients), f"{deleted} runs deleted")
    return {"deleted": deleted}


def sweep(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Delete what crashed attempts left in the folder of artifacts."""
    kept = Run.objects.values_list("id", flat=True)
    return {"folders": services.store().sweep(kept=kept, before=ctx.now - UNKNOWN_FOR)}


JOB = Job(
    slug="backtest-retention",
    title="Prune old backtests",
    steps=(Step(prune, effects=True), Step(sweep, effects=True)),
    arguments=NoArguments,
    queue="bulk",
    unique=lambda args, client_id: "fleet",
    timeout=timedelta(minutes=30),
    cadence=Cadence(cron="40 3 * * *"),
)
