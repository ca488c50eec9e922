"""Work a sweep out: measure what a point costs, hand parts of that measure to whoever is free, judge the whole."""

import json
import time
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings

from trading.backtests import candles, services, trials
from trading.backtests.models import Chunk, Kind, Run
from trading.backtests.parsing import InvalidConfig
from trading.backtests.sweeps import work as sweep_work
from trading.backtests.sweeps.config import SweepConfig, parse
from trading.backtests.sweeps.simulation import GROUP
from trading.backtests.sweeps.work import SweepWork, cut, is_kept, keep, shown, together
from trading.backtests.work import Work
from trading.jobs.context import StepContext
from trading.jobs.outcomes import FanOut, PermanentError
from trading.jobs.registry import Arguments, Job, Step

PART = "sweep-part"


class SweepArguments(Arguments):
    """``run_id``: the submitted sweep."""

    run_id: UUID


class PartArguments(SweepArguments):
    """``start``, ``stop``: the places of the part's first point and of the one after its last."""

    start: int
    stop: int


def load(ctx: StepContext, args: SweepArguments) -> dict[str, Any]:
    """Read the candles, once: what comes later does not change this sweep."""
    run = _run(ctx, args)
    try:
        work = _work(ctx, run)
        what = services.identity(work.config, work.series)
        with ctx.transaction():
            Chunk.objects.filter(run_id=run.id).delete()  # of a time before, cut otherwise
            services.settle_identity(run, what)
    except (LookupError, ValueError, services.Superseded) as error:
        raise PermanentError(str(error)) from error
    return {"points": len(work.points), "refused": work.points.refused, "data_hash": what.data_hash}


def measure(ctx: StepContext, args: SweepArguments) -> FanOut | None:
    """Work the first two groups of points out, the second by the clock, and cut the others by what that took."""
    run = _run(ctx, args)
    work = _same(ctx, run)
    count = len(work.points)
    _make(ctx, run, work, (0, min(GROUP, count)))  # it may have to wait for machine code to be loaded
    if count <= GROUP:
        return None
    second = (GROUP, min(2 * GROUP, count))
    began = time.perf_counter()
    _make(ctx, run, work, second)
    seconds = (time.perf_counter() - began) / (second[1] - second[0])
    parts = cut(second[1], count, seconds)
    return FanOut(
        PART,
        [{"run_id": str(run.id), "start": start, "stop": stop} for start, stop in parts],
        {"seconds_per_point": seconds, "parts": len(parts)},
    )


def judge(ctx: StepContext, args: SweepArguments) -> dict[str, Any]:
    """Put the parts together, find the best and say what it is worth; write the artifacts into their place."""
    run = _run(ctx, args)
    store = services.store()
    if not run.manifest_hash:
        ctx.children()
        work = _same(ctx, run)
        try:
            figures = together(run, len(work.points))
            judgement = work.judged(figures)
            artifacts = work.artifacts(judgement)
        except (LookupError, ValueError, sweep_work.Incomplete) as error:
            raise PermanentError(str(error)) from error
        staged = store.stage(run.id, ctx.claim.fence, artifacts)
        with ctx.transaction():  # the trials were counted part by part
            services.finish(run, artifacts, judgement.summary, tried=(), staged=staged, into=store)
            Chunk.objects.filter(run_id=run.id).delete()
    store.forget(run.id)
    services.prune(run.client_id, keep=settings.QT_BACKTEST_RUNS_KEPT, kinds=[Kind.SWEEP])
    return {"sweep_hash": run.run_hash, "manifest_hash": run.manifest_hash, **shown(run.metrics or {})}


def simulate(ctx: StepContext, args: PartArguments) -> dict[str, Any]:
    """Work one part out."""
    run = _run(ctx, args)
    part = (args.start, args.stop)
    if not is_kept(run, part):
        _make(ctx, run, _same(ctx, run), part)
    return {"points": args.stop - args.start}


def _run(ctx: StepContext, args: SweepArguments) -> Run:
    run = Run.objects.filter(id=args.run_id, client_id=ctx.client_id, kind=Kind.SWEEP).first()
    if run is None:
        raise PermanentError("The sweep is gone: newer ones took its place. Submit its configuration again.")
    return run


def _work(ctx: StepContext, run: Run) -> SweepWork:
    """Raises `InvalidConfig` when this version of the code does not take the configuration any more."""
    config = _parsed(json.dumps(run.config))
    kept = Work(config.config, lambda: candles.stored(config.config), services.store().scratch(run.id))
    return SweepWork(config, lambda: kept.series, ctx.progress)


@lru_cache(maxsize=1)
def _parsed(config: str) -> SweepConfig:
    """A process works at one part of a sweep after the other, and its points take longer to find than a part."""
    return parse(json.loads(config))


def _same(ctx: StepContext, run: Run) -> SweepWork:
    """Raises `PermanentError` when it is not what the sweep began with: parts of two kinds make no whole."""
    try:
        work = _work(ctx, run)
        what = services.identity(work.config, work.series)
    except (InvalidConfig, LookupError, ValueError) as error:
        raise PermanentError(str(error)) from error
    if what != services.identity_of(run):
        raise PermanentError(
            "The candles or the code were changed while it was worked out. Submit its configuration again."
        )
    return work


def _make(ctx: StepContext, run: Run, work: SweepWork, part: tuple[int, int]) -> None:
    try:
        figures = work.simulated(part)
    except (LookupError, ValueError) as error:
        raise PermanentError(str(error)) from error
    tried = work.tried(figures, part[0])
    with ctx.transaction():
        keep(run, part, figures)
        trials.record(run.client_id, tried)


JOB = Job(
    slug=services.JOBS[Kind.SWEEP],
    title="Work out a sweep",
    steps=(Step(load), Step(measure), Step(judge, effects=True)),
    arguments=SweepArguments,
    per_client=True,
    client_startable=True,
    timeout=timedelta(minutes=30),
)
PART_JOB = Job(
    slug=PART,
    title="Work out a part of a sweep",
    steps=(Step(simulate),),
    arguments=PartArguments,
    queue="bulk",
    per_client=True,
    client_startable=True,
    timeout=timedelta(minutes=30),
)
