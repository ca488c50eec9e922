"""Blocks of the stationary bootstrap: how long they should be, and where a replicate's blocks start and end.

Stationary bootstrap: Politis and Romano (1994), "The stationary bootstrap", JASA 89. A replicate is made of blocks of
the series, taken round its end, which start anywhere with equal probability and have geometric lengths with mean b.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from trading.quant.statistics.draws import GAMMA, HALF, LOW, ONE, Words, below_nb, mix_nb, stream_nb
from trading.quant.statistics.replication import Floats

Thresholds = npt.NDArray[np.uint64]
Guide = npt.NDArray[np.uint32]

GUIDE_BITS = 12
GUIDE_SHIFT = np.uint32(32 - GUIDE_BITS)
BATCH = 256


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


def length_table(mean: float, bars: int) -> tuple[Thresholds, Guide]:
    """Geometric block lengths by inversion, for `blocks_nb`.

    ``thresholds[k]`` is 2**32 times the probability of a length up to k + 1, and the length of a 32-bit draw u is
    1 + the first k with u < thresholds[k]. ``guide`` says where to begin to look, by the draw's first bits. Lengths
    beyond ``bars`` are never used in full, so the table ends there. Raises ValueError for a mean below 1.
    """
    if not 1.0 <= mean < math.inf:
        raise ValueError(f"a mean block length is at least 1 bar, {mean} is not")
    stay = 1.0 - 1.0 / mean
    # Past this length a 32-bit draw cannot tell lengths apart.
    longest = 1 if stay == 0.0 else min(bars, math.ceil(-33.0 * math.log(2.0) / math.log(stay)))
    upper = -np.expm1(np.arange(1, longest + 1) * (math.log(stay) if stay else -math.inf))
    thresholds = np.floor(upper * 2.0**32).astype(np.uint64)
    thresholds[-1] = 2**32
    cells = np.arange(2**GUIDE_BITS, dtype=np.uint64) << np.uint64(GUIDE_SHIFT)
    return thresholds, np.searchsorted(thresholds, cells, side="right").astype(np.uint32)


@njit(cache=True, nogil=True)
def blocks_nb(key: np.uint64, bars: int, thresholds: Thresholds, guide: Guide, starts: Words, lengths: Words) -> int:
    """The blocks of one replicate: fills ``starts`` and ``lengths`` (room for bars + 256), returns how many there are.

    The lengths sum to ``bars``; a block may run past the end of the series, where it goes on at its beginning.
    """
    if thresholds.shape[0] == 1:  # every block is one bar
        below_nb(stream_nb(key, 0), bars, 0, starts[: bars + bars % 2])
        lengths[:bars] = 1
        return bars
    count, batch, left = 0, 0, np.int64(bars)
    while True:
        below_nb(stream_nb(key, 2 * batch), bars, 0, starts[count : count + BATCH])
        words = stream_nb(key, 2 * batch + 1)
        for h in range(BATCH // 2):
            z = mix_nb(words + GAMMA * (np.uint64(h) + ONE))
            lengths[count + h] = np.uint32(z >> HALF)
            lengths[count + BATCH // 2 + h] = np.uint32(z & LOW)
        together = np.int64(0)
        for h in range(count, count + BATCH):
            draw = lengths[h]
            k = np.uint64(guide[draw >> GUIDE_SHIFT])
            while thresholds[k] <= draw:
                k += ONE
            lengths[h] = np.uint32(k + ONE)
            together += np.int64(k + ONE)
        if together >= left:
            break
        left -= together
        count += BATCH
        batch += 1
    while left > lengths[count]:
        left -= np.int64(lengths[count])
        count += 1
    lengths[count] = np.uint32(left)
    return count + 1
