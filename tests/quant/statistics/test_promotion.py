"""The promotion rule: each reason by hand, its level on noise, its power on a planted signal.

`make fuzz` runs the long form: twenty times as many markets.
"""

import math
import os

import numpy as np
import pytest

from trading.quant.statistics import (
    CrossValidation,
    PermutationTest,
    Policy,
    Record,
    Trials,
    Verdict,
    deflated_sharpe,
    evaluate,
    probabilistic_sharpe,
    promotable,
)

pytestmark = pytest.mark.fuzz
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
GOOD = Record(0.15, 0.0, 3.0, 2_000)
MANY = Trials(100, 0.001)


def at_most(share: float, cases: int) -> float:
    """What a share of ``cases`` stays below, in all but one of 1,000 repetitions."""
    return share * cases + 3.1 * math.sqrt(share * (1 - share) * cases) + 1


def test_everything_says_yes() -> None:
    verdict = promotable(GOOD, MANY, permutation_p=0.01, pbo=0.1)
    assert verdict.promotable
    assert verdict.reasons == ()
    assert verdict.deflated_sharpe == deflated_sharpe(GOOD, trials=100, variance=0.001)


@pytest.mark.parametrize(
    ("changed", "code", "value"),
    [
        ({"permutation_p": 0.06}, "permutation", 0.06),
        ({"permutation_p": None}, "permutation_missing", None),
        ({"permutation_p": math.nan}, "permutation_missing", None),
        ({"pbo": 0.31}, "overfitting", 0.31),
        ({"pbo": None}, "overfitting_missing", None),
        ({"pbo": math.nan}, "overfitting_missing", None),
    ],
)
def test_each_reason_is_named(changed: dict, code: str, value: float | None) -> None:
    verdict = promotable(GOOD, MANY, **{"permutation_p": 0.01, "pbo": 0.1, **changed})
    assert not verdict.promotable
    assert [(reason.code, reason.value) for reason in verdict.reasons] == [(code, value)]


def test_the_bounds_themselves_pass() -> None:
    assert promotable(GOOD, MANY, permutation_p=0.05, pbo=0.3).promotable
    assert promotable(GOOD, MANY, permutation_p=0.01, pbo=0.6, policy=Policy(pbo_bound=0.6)).promotable


def test_all_reasons_are_told_at_once() -> None:
    poor = Record(0.01, 0.0, 3.0, 500)
    verdict = promotable(poor, MANY, permutation_p=None, pbo=0.9)
    assert [reason.code for reason in verdict.reasons] == ["deflated_sharpe", "permutation_missing", "overfitting"]
    assert verdict.reasons[0].bound == 0.95


def test_one_trial_is_no_search() -> None:
    verdict = promotable(GOOD, Trials.of(np.array([0.15])), permutation_p=0.01, pbo=None)
    assert verdict.promotable
    assert verdict.sharpe_threshold == 0.0


def test_trials_and_policy_are_checked() -> None:
    assert Trials.of(np.array([0.1, 0.3])).variance == pytest.approx(0.02)
    for bad in (np.array([]), np.array([0.1, math.nan])):
        with pytest.raises(ValueError, match="trials"):
            Trials.of(bad)
    for options in ({"alpha": 0.0}, {"alpha": 0.5}, {"pbo_bound": 0.0}, {"pbo_bound": 1.1}):
        with pytest.raises(ValueError, match="alpha"):
            Policy(**options)


def averages(lengths: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Moving average of each length, shape (lengths, bars); the first bars average what there is."""
    total = np.concatenate([[0.0], np.cumsum(closes)])
    end = np.arange(1, len(closes) + 1)
    return np.stack([(total[end] - total[np.maximum(end - n, 0)]) / np.minimum(end, n) for n in lengths])


def crossovers(returns: np.ndarray, count: int) -> np.ndarray:
    """Positions, shape (count, bars), of moving average crossovers that are long or flat, one bar after the signal."""
    closes = np.cumprod(1 + returns)
    fast, slow = np.arange(2, 2 + 25), np.arange(30, 30 + 8 * (count // 25), 8)
    pairs = averages(fast, closes)[:, None] > averages(slow, closes)[None]
    signals = pairs.reshape(-1, len(closes)).astype(float)
    return np.concatenate([np.zeros((len(signals), 1)), signals[:, :-1]], axis=1)


def verdicts(positions: np.ndarray, returns: np.ndarray, replicates: int) -> list[Verdict]:
    """Put every strategy of one search to the rule, as the platform does; positions of shape (strategies, bars)."""
    earned = positions * returns
    records = [Record.of(one) for one in earned]
    trials = Trials.of(np.array([record.sharpe for record in records]))
    pbo = evaluate(CrossValidation(earned.T, blocks=8)).pbo
    found = []
    for seed, (held, record) in enumerate(zip(positions, records, strict=True)):
        p = evaluate(PermutationTest(held, returns, replicates=replicates, seed=seed)).p_value
        found.append(promotable(record, trials, permutation_p=p, pbo=pbo))
    return found


def test_a_thousand_strategies_on_noise() -> None:
    """1,000 crossovers searched on one market of noise: none is promoted, where hundreds look good alone."""
    for market in range(20) if LONG else (5,):
        returns = np.random.default_rng(market).standard_t(4, 1_250) * 0.01
        positions = crossovers(returns, 1_000)
        assert len(positions) == 1_000
        assert not any(verdict.promotable for verdict in verdicts(positions, returns, replicates=99))
        if market == 5:
            alone = [probabilistic_sharpe(Record.of(earned)) >= 0.95 for earned in positions * returns]
            assert sum(alone) > 500


@pytest.mark.parametrize("kind", ["fat_tails", "short_volatility"])
def test_strategies_tried_once_pass_as_often_as_the_level_allows(kind: str) -> None:
    """1,000 strategies, each alone on a market of its own: at most 5%, and not none, also with returns that mislead."""
    rng = np.random.default_rng(21)
    cases, promoted = 20_000 if LONG else 1_000, 0
    for seed in range(cases):
        # The second: small gains, seldom a crash, nothing in the mean.
        returns = rng.standard_t(4, 1_000) / 100 if kind == "fat_tails" else 0.01 - rng.exponential(0.01, 1_000)
        held = rng.integers(0, 2, 1_000).astype(float)
        p = evaluate(PermutationTest(held, returns, replicates=99, seed=seed)).p_value
        promoted += promotable(Record.of(held * returns), Trials(1, 0.0), permutation_p=p, pbo=None).promotable
    assert 0.005 * cases < promoted < at_most(0.05, cases)


def test_the_best_of_each_search_passes_within_the_level() -> None:
    """120 searches of 40 unrelated strategies on noise: promoting any of them counts as a mistake."""
    rng = np.random.default_rng(22)
    searches, mistakes = 2_400 if LONG else 120, 0
    for _ in range(searches):
        returns = rng.standard_t(4, 500) * 0.01
        positions = rng.integers(-1, 2, (40, 500)).astype(float)
        mistakes += any(verdict.promotable for verdict in verdicts(positions, returns, replicates=39))
    assert mistakes < at_most(0.05, searches)


def test_copies_and_idle_strategies_do_not_lower_the_bar() -> None:
    """40 real trials among 960 that never traded: by the trials' own variance a third of such searches would pass."""
    rng = np.random.default_rng(23)
    searches, mistakes, naive = 4_000 if LONG else 300, 0, 0
    for _ in range(searches):
        sharpes = np.concatenate([rng.normal(0, 1 / math.sqrt(1_000), 40), np.zeros(960)])
        best = Record(float(sharpes.max()), 0.0, 3.0, 1_000)
        trials = Trials.of(sharpes)
        mistakes += promotable(best, trials, permutation_p=0.001, pbo=0.0).promotable
        naive += deflated_sharpe(best, trials=trials.count, variance=trials.variance) >= 0.95
    assert mistakes < at_most(0.05, searches)
    assert naive > 0.2 * searches


def test_a_planted_strategy_is_promoted() -> None:
    """One strategy that knows a bar in six, a ratio of 2.2 a year, among 99 that know none; ten years of days."""
    rng = np.random.default_rng(24)
    searches, found, wrong = 200 if LONG else 20, 0, 0
    for _ in range(searches):
        returns = rng.standard_t(4, 2_520) * 0.01
        positions = rng.integers(-1, 2, (100, 2_520)).astype(float)
        knows = rng.random(2_520) < 0.16
        positions[0] = np.where(knows, np.sign(returns), positions[0])
        promoted = [verdict.promotable for verdict in verdicts(positions, returns, replicates=99)]
        found += promoted[0]
        wrong += any(promoted[1:])
    assert found > 0.9 * searches
    assert wrong < at_most(0.05, searches)
