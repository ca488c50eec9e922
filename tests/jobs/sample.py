"""Small jobs for the tests of the ledger."""

from datetime import timedelta
from typing import Any

from trading.jobs.context import StepContext
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.outcomes import FanOut, PermanentError, RetryLater, Snooze, StepResult
from trading.jobs.registry import Arguments, Job, NoArguments, Step


class NumberArguments(Arguments):
    n: int = 0
    text: str = ""


FAIL_ONCE: set[str] = set()
"""Steps that raise the next time they run."""


def _maybe_fail(step: str) -> None:
    if step in FAIL_ONCE:
        FAIL_ONCE.discard(step)
        raise ValueError(f"{step} was told to fail")


def first(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    _maybe_fail("first")
    return {"n": args.n, "fence": ctx.claim.fence}


def second(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    _maybe_fail("second")
    return {"doubled": ctx.returned["first"]["n"] * 2, "first_fence": ctx.returned["first"]["fence"]}


def noop(ctx: StepContext, args: NumberArguments) -> None:
    return None


def count(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    for done in range(args.n + 1):
        ctx.progress(done, args.n, f"{done} counted")
    _maybe_fail("count")
    return {"written_at_once": JobRun.objects.get(id=ctx.run_id).progress_done}


def refuse(ctx: StepContext, args: NoArguments) -> None:
    raise PermanentError("cannot ever work")


def later(ctx: StepContext, args: NoArguments) -> None:
    raise RetryLater("the venue is closed", delay=timedelta(hours=3))


def nap(ctx: StepContext, args: NoArguments) -> Snooze:
    return Snooze(timedelta(minutes=5), "waiting for the open")


def unwritable(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    return {"value": float("nan")}


def split(ctx: StepContext, args: NumberArguments) -> StepResult:
    return FanOut("sample-child", [{"n": n} for n in range(args.n)], value={"children": args.n})


def join(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    return {"sum": sum(child.result["n"] for child in ctx.children())}


def join_leniently(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    return {"states": [str(child.state) for child in ctx.children(allow_failures=True)]}


def child(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    if args.n == 3 and "child" in FAIL_ONCE:
        FAIL_ONCE.discard("child")
        raise PermanentError("the third child was told to fail")
    return {"n": args.n}


def write_a_row(ctx: StepContext, args: NumberArguments) -> dict[str, Any]:
    with ctx.transaction():
        JobQueue.objects.update_or_create(name="critical", defaults={"paused_by": args.text})
    return {"wrote": args.text}


def reach_out(ctx: StepContext, args: NumberArguments) -> None:
    """Send something to the world."""
    raise AssertionError("a rehearsal must not run this step")


CHAIN = Job(
    slug="sample-chain", title="Two steps", steps=(Step(first), Step(second)), arguments=NumberArguments, max_attempts=3
)
ONE = Job(slug="sample-one", title="One step", steps=(Step(noop),), arguments=NumberArguments)
CLIENT = Job(
    slug="sample-client", title="For a client", steps=(Step(noop),), arguments=NumberArguments, per_client=True
)
UNIQUE = Job(
    slug="sample-unique",
    title="One at a time",
    steps=(Step(noop),),
    arguments=NumberArguments,
    unique=lambda args, client_id: f"n={args.n}",
)
COUNT = Job(slug="sample-count", title="Says how far it is", steps=(Step(count),), arguments=NumberArguments)
REFUSE = Job(slug="sample-refuse", title="Fails for good", steps=(Step(refuse),), arguments=NoArguments)
LATER = Job(slug="sample-later", title="Asks for more time", steps=(Step(later),), arguments=NoArguments)
NAP = Job(slug="sample-nap", title="Snoozes", steps=(Step(nap),), arguments=NoArguments)
UNWRITABLE = Job(slug="sample-unwritable", title="Returns NaN", steps=(Step(unwritable),), arguments=NoArguments)
FAN = Job(slug="sample-fan", title="Fans out", steps=(Step(split), Step(join)), arguments=NumberArguments)
LENIENT = Job(
    slug="sample-lenient", title="Fans out", steps=(Step(split), Step(join_leniently)), arguments=NumberArguments
)
CHILD = Job(slug="sample-child", title="A child", steps=(Step(child),), arguments=NumberArguments)
WRITER = Job(
    slug="sample-writer",
    title="Writes, then reaches out",
    steps=(Step(write_a_row), Step(reach_out, effects=True)),
    arguments=NumberArguments,
)
JOBS = [value for value in list(vars().values()) if isinstance(value, Job)]
