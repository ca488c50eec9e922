"""Blocks of the stationary bootstrap: how long they should be, and where a replicate's blocks start and end.

Stationary bootstrap: Politis and Romano (1994), "The stationary bootstrap", JASA 89. A replicate is made of blocks of
the series, taken round its end, which start anywhere with equal probability and have geometric lengths with mean b.
"""

import math

import numpy as np
from numba import njit

from trading.quant.statistics.draws import ONE, WORD, Bits, Words, below_nb, chances_nb, lowest_nb, ones_nb, stream_nb
from trading.quant.statistics.replication import Floats


def block_length(series: Floats) -> float:
    """Mean block length that serves the mean of ``series`` best, in bars; between 1 and min(3 sqrt(n), n / 3).

    Source: Politis and White (2004), Econometric Reviews 23, with the correction of Patton, Politis and White (2009),
    Econometric Reviews 28: b = (2 G**2 / D)**(1/3) n**(1/3), D = 2 g(0)**2, from autocovariances weighted by a flat-top
    window. Its width is found as in Patton's own program: twice the first lag of a run of 5 autocorrelations within
    2 sqrt(log10(n) / n), and the whole range of lags when there is no such run. ``series``: shape (bars,).
    A constant series gives 1. Raises ValueError for fewer than 10 bars or values that are not finite.
    """
    values = np.ascontiguousarray(series, dtype=np.float64)
    bars = values.shape[0]
    if values.ndim != 1 or bars < 10 or not np.isfinite(values).all():
        raise ValueError("a block length needs one series of at least 10 finite values")
    apart = values - values.mean()
    if np.max(np.abs(apart)) <= 1e-14 * np.max(np.abs(values)):
        return 1.0
    run = max(5, int(math.log10(bars)))
    widest = math.ceil(math.sqrt(bars)) + run
    lags = min(widest, bars - 2)
    products = np.zeros(lags + 1)
    products_nb(apart, products)
    covariance = products / bars
    # Each correlation over the bars that both series share.
    squares = np.cumsum(apart**2)
    early = np.array([squares[bars - lag - 2] for lag in range(lags + 1)])
    late = np.array([squares[-1] - squares[lag] for lag in range(lags + 1)])
    correlation = np.abs(covariance) * bars / np.sqrt(np.maximum(early * late, np.finfo(np.float64).tiny))
    small = correlation < 2.0 * math.sqrt(math.log10(bars) / bars)
    first = next((lag for lag in range(lags - run + 1) if small[lag : lag + run].all()), None)
    width = min(lags if first is None else 2 * max(first, 1), lags)
    lag = np.arange(1, width + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - lag / width))
    weighted = 2.0 * window * covariance[1 : width + 1]
    spectrum, slope = covariance[0] + weighted.sum(), (weighted * lag).sum()
    longest = math.ceil(min(3.0 * math.sqrt(bars), bars / 3.0))
    if spectrum == 0.0:
        return float(longest)
    best = (slope**2 / spectrum**2) ** (1.0 / 3.0) * bars ** (1.0 / 3.0)
    return float(min(max(best, 1.0), longest))


@njit(cache=True, nogil=True)
def products_nb(values: Floats, out: Floats) -> None:
    """Add to ``out[lag]`` the sum of ``values[t] * values[t + lag]``; on one thread, unlike a dot product of BLAS."""
    bars = values.shape[0]
    for t in range(bars):
        for lag in range(min(out.shape[0], bars - t)):
            out[lag] += values[t] * values[t + lag]


def begin_chance(mean: float) -> np.uint64:
    """2**32 times the probability that a bar begins a block, for blocks of ``mean`` bars on average.

    Raises ValueError for a mean below 1.
    """
    if not 1.0 <= mean < math.inf:
        raise ValueError(f"a mean block length is at least 1 bar, {mean} is not")
    return np.uint64(max(1, round(2.0**32 / mean)))


@njit(cache=True, nogil=True)
def rotations_nb(key: np.uint64, bars: int, chance: np.uint64, begins: Bits, shifts: Words) -> int:
    """The blocks of one replicate as rotations of the series; returns how many there are.

    Every bar begins a block with the same probability, which makes lengths geometric: ``begins`` has a bit for each
    bar, 64 a word, the last bit first. A block that begins at bar t and is read from a uniformly drawn place of the
    series is the series rotated by place - t; and that is as uniform, whatever t is. So ``shifts`` (room for
    bars + 2) are drawn instead of places, and bar t of the replicate is bar (t + shifts[h]) % bars of the series,
    where h counts the begins up to t. Bar 0 belongs to block 0 and has no bit.
    """
    chances_nb(stream_nb(key, 0), chance, begins)
    begins[0] &= ~ONE
    if bars % WORD:
        begins[-1] &= (ONE << np.uint64(bars % WORD)) - ONE
    count = 1
    for bits in begins:
        count += int(ones_nb(bits))
    below_nb(stream_nb(key, 1), bars, 0, shifts[: count + count % 2])
    return count


@njit(cache=True, nogil=True)
def blocks_nb(key: np.uint64, bars: int, chance: np.uint64, begins: Bits, starts: Words, lengths: Words) -> int:
    """The same blocks as places and lengths, both with room for bars + 2; returns how many there are.

    The lengths sum to ``bars``; a block may run past the end of the series, where it goes on at its beginning.
    """
    count = rotations_nb(key, bars, chance, begins, starts)
    block, begun, around = 0, np.uint64(0), np.uint64(bars)
    for word in range(begins.shape[0]):
        bits = begins[word]
        while bits:
            bar = np.uint64(WORD * word) + lowest_nb(bits)
            bits &= bits - ONE
            starts[block] = np.uint32((np.uint64(starts[block]) + begun) % around)
            lengths[block] = np.uint32(bar - begun)
            block, begun = block + 1, bar
    starts[block] = np.uint32((np.uint64(starts[block]) + begun) % around)
    lengths[block] = np.uint32(around - begun)
    return count
