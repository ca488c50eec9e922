"""Block lengths: the automatic choice, and what is drawn."""

import math

import numpy as np
import pytest

from trading.quant.statistics import block_length
from trading.quant.statistics.blocks import begin_chance, blocks_nb
from trading.quant.statistics.draws import seed_word, stream_nb


def autoregression(bars: int, weight: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, bars)
    series = np.empty(bars)
    series[0] = noise[0]
    for t in range(1, bars):
        series[t] = weight * series[t - 1] + noise[t]
    return series


@pytest.mark.parametrize("weight", [0.3, 0.6])
def test_the_length_of_an_autoregression(weight: float) -> None:
    """For x' = w x + e the best mean length is known.

    G = sum |k| R(k) = 2 s w / (1 - w)**2 / (1 - w**2) and g(0) = s / (1 - w)**2 for noise of variance s, so that
    G / g(0) = 2 w / (1 - w**2) and b = ((G / g(0))**2 n)**(1/3).
    """
    bars = 20_000
    best = (2 * weight / (1 - weight**2)) ** (2 / 3) * bars ** (1 / 3)
    found = np.mean([block_length(autoregression(bars, weight, seed)) for seed in range(20)])
    assert found == pytest.approx(best, rel=0.15)


def test_by_hand() -> None:
    """A square wave of period 4, twelve bars: the first five lags reach the end of the range, so all lags are used."""
    wave = np.array([1.0, 1.0, -1.0, -1.0] * 3)
    covariance = [sum(wave[t] * wave[t + lag] for t in range(12 - lag)) / 12 for lag in range(10)]
    lags, bars = 9, 12  # ceil(sqrt(12)) + 5
    window = [min(1.0, 2 * (1 - lag / lags)) for lag in range(1, lags + 1)]
    slope = sum(2 * window[lag - 1] * lag * covariance[lag] for lag in range(1, lags + 1))
    spectrum = covariance[0] + sum(2 * window[lag - 1] * covariance[lag] for lag in range(1, lags + 1))
    best = (slope**2 / spectrum**2 * bars) ** (1 / 3)
    assert block_length(wave) == pytest.approx(min(max(best, 1), math.ceil(min(3 * math.sqrt(12), 4))), rel=1e-12)


def test_noise_needs_no_blocks_and_scale_does_not_matter() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 5_000)
    assert block_length(noise) < 4
    assert block_length(noise * 1e6 + 3.0) == pytest.approx(block_length(noise), rel=1e-9)
    assert block_length(np.full(50, 0.1)) == 1.0


@pytest.mark.parametrize("bad", [np.ones(9), np.ones((20, 2)), np.array([1.0] * 20 + [math.nan])])
def test_no_series_no_length(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="10 finite"):
        block_length(bad)


@pytest.mark.parametrize("mean", [1.0, 1.4, 3.0, 25.0, 900.0])
def test_blocks_are_geometric_and_cover_each_replicate(mean: float) -> None:
    """Lengths follow (1 - p)**k (chi-square on ten classes); starts are uniform; the sum is the number of bars."""
    bars, drawn, begun, early, steps = 1_000, [], [], [], []
    begins, starts, lengths = np.empty(-(-bars // 64), np.uint64), *np.empty((2, bars + 2), np.uint32)
    for index in range(400):
        key = np.uint64(stream_nb(seed_word(1), index))
        count = blocks_nb(key, bars, begin_chance(mean), begins, starts, lengths)
        assert lengths[:count].sum() == bars
        assert lengths[:count].min() >= 1
        begun.append(starts[:count].copy())
        # The last block is cut; those that begin early enough not to be are whole.
        ends = np.cumsum(lengths[:count], dtype=np.int64)
        whole = np.concatenate([[0], ends[:-1]]) < bars // 2
        drawn.append(np.minimum(lengths[:count][whole], bars // 2))
        # Where a block is read from has nothing to do with where it begins, or with the block before.
        early.append(starts[:count][np.concatenate([[0], ends[:-1]]) < 100])
        steps.append((np.diff(starts[:count].astype(np.int64)) - lengths[: count - 1]) % bars)
    every = np.concatenate(drawn)
    stay = 1 - 1 / mean
    edges = np.unique(np.quantile(every, np.linspace(0, 1, 9)[1:-1]))
    upper = np.concatenate([edges[edges < bars // 2], [np.inf]])
    expected = np.diff(np.concatenate([[0.0], 1 - stay**upper])) * len(every)
    found = np.diff(np.concatenate([[0], [(every <= edge).sum() for edge in upper]]))
    assert ((found - expected) ** 2 / np.maximum(expected, 1e-9)).sum() < 30  # 99.9% with 10 degrees
    for places in (begun, early, steps):
        together = np.concatenate(places)
        tenths = np.bincount(together // 100, minlength=10)
        assert ((tenths - len(together) / 10) ** 2 / max(len(together) / 10, 1)).sum() < 27.9  # 99.9% with 9 degrees


@pytest.mark.parametrize("mean", [0.99, 0.0, math.inf, math.nan])
def test_a_block_is_at_least_a_bar(mean: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        begin_chance(mean)
