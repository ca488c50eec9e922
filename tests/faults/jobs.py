"""The jobs of the fault drills, loaded into the workers by ``QT_JOB_MODULES``.

Each effect is a row with a unique key, written in the step's fenced transaction; beside it goes a row without one,
which shows every write that happened and whether its attempt held the run at that moment.
"""

import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from django.db import OperationalError, connection

from tests.faults import faulty, venue
from trading.jobs.context import StepContext
from trading.jobs.outcomes import FanOut, PermanentError, RetryLater, Snooze
from trading.jobs.registry import Arguments, Cadence, Job, NoArguments, Step

VENUE = os.environ.get("DRILL_VENUE", "")
TABLES = """
CREATE TABLE IF NOT EXISTS drill_effects (
    run_id uuid NOT NULL, step text NOT NULL, fence integer NOT NULL, PRIMARY KEY (run_id, step));
CREATE TABLE IF NOT EXISTS drill_writes (
    id bigserial PRIMARY KEY, run_id uuid NOT NULL, step text NOT NULL, fence integer NOT NULL,
    held integer NOT NULL, state text NOT NULL, new boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT INSERT ON drill_effects, drill_writes TO quantum_app;
"""

faulty.apply(os.environ.get("DRILL_FAULTS", ""))


class Pace(Arguments):
    """How long a step takes before its effect, in milliseconds, and what else it is told."""

    ms: int = 0
    n: int = 0


def _write(ctx: StepContext, step: str) -> None:
    """The effect of a step. Must run in the step's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO drill_effects (run_id, step, fence) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [ctx.run_id, step, ctx.claim.fence],
        )
        cursor.execute(
            "INSERT INTO drill_writes (run_id, step, fence, held, state, new)"
            " SELECT id, %s, %s, fence, state, %s FROM job_runs WHERE id = %s",
            [step, ctx.claim.fence, cursor.rowcount == 1, ctx.run_id],
        )


def _work(ctx: StepContext, args: Pace, step: str) -> dict[str, Any]:
    time.sleep(args.ms / 1000)
    for left in (2, 1, 0):
        try:
            with ctx.transaction():
                _write(ctx, step)
            break
        except OperationalError:  # a step may well try again: whether it still holds its run is asked anew
            connection.close()
            if not left:
                raise
            time.sleep(0.3)
    return {"n": args.n}


def order_id(run_id: UUID, step: str) -> str:
    """A client order id: the same however often the step is tried."""
    return str(uuid5(run_id, step))


def _order(ctx: StepContext, step: str) -> dict[str, Any]:
    try:
        venue.submit(VENUE, order_id(ctx.run_id, step))
    except venue.AnswerLost as error:
        raise RetryLater(str(error), delay=timedelta(milliseconds=200)) from error
    with ctx.transaction():
        _write(ctx, step)
    return {"order_id": order_id(ctx.run_id, step)}


def effect(ctx: StepContext, args: Pace) -> dict[str, Any]:
    return _work(ctx, args, "effect")


def order(ctx: StepContext, args: Pace) -> dict[str, Any]:
    time.sleep(args.ms / 1000)
    return _order(ctx, "order")


def reserve(ctx: StepContext, args: Pace) -> dict[str, Any]:
    return _work(ctx, args, "reserve")


def settle(ctx: StepContext, args: Pace) -> dict[str, Any]:
    if ctx.returned["order"]["order_id"] != order_id(ctx.run_id, "order"):
        raise PermanentError("the chain has lost what its order returned")
    return _work(ctx, args, "settle")


def split(ctx: StepContext, args: Pace) -> FanOut:
    return FanOut("drill-leaf", [{"n": n, "ms": args.ms} for n in range(args.n)])


def join(ctx: StepContext, args: Pace) -> dict[str, Any]:
    total = sum(child.result["n"] for child in ctx.children())
    with ctx.transaction():
        _write(ctx, "join")
    return {"sum": total}


def refuse(ctx: StepContext, args: Pace) -> None:
    raise PermanentError("this one is to fail")


def flaky(ctx: StepContext, args: Pace) -> dict[str, Any]:
    if ctx.claim.attempt <= args.n:
        raise ValueError(f"attempt {ctx.claim.attempt} is to fail")
    return _work(ctx, args, "flaky")


def nap(ctx: StepContext, args: Pace) -> dict[str, Any] | Snooze:
    if ctx.claim.fence == 1:
        return Snooze(timedelta(seconds=1), "a moment")
    return _work(ctx, args, "nap")


def poison(ctx: StepContext, args: Pace) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def patient(ctx: StepContext, args: Pace) -> dict[str, Any]:
    """Takes its time in small pieces: cancel stops it between two."""
    until = time.monotonic() + args.ms / 1000
    while time.monotonic() < until:
        time.sleep(0.1)
    return _work(ctx, Pace(n=args.n), "patient")


def think(ctx: StepContext, args: Pace) -> dict[str, Any]:
    """Writes first, then takes its time without the database."""
    with ctx.transaction():
        _write(ctx, "think")
    time.sleep(args.ms / 1000)
    return {"n": args.n}


def stubborn(ctx: StepContext, args: Pace) -> dict[str, Any]:
    """Ignores whatever asks it to stop."""
    until = time.monotonic() + args.ms / 1000
    while time.monotonic() < until:
        with suppress(BaseException):  # what a badly written step does
            time.sleep(0.1)
    return {}


def hold(ctx: StepContext, args: Pace) -> dict[str, Any]:
    """Sits in one statement of its fenced transaction, its run's row locked."""
    with ctx.transaction():
        _write(ctx, "hold")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [args.ms / 1000])
    return {}


def tick(ctx: StepContext, args: NoArguments) -> None:
    with ctx.transaction():
        _write(ctx, "tick")


MANY = 12
"""Attempts for jobs that are to succeed in spite of all: no fault hits the same run so often."""
QUICK = timedelta(milliseconds=200)

EFFECT = Job("drill-effect", "One effect", (Step(effect),), Pace, max_attempts=MANY)
BULK = Job("drill-bulk", "One effect, not urgent", (Step(effect),), Pace, queue="bulk", max_attempts=MANY)
ORDER = Job("drill-order", "One order", (Step(order, effects=True),), Pace, queue="critical", max_attempts=MANY)
CHAIN = Job(
    "drill-chain",
    "Effect, order, effect",
    (Step(reserve), Step(order, effects=True), Step(settle)),
    Pace,
    max_attempts=MANY,
)
CLIENT = Job("drill-client", "For a client", (Step(effect),), Pace, per_client=True, max_attempts=MANY)
FAN = Job("drill-fan", "Fans out and joins", (Step(split), Step(join)), Pace, max_attempts=MANY)
LEAF = Job("drill-leaf", "One of a fan-out", (Step(effect),), Pace, queue="bulk", max_attempts=MANY)
REFUSED = Job("drill-refused", "Fails", (Step(refuse),), Pace, max_attempts=MANY)
FLAKY = Job("drill-flaky", "Fails at first", (Step(flaky),), Pace, max_attempts=MANY, backoff=QUICK)
NAP = Job("drill-nap", "Snoozes once", (Step(nap),), Pace, max_attempts=MANY)
POISON = Job("drill-poison", "Kills its process", (Step(poison),), Pace, max_attempts=2)
PATIENT = Job("drill-patient", "Can be stopped", (Step(patient),), Pace, max_attempts=MANY)
THINK = Job("drill-think", "Writes, then waits", (Step(think),), Pace, max_attempts=MANY)
STUBBORN = Job("drill-stubborn", "Cannot be stopped", (Step(stubborn),), Pace, max_attempts=MANY)
HOLD = Job("drill-hold", "A long statement", (Step(hold),), Pace, max_attempts=MANY)
LATE = Job(
    "drill-late",
    "Longer than it may take",
    (Step(patient),),
    Pace,
    max_attempts=1,
    timeout=timedelta(seconds=2),
)
TICK = Job("drill-tick", "Every two seconds", (Step(tick),), NoArguments, cadence=Cadence(seconds=2), max_attempts=MANY)
