"""Work one submitted run out: from its candles to its artifacts."""

from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from trading.backtests import candles, services, trials
from trading.backtests.manifest import Identity
from trading.backtests.models import Kind, Run
from trading.backtests.parsing import InvalidConfig, parse
from trading.backtests.work import Work
from trading.jobs.context import StepContext
from trading.jobs.outcomes import PermanentError
from trading.jobs.registry import Arguments, Job, Step

SHOWN = ("final_equity", "total_return", "sharpe", "max_drawdown", "trades")
"""Figures that the job's record shows; the others are in the artifacts."""


MOST_AT_HAND = 100_000
"""Bars of a run that a process keeps in memory for the run's next step."""
_at_hand: dict[tuple[UUID, Identity], Work] = {}  # of one run, by it and by what it is worked out from


class BacktestArguments(Arguments):
    """``run_id``: the submitted run."""

    run_id: UUID


def load(ctx: StepContext, args: BacktestArguments) -> dict[str, Any]:
    """Read the candles, once: what comes later does not change this run."""
    run = _run(ctx, args)
    work = _work(ctx, args, run)
    try:
        what = services.identity(work.config, work.series)
        if what != services.identity_of(run):
            with ctx.transaction():
                services.settle_identity(run, what)
    except (LookupError, ValueError, services.Superseded) as error:
        raise PermanentError(str(error)) from error
    bars = sum(len(series.time) for series in work.series)
    if bars <= MOST_AT_HAND:
        _at_hand[run.id, what] = work
    return {"bars": bars, **asdict(what)}


def features(ctx: StepContext, args: BacktestArguments) -> dict[str, Any]:
    """Compute the indicators that the configuration names."""
    made = _tried(lambda: _work(ctx, args).features)
    return {"columns": [feature.name for feature in made]}


def simulate(ctx: StepContext, args: BacktestArguments) -> dict[str, Any]:
    """Trade the strategy over the bars."""
    result = _tried(lambda: _work(ctx, args).result)
    return {"fills": len(result.fills), "trades": len(result.trades)}


def validate(ctx: StepContext, args: BacktestArguments) -> dict[str, Any]:
    """Make the tests that the result has to stand."""
    judged = _tried(lambda: _work(ctx, args).judged)
    return {"tests": sorted(judged.summary)}


def write(ctx: StepContext, args: BacktestArguments) -> dict[str, Any]:
    """Write the artifacts, put them in their place with their manifest, and let the oldest run go."""
    run = _run(ctx, args)
    store = services.store()
    if not run.manifest_hash:
        work = _work(ctx, args, run)
        artifacts, metrics = _tried(lambda: (work.artifacts(), work.metrics))
        staged = store.stage(run.id, ctx.claim.fence, artifacts)
        with ctx.transaction():
            tried = [(work.config, trials.sharpe_per_bar(metrics))]
            services.finish(run, artifacts, metrics, tried=tried, staged=staged, into=store)
    _at_hand.clear()
    store.forget(run.id)
    services.prune(run.client_id, keep=settings.QT_BACKTEST_RUNS_KEPT, kinds=[Kind.RUN])
    shown = {name: (run.metrics or {})[name] for name in SHOWN}
    return {"run_hash": run.run_hash, "manifest_hash": run.manifest_hash, **shown}


def _run(ctx: StepContext, args: BacktestArguments) -> Run:
    statement = "SELECT * FROM backtest_runs WHERE id = %s AND client_id = %s"  # Django takes as long to make this one
    run = next(iter(Run.objects.raw(statement, [args.run_id, ctx.client_id])), None)
    if run is None:
        raise PermanentError("The run is gone: newer ones took its place. Submit its configuration again.")
    return run


def _work(ctx: StepContext, args: BacktestArguments, run: Run | None = None) -> Work:
    """The run's parts: as this process still holds them from an earlier step, else from the run's folder.

    What it is worked out from was settled by the first step, in whichever process, and that step's answer says it.
    """
    said = ctx.returned.get("load")
    settled = None if said is None else Identity(*(said.get(field.name, "") for field in fields(Identity)))
    held = None if settled is None else _at_hand.get((args.run_id, settled))
    try:
        config = parse((run or _run(ctx, args)).config) if held is None else held.config
        code = services.code_identity(config)
    except (InvalidConfig, ValueError) as error:
        raise PermanentError(str(error)) from error
    if settled is not None and code != (settled.code_version, settled.lock_hash):
        raise PermanentError("The code was changed while it was worked out. Submit its configuration again.")
    _at_hand.clear()
    folder = services.store().scratch(args.run_id)
    if held is None or settled is None:
        return Work(config, lambda: candles.stored(config), folder, ctx.progress)
    _at_hand[args.run_id, settled] = work = held.told(ctx.progress)
    return work


def _tried(make: Any) -> Any:
    """What ``make`` makes; what the configuration or the candles do not allow will not be allowed by another try."""
    try:
        return make()
    except (LookupError, ValueError) as error:
        raise PermanentError(str(error)) from error


JOB = Job(
    slug=services.JOBS[Kind.RUN],
    title="Work out a backtest",
    steps=(Step(load), Step(features), Step(simulate), Step(validate), Step(write, effects=True)),
    arguments=BacktestArguments,
    per_client=True,
    client_startable=True,
    timeout=timedelta(minutes=30),
)
