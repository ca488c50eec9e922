"""The platform's promotion rule put to strategies on noise, and to one that knows something.

Candles, runs, sweeps, sealed artifacts, counted trials and the verdict are the platform's own; only the queue is left
out. `make fuzz` runs the long form: 1,000 strategies in each test.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from trading.backtests import promotions, services, trials
from trading.backtests.candles import Series
from trading.backtests.config import RunConfig
from trading.backtests.models import Kind, Level, Promotion, Run, Trial
from trading.backtests.parsing import parse
from trading.backtests.sweeps.config import parse as parse_sweep
from trading.backtests.sweeps.work import SweepWork
from trading.backtests.work import Work
from trading.tenants.models import Client

pytestmark = [pytest.mark.django_db, pytest.mark.fuzz]
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
STRATEGIES = 1_000 if LONG else 60
LEVEL = promotions.POLICY.alpha
BARS = 1_250
CROSSOVER = {"name": "dual_sma", "params": {"fast": 5, "slow": 50, "short": True}}
PERIOD = {"timeframe": "1d", "start": "2015-01-01", "end": "2020-12-31"}


def config(symbol: str, strategy: dict[str, Any] = CROSSOVER) -> dict[str, Any]:
    return {"symbol": symbol, **PERIOD, "strategy": strategy}


def market(symbol: str, returns: np.ndarray) -> Series:
    """Bars that open where the one before closed, with those returns from close to close."""
    close = 100.0 * np.cumprod(1.0 + np.maximum(returns, -0.5))
    opened = np.concatenate([[100.0], close[:-1]])
    day = timedelta(days=1) // timedelta(microseconds=1) * 1_000
    first = 1_420_070_400 * 10**9  # 2015-01-01
    time = first + day * np.arange(len(close), dtype=np.int64)
    return Series(
        symbol, time, opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full(len(close), 1e6)
    )


def noise(seed: int) -> np.ndarray:
    """Daily returns without a mean or a memory, with fat tails."""
    return 0.01 * np.random.default_rng(seed).standard_t(4, BARS)


def backtest(client: Client, body: dict[str, Any], series: Series) -> Run:
    """A run with the permutation test, as its job's steps work it out."""
    given = parse(body | {"validation": {"permutation": {"trials": 99}}})
    work = Work(given, lambda: [series])
    tried = [(given, trials.sharpe_per_bar(work.metrics))]
    return sealed(client, Kind.RUN, given, series, work.artifacts(), work.metrics, tried)


def search(client: Client, body: dict[str, Any], series: Series) -> tuple[Run, list[RunConfig]]:
    """A sweep, as its job's steps work it out, and the configuration of each point."""
    given = parse_sweep(body)
    work = SweepWork(given, lambda: [series])
    figures = work.simulated((0, len(work.points)))
    judgement = work.judged(figures)
    artifacts, tried = work.artifacts(judgement), work.tried(figures)
    run = sealed(client, Kind.SWEEP, given, series, artifacts, judgement.summary, tried)
    return run, [config for config, _ in tried]


def sealed(client: Client, kind: Kind, given: Any, series: Series, artifacts: Any, metrics: Any, tried: Any) -> Run:
    what = services.identity(given, [series])
    run = Run.objects.create(client=client, kind=kind, config=given.plain(), **asdict(what))
    staged = services.store().stage(run.id, 1, artifacts)
    with transaction.atomic():
        services.finish(run, artifacts, metrics, tried=tried, staged=staged, into=services.store())
    return run


def strategies(count: int) -> Iterator[dict[str, Any]]:
    """Crossovers, breakouts and reversions with parameters drawn at random."""
    rng = np.random.default_rng(31)
    for number in range(count):
        short = bool(rng.integers(2))
        fast, slow = int(rng.integers(2, 20)), int(rng.integers(21, 100))
        yield (
            {"name": "dual_sma", "params": {"fast": fast, "slow": slow, "short": short}},
            {"name": "breakout", "params": {"entry": slow, "exit": fast, "short": short}},
            {"name": "mean_reversion", "params": {"window": slow, "entry": float(rng.uniform(1, 2)), "short": short}},
        )[number % 3]


def test_of_strategies_tried_once_on_noise_no_more_pass_than_the_level_allows(alpha: Client) -> None:
    """Each on a market of its own. Some pass: a rule that says no to everything has no level."""
    passed = 0
    for seed, strategy in enumerate(strategies(STRATEGIES)):
        symbol = f"NOISE{seed}"
        judged = promotions.judge(backtest(alpha, config(symbol, strategy), market(symbol, noise(seed))))
        assert judged.evidence["trials"] == 1
        assert {reason.code for reason in judged.reasons} <= {"deflated_sharpe", "permutation"}
        passed += not judged.reasons
    print(f"{passed} of {STRATEGIES} passed; the level allows {LEVEL:.0%}, at most {at_most(STRATEGIES)}")
    assert passed <= at_most(STRATEGIES)
    assert passed > 0


def at_most(cases: int) -> int:
    """The largest count that a binomial of the rule's level exceeds in less than one of 1,000 repetitions."""
    below, count, term = 0.0, -1, (1 - LEVEL) ** cases
    while below < 0.999:
        count += 1
        below += term
        term *= (cases - count) / (count + 1) * LEVEL / (1 - LEVEL)
    return count


def test_the_bound_is_that_of_the_binomial() -> None:
    exact = [math.comb(60, k) * LEVEL**k * (1 - LEVEL) ** (60 - k) for k in range(61)]
    assert sum(exact[: at_most(60) + 1]) >= 0.999 > sum(exact[: at_most(60)])


def grid(symbol: str, count: int) -> dict[str, Any]:
    """A search over ``count`` crossovers, a multiple of 20."""
    axes = {"fast": list(range(2, 22)), "slow": list(range(30, 30 + count // 4, 5))}
    return {"config": config(symbol), "parameters": axes, "blocks": 8}


def test_of_a_search_on_noise_none_passes(alpha: Client) -> None:
    """Every point of one search put forward, one after the other: each is one of as many as were tried."""
    series = market("NOISE", noise(5))
    _, points = search(alpha, grid("NOISE", STRATEGIES), series)
    assert len(points) == STRATEGIES == Trial.objects.count()
    passed, alone = 0, 0
    for point in points:
        run = backtest(alpha, point.plain(), series)
        judged = promotions.judge(run)
        assert judged.evidence["trials"] == STRATEGIES  # what a search has tried is not tried again
        passed += not judged.reasons
        assert run.metrics is not None
        alone += run.metrics["probabilistic_sharpe"] >= 1 - LEVEL
    print(f"{passed} of {STRATEGIES} passed; alone {alone} would have a Sharpe ratio above 0 at {1 - LEVEL:.0%}")
    assert passed == 0


def test_what_knows_something_is_found_by_a_search_and_promoted(alpha: Client) -> None:
    """A market whose trends last, under a noise three times their size: the search's best goes to paper."""
    rng = np.random.default_rng(7)
    trend = np.repeat(rng.choice([-1.0, 1.0], BARS // 25), 25)
    series = market("TREND", 0.004 * trend + noise(6) * 0.8)
    sweep, _ = search(alpha, grid("TREND", STRATEGIES), series)
    assert sweep.metrics is not None
    best = backtest(alpha, sweep.metrics["best"]["config"], series)
    promoted = promotions.promote(best, Level.PAPER, by="ann").promotion
    assert promoted.evidence["trials"] == STRATEGIES
    assert promoted.evidence["deflated_sharpe"] >= 1 - LEVEL
    assert promoted.evidence["pbo"] <= promotions.POLICY.pbo_bound
    assert Promotion.objects.get().strategy == "dual_sma"
    print(f"promoted, Sharpe ratio {sweep.metrics['best']['metrics']['sharpe']:.2f} a year: {promoted.evidence}")
