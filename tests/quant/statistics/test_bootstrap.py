"""The stationary bootstrap: a replicate rebuilt bar by bar, moments by formula, coverage, invariances."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.statistics import Bootstrap, Estimate, evaluate
from trading.quant.statistics.blocks import begin_chance, blocks_nb
from trading.quant.statistics.draws import seed_word, stream_nb


def rebuilt(returns: np.ndarray, mean_length: float, seed: int, index: int) -> np.ndarray:
    """The returns of one replicate, bar by bar."""
    bars = len(returns)
    begins, starts, lengths = np.empty(bars // 64 + 1, np.uint64), *np.empty((2, bars + 2), np.uint32)
    key = np.uint64(stream_nb(seed_word(seed), index))
    count = blocks_nb(key, bars, begin_chance(mean_length), begins[: -(-bars // 64)], starts, lengths)
    blocks = zip(starts[:count].tolist(), lengths[:count].tolist(), strict=True)
    return np.array([returns[(start + t) % bars] for start, length in blocks for t in range(length)])


def measured(returns: np.ndarray) -> list[float]:
    """Mean, Sharpe ratio, final equity, drawdown, each by its definition."""
    equity = np.concatenate([[1.0], np.cumprod(1 + returns)])
    fall = (1 - equity / np.maximum.accumulate(equity)).max()
    return [returns.mean(), returns.mean() / returns.std(ddof=1), equity[-1], fall]


@pytest.mark.parametrize("mean_length", [1.0, 1.7, 6.0, 40.0, 5_000.0])
@pytest.mark.parametrize("bars", [10, 63, 64, 97, 1_024, 1_100, 6_001])
def test_each_replicate_is_what_its_blocks_say(mean_length: float, bars: int) -> None:
    """Running sums and columns side by side give what a walk over the bars gives, also round the end."""
    returns = np.random.default_rng(bars).standard_t(4, bars) * 0.02 + 0.001
    test = Bootstrap(returns, replicates=5, seed=8, block_length=mean_length)
    expected = [measured(rebuilt(returns, mean_length, 8, index)) for index in range(5)]
    np.testing.assert_allclose(test.replicate(0, 5), expected, rtol=1e-9, atol=1e-13)
    alone = Bootstrap(returns, replicates=5, seed=8, block_length=mean_length, measures=("sharpe", "mean"))
    np.testing.assert_allclose(alone.replicate(0, 5), np.array(expected)[:, [1, 0]], rtol=1e-9, atol=1e-13)
    observed = [one.observed for one in evaluate(test).estimates.values()]
    np.testing.assert_allclose(observed, measured(returns), rtol=1e-9, atol=1e-13)


def test_the_variance_of_the_mean_is_the_known_one() -> None:
    """Politis and Romano, lemma 1: var = (c(0) + 2 sum (1 - k/n)(1 - p)**k c(k)) / n, c the circular autocovariance."""
    rng = np.random.default_rng(3)
    returns = np.convolve(rng.normal(0, 0.01, 304), np.ones(5), mode="valid")
    bars, p = len(returns), 1 / 8.0
    apart = returns - returns.mean()
    circular = [float(apart @ np.roll(apart, -lag)) / bars for lag in range(bars)]
    variance = (circular[0] + 2 * sum((1 - k / bars) * (1 - p) ** k * circular[k] for k in range(1, bars))) / bars
    draws = evaluate(Bootstrap(returns, replicates=40_000, block_length=8.0, measures=("mean",))).estimates["mean"]
    assert draws.standard_error**2 == pytest.approx(variance, rel=5 * math.sqrt(2 / 40_000))
    assert draws.draws.mean() == pytest.approx(returns.mean(), abs=5 * math.sqrt(variance / 40_000))


@pytest.mark.parametrize(("weight", "least"), [(0.0, 0.92), (0.3, 0.90)])
def test_intervals_cover_what_they_say(weight: float, least: float) -> None:
    """95% intervals of mean and Sharpe ratio over 500 series of 500 bars; dependence is what blocks are for."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.01, (500, 600))
    series = np.zeros_like(noise)
    for t in range(1, 600):
        series[:, t] = weight * series[:, t - 1] + noise[:, t]
    deviation = 0.01 / math.sqrt(1 - weight**2)
    covered = dict.fromkeys(("mean", "sharpe"), 0)
    naive = 0
    for seed, returns in enumerate(series[:, 100:] + 0.002):
        result = evaluate(Bootstrap(returns, replicates=400, seed=seed, measures=("mean", "sharpe")))
        for name, true in (("mean", 0.002), ("sharpe", 0.002 / deviation)):
            interval = result.estimates[name].basic()
            covered[name] += interval.low <= true <= interval.high
        bars_alone = Bootstrap(returns, replicates=400, seed=seed, measures=("mean",), block_length=1.0)
        interval = evaluate(bars_alone).estimates["mean"].basic()
        naive += interval.low <= 0.002 <= interval.high
    for name in covered:
        assert least < covered[name] / 500 < 0.98, name
    if weight:
        assert naive / 500 < 0.88


def test_intervals_by_hand() -> None:
    estimate = Estimate(observed=3.0, draws=np.arange(101.0) / 10)
    assert (estimate.percentile(0.9).low, estimate.percentile(0.9).high) == pytest.approx((0.5, 9.5))
    assert (estimate.basic(0.9).low, estimate.basic(0.9).high) == pytest.approx((-3.5, 5.5))
    assert estimate.standard_error == pytest.approx(np.sqrt((101**2 - 1) / 12 * 101 / 100) / 10)
    assert math.isnan(Estimate(1.0, np.array([1.0])).standard_error)
    with pytest.raises(ValueError, match="level"):
        estimate.percentile(1.0)


def test_a_flat_record_has_no_spread() -> None:
    """Nothing varies: a Sharpe ratio of 0 in each replicate, not of rounding over rounding."""
    result = evaluate(Bootstrap(np.full(60, 0.001), replicates=20, block_length=5.0)).estimates
    assert set(result["sharpe"].draws) == {0.0}
    assert result["sharpe"].observed == 0.0
    np.testing.assert_allclose(result["final_equity"].draws, 1.001**60, rtol=1e-12)
    assert result["drawdown"].draws.max() == 0.0


@given(st.integers(0, 2**40), st.integers(10, 80), st.integers(1, 25), st.floats(1.0, 30.0), st.floats(0.05, 3.0))
def test_invariances(seed: int, bars: int, chunk: int, mean_length: float, scale: float) -> None:
    """Chunks change no byte; leverage scales the mean and leaves the Sharpe ratio."""
    returns = np.random.default_rng(seed).normal(0.001, 0.02, bars)
    test = Bootstrap(returns, replicates=40, seed=seed, block_length=mean_length)
    whole, cut = evaluate(test).estimates, evaluate(test, chunk=chunk).estimates
    for name in whole:
        assert whole[name].draws.tobytes() == cut[name].draws.tobytes()
    levered = evaluate(Bootstrap(returns * scale, replicates=40, seed=seed, block_length=mean_length)).estimates
    np.testing.assert_allclose(levered["mean"].draws, whole["mean"].draws * scale, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(levered["sharpe"].draws, whole["sharpe"].draws, rtol=1e-7, atol=1e-12)
    assert (whole["drawdown"].draws >= 0).all()
    assert (whole["drawdown"].draws < 1).all()


@pytest.mark.parametrize(
    ("returns", "options", "says"),
    [
        (np.zeros(9), {}, "10 finite"),
        (np.full(20, np.nan), {}, "10 finite"),
        (np.zeros(20), {"measures": ("median",)}, "median"),
        (np.zeros(20), {"measures": ()}, "measures"),
        (np.zeros(20), {"replicates": 0}, "replicate"),
        (np.zeros(20), {"seed": 2**64}, "seed"),
        (np.zeros(20), {"block_length": 0.5}, "at least 1"),
        (np.r_[np.zeros(20), -1.0], {}, "-100%"),
    ],
)
def test_bad_input_is_named(returns: np.ndarray, options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Bootstrap(returns, **options)


def test_ruin_has_a_mean_all_the_same() -> None:
    returns = np.r_[np.random.default_rng(0).normal(0, 0.1, 20), -1.5]
    result = evaluate(Bootstrap(returns, measures=("mean",), replicates=10)).estimates
    assert result["mean"].observed == pytest.approx(returns.mean(), rel=1e-12)
