"""Intervals without draws: textbook values, and that they hold the truth as often as they say."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from trading.quant.statistics import CrossValidation, Record, evaluate, intervals
from trading.quant.statistics.bootstrap import Interval


def test_a_share_is_wilsons() -> None:
    """8 of 10 at 95%: z = 1.959964, so (0.8 + 0.192073) / 1.384146 = 0.716740 and a width of 0.226577."""
    found = intervals.share(8, 10)
    assert (found.low, found.high) == pytest.approx((0.490162, 0.943318), abs=2e-6)
    assert intervals.share(0, 5).low == 0.0
    assert intervals.share(5, 5).high == 1.0


def test_a_mean_is_the_textbooks() -> None:
    """1, 2, 3, 4, 5: mean 3, mean square about it 2, error sqrt(2 / 5) = 0.632456."""
    found = intervals.mean(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (found.low, found.high) == pytest.approx((3 - 1.959964 * 0.632456, 3 + 1.959964 * 0.632456), abs=1e-6)


def test_a_normal_deviation_has_the_known_error() -> None:
    """For normal returns the error of s is s / sqrt(2 n), and that of a Sharpe ratio of 0 is 1 / sqrt(n)."""
    values = np.random.default_rng(1).normal(0, 0.01, 200_000)
    found = intervals.deviation(values)
    assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(0.01 / math.sqrt(400_000), rel=0.02)
    ratio = intervals.sharpe(Record(0.0, 0.0, 3.0, 101))
    assert (ratio.low, ratio.high) == pytest.approx((-0.1959964, 0.1959964), abs=1e-6)


def sortino_truth() -> float:
    """Of a normal with mean 0.001 and deviation 0.01, by integration on a fine grid."""
    x = np.linspace(-0.15, 0.15, 600_001)
    density = np.exp(-0.5 * ((x - 0.001) / 0.01) ** 2) / (0.01 * math.sqrt(2 * math.pi))
    return float(0.001 / math.sqrt(float(np.sum(np.minimum(x, 0.0) ** 2 * density)) * (x[1] - x[0])))


def factor_truth() -> float:
    """E max(x, 0) / E max(-x, 0) of the same."""
    x = np.linspace(-0.15, 0.15, 600_001)
    density = np.exp(-0.5 * ((x - 0.001) / 0.01) ** 2)
    return float(np.sum(np.maximum(x, 0.0) * density) / np.sum(np.maximum(-x, 0.0) * density))


@pytest.mark.parametrize(
    ("interval", "truth"),
    [
        (intervals.mean, 0.001),
        (intervals.deviation, 0.01),
        (intervals.sortino, sortino_truth()),
        (intervals.profit_factor, factor_truth()),
        (lambda values: intervals.sharpe(Record.of(values)), 0.1),
    ],
)
def test_they_hold_the_truth_as_often_as_they_say(interval: Callable[[np.ndarray], Interval], truth: float) -> None:
    """2,000 series of 500: 95% with a binomial error of half a per cent."""
    rng = np.random.default_rng(2)
    found = [interval(rng.normal(0.001, 0.01, 500)) for _ in range(2_000)]
    assert 0.93 < np.mean([one.low <= truth <= one.high for one in found]) < 0.97


def test_growth_is_that_of_the_logs() -> None:
    returns = np.array([0.1, -0.05, 0.02, 0.03])
    found = intervals.growth(returns)
    logs = intervals.mean(np.log(1 + returns))
    assert math.log(found.low) == pytest.approx(4 * logs.low)
    assert found.low < np.prod(1 + returns) < found.high


def test_what_is_undefined_is_nan() -> None:
    for found in (
        intervals.growth(np.array([0.1, -1.0])),
        intervals.sortino(np.array([0.1, 0.2])),
        intervals.profit_factor(np.array([1.0])),
        intervals.profit_factor(np.array([])),
        intervals.share(0, 0),
        intervals.mean(np.array([])),
        intervals.mean(np.array([1.0])),
    ):
        assert math.isnan(found.high)
    assert intervals.deviation(np.zeros(5)) == Interval(0.0, 0.0, 0.95)


@pytest.mark.parametrize("edge", [0.0, 0.1])
def test_the_interval_of_the_probability_of_overfitting_holds_that_of_other_histories(edge: float) -> None:
    """Of histories drawn anew, at least nine in ten have an interval with the mean over all of them in it."""
    rng = np.random.Generator(np.random.PCG64(3))
    found = []
    for _ in range(80):
        returns = rng.normal(size=(1_000, 10))
        returns[:, 0] += edge
        found.append(evaluate(CrossValidation(returns, 8)).pbo)
    mean = float(np.mean(found))
    within = [intervals.overfitting(pbo) for pbo in found]
    assert np.mean([interval.low <= mean <= interval.high for interval in within]) >= 0.9
