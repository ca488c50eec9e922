"""Put back what dead workers held and send what the broker lost: the sweep behind what keepers do all the time."""

from datetime import timedelta
from typing import Any

from trading.jobs import services
from trading.jobs.context import StepContext
from trading.jobs.registry import Cadence, Job, NoArguments, Step


def put_back(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Runs whose lease has ended go back to their queue, or are discarded when out of attempts."""
    rescued = services.rescue()
    return {"rescued": [str(run_id) for run_id in rescued]}


def mend_joins(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Parents that wait for a number of runs that is not the number still going are set right."""
    return {"mended": [str(run_id) for run_id in services.mend_joins()]}


def ring(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Due runs that nobody was told of are put on the bell."""
    return {"rung": services.admit_due()}


JOB = Job(
    slug="job-rescue",
    title="Put back lost runs",
    steps=(Step(put_back), Step(mend_joins), Step(ring)),
    arguments=NoArguments,
    queue="critical",
    unique=lambda args, client_id: "fleet",
    timeout=timedelta(minutes=1),
    cadence=Cadence(seconds=120),
)
