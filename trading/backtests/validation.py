"""The tests that a result has to stand, made one after the other, with progress after each chunk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from trading.backtests import registry
from trading.backtests.config import Bootstrap, MonteCarlo, Permutation, RunConfig, WalkForward
from trading.backtests.parsing import strategies_folder
from trading.backtests.strategy import targets_of
from trading.quant import lookahead
from trading.quant.bars import Bars, last_known
from trading.quant.engine import Result
from trading.quant.kernels import Floats
from trading.quant.records import OPEN
from trading.quant.statistics import walkforward
from trading.quant.statistics.bootstrap import Bootstrap as StationaryBootstrap
from trading.quant.statistics.permutation import PermutationTest
from trading.quant.statistics.replication import Part, Replicated, evaluate
from trading.quant.statistics.trades import TradesMonteCarlo

Answer = TypeVar("Answer")
Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and of what; what it raises ends the validation."""


@dataclass(frozen=True)
class Judged:
    """What the tests said: ``summary`` as JSON holds it, ``draws`` by test and measure, shape (trials,)."""

    summary: dict[str, Any] = field(default_factory=dict)
    draws: Mapping[str, Floats] = field(default_factory=dict)


def validated(config: RunConfig, bars: Bars, result: Result, progress: Progress) -> Judged:
    """Make every test that ``config`` asks for; one that the data do not allow says why instead."""
    wanted = config.validation
    summary: dict[str, Any] = {}
    draws: dict[str, Floats] = {}
    if wanted.lookahead:
        progress(0, 1, "look-ahead check")
        summary["lookahead"] = checked_for_lookahead(config, bars)
    if wanted.permutation is not None:
        with_permutation = wanted.permutation
        summary["permutation"] = _tried(lambda: _permutation(config, with_permutation, result, progress, draws))
    if wanted.bootstrap is not None:
        with_bootstrap = wanted.bootstrap
        summary["bootstrap"] = _tried(lambda: _bootstrap(config, with_bootstrap, result, progress, draws))
    if wanted.monte_carlo is not None:
        with_monte_carlo = wanted.monte_carlo
        summary["monte_carlo"] = _tried(lambda: _monte_carlo(config, with_monte_carlo, result, progress, draws))
    if wanted.walk_forward is not None:
        with_walk_forward = wanted.walk_forward
        summary["walk_forward"] = _tried(lambda: _walk_forward(config, with_walk_forward, result))
    return Judged(summary, draws)


def _tried(test: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return test()
    except ValueError as error:  # too few bars or trades, nothing that varies: the test's own words
        return {"not_made": str(error)}


def checked_for_lookahead(config: RunConfig, bars: Bars) -> dict[str, Any]:
    """Whether the strategy says the same when the bars after are not there, and it has not been shown them before.

    ``history``: bars that it has to be given for its last answer not to depend on where the data begin, None when that
    was not reached; beside it ``warm_up``, the bars before its first answer.
    """
    name, params = config.strategy.name, config.strategy.params
    strategy = registry.find(name, strategies_folder()).strategy

    def anew() -> lookahead.Rule:
        found = registry.anew(name, strategies_folder()).strategy
        return lambda some: targets_of(name, found, some, params)

    warm_up = strategy.warm_up(strategy.parameters.model_validate(params))
    try:
        verdict = lookahead.check(anew(), bars, warm_up=warm_up, anew=anew)
    except ValueError as error:
        return {"not_made": str(error)}
    return {
        "honest": verdict.honest,
        "cuts": verdict.cuts,
        "history": verdict.history,
        "warm_up": warm_up,
        "leaks": [str(leak) for leak in verdict.leaks],
    }


def _permutation(
    config: RunConfig, wanted: Permutation, result: Result, progress: Progress, draws: dict[str, Floats]
) -> dict[str, Any]:
    """Positions against returns; a Sharpe ratio is annualised."""
    shares, returns = held(result)
    test = PermutationTest(shares, returns, wanted.statistic, wanted.trials, config.seed)
    answer = _evaluated(test, "permutation", progress)
    scale = _scale(config) if wanted.statistic == "sharpe" else 1.0
    draws["permutation"] = answer.null * scale
    return {
        "statistic": wanted.statistic,
        "trials": wanted.trials,
        "observed": finite(answer.observed * scale),
        "p_value": answer.p_value,
    }


def _bootstrap(
    config: RunConfig, wanted: Bootstrap, result: Result, progress: Progress, draws: dict[str, Floats]
) -> dict[str, Any]:
    """Intervals of the mean and the Sharpe ratio (basic) and of the final equity and the drawdown (percentile)."""
    test = StationaryBootstrap(result.returns, wanted.trials, config.seed, wanted.block_length)
    answer = _evaluated(test, "bootstrap", progress)
    summary: dict[str, Any] = {
        "trials": wanted.trials,
        "block_length": answer.block_length,
        "level": wanted.level,
    }
    scales = {"sharpe": _scale(config), "final_equity": config.initial_cash}
    for measure, estimate in answer.estimates.items():
        scale = scales.get(measure, 1.0)
        basic = measure in ("mean", "sharpe")
        interval = estimate.basic(wanted.level) if basic else estimate.percentile(wanted.level)
        draws[f"bootstrap_{measure}"] = estimate.draws * scale
        summary[measure] = {
            "observed": finite(estimate.observed * scale),
            "standard_error": finite(estimate.standard_error * scale),
            "low": finite(interval.low * scale),
            "high": finite(interval.high * scale),
        }
    return summary


def _monte_carlo(
    config: RunConfig, wanted: MonteCarlo, result: Result, progress: Progress, draws: dict[str, Floats]
) -> dict[str, Any]:
    """Final equity and drawdown of the closed trades in other orders, or of others drawn from them."""
    trades = result.trades[result.trades["reason"] != OPEN]
    before = result.equity[np.maximum(trades["entry_bar"] - 1, 0)]
    test = TradesMonteCarlo(trades["pnl"] / before, wanted.replacement, wanted.trials, config.seed)
    answer = _evaluated(test, "Monte Carlo of trades", progress)
    summary: dict[str, Any] = {
        "trials": wanted.trials,
        "replacement": wanted.replacement,
        "drawdown_rank": answer.drawdown_rank,
        "probability_of_loss": answer.probability_of_loss(),
    }
    estimates = (("final_equity", answer.final_equity, config.initial_cash), ("drawdown", answer.drawdown, 1.0))
    for measure, estimate, scale in estimates:
        interval = estimate.percentile()
        draws[f"monte_carlo_{measure}"] = estimate.draws * scale
        summary[measure] = {
            "observed": finite(estimate.observed * scale),
            "low": finite(interval.low * scale),
            "high": finite(interval.high * scale),
        }
    return summary


def _walk_forward(config: RunConfig, wanted: WalkForward, result: Result) -> dict[str, Any]:
    """The same parameters on each fold and on the bars before it; a Sharpe ratio is annualised."""
    returns = result.returns
    gap = wanted.purge + wanted.embargo
    test = (len(returns) - gap) // (wanted.folds + 1)
    train = len(returns) - gap - wanted.folds * test
    if test < 1:
        raise ValueError(f"{len(returns)} returns are too few for {wanted.folds} folds: take more bars or fewer folds")
    splits = list(
        walkforward.walk_forward(
            len(returns),
            train=train,
            test=test,
            anchored=wanted.anchored,
            purge=wanted.purge,
            embargo=wanted.embargo,
        )
    )
    found = walkforward.summarise(
        (returns[split.train.start : split.train.stop], returns[split.test.start : split.test.stop]) for split in splits
    )
    scale = _scale(config)
    times = result.time[1:].astype("datetime64[ns]").astype("datetime64[s]")
    folds = [
        {
            "from": f"{times[split.test.start]}Z",
            "to": f"{times[split.test.stop - 1]}Z",
            "in_sample_sharpe": finite(found.in_sample_sharpe[place] * scale),
            "out_of_sample_sharpe": finite(found.out_of_sample_sharpe[place] * scale),
            "out_of_sample_mean": finite(found.out_of_sample_mean[place]),
        }
        for place, split in enumerate(splits)
    ]
    return {
        "folds": folds,
        "efficiency": finite(found.efficiency),
        "profitable_share": found.profitable_share,
        "out_of_sample_sharpe": finite(found.out_of_sample.sharpe * scale),
    }


def held(result: Result) -> tuple[Floats, Floats]:
    """What was held over each bar after the first, as a share of equity, and what prices did; each (T - 1, S).

    The share is the one at the close before: what is bought within the bar counts from its close on.
    """
    close = last_known(result.close)
    equity = np.where(result.equity > 0.0, result.equity, np.inf)[:, None]
    shares = np.where(np.isnan(close), 0.0, result.positions * result.multiplier * np.nan_to_num(close) / equity)
    returns = np.nan_to_num(close[1:] / close[:-1] - 1.0)
    return np.ascontiguousarray(shares[:-1]), np.ascontiguousarray(returns)


def finite(value: float) -> float | None:
    """``value``, or None when JSON cannot hold it."""
    return float(value) if np.isfinite(value) else None


def _scale(config: RunConfig) -> float:
    """From a Sharpe ratio per bar to one per year."""
    return float((config.periods_per_year or 1.0) ** 0.5)


def _evaluated(test: Replicated[Answer], name: str, progress: Progress) -> Answer:
    def on_part(part: Part) -> None:
        progress(part.stop, part.total, f"{name}: {part.stop} of {part.total} draws")

    progress(0, test.replicates, name)
    return evaluate(test, on_part=on_part)
