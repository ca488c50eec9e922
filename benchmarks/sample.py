"""What the benchmark's workers run: a job with one step that does nothing, and a bare Celery task that does nothing."""

from trading.jobs.context import StepContext
from trading.jobs.registry import Job, NoArguments, Step
from workers.celery import app


def nothing(ctx: StepContext, args: NoArguments) -> None:
    """Do nothing."""


BULK = Job(slug="bench-bulk", title="Nothing, in bulk", steps=(Step(nothing),), arguments=NoArguments, queue="bulk")
DEFAULT = Job(slug="bench-default", title="Nothing", steps=(Step(nothing),), arguments=NoArguments)


@app.task(name="bench-bare", ignore_result=True)
def bare(run_id: str) -> None:
    """Do nothing, as a message of the same size."""
