"""Is the best of many better than the benchmark? White's reality check and Hansen's test of superior ability.

Sources: White (2000), "A reality check for data snooping", Econometrica 68; Hansen (2005), "A test for superior
predictive ability", Journal of Business and Economic Statistics 23.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from trading.quant.statistics.blocks import begin_chance, block_length, blocks_nb
from trading.quant.statistics.draws import LARGEST_BOUND, seed_word, stream_nb
from trading.quant.statistics.replication import Floats, p_value

COLUMNS_AT_ONCE = 64


@dataclass(frozen=True, eq=False, slots=True)
class SuperiorityResult:
    """P-values of "no strategy beats the benchmark", and what they were read from.

    ``spa_lower`` <= ``spa_consistent`` <= ``spa_upper``: the bounds take the strategies that look worse than the
    benchmark as worse by as much, or as just as good; the consistent one drops those that are surely worse. ``null``:
    shape (replicates, 4), in the order reality check, lower, consistent, upper. ``best``: index of the largest mean.
    """

    reality_check: float
    spa_lower: float
    spa_consistent: float
    spa_upper: float
    reality_check_statistic: float
    spa_statistic: float
    best: int
    block_length: float
    null: Floats


@dataclass(frozen=True, eq=False)
class SuperiorityTest:
    """``excess``: returns per period over the benchmark's, of every strategy that was tried; shape (bars, strategies).

    The reality check's statistic is max sqrt(n) mean; the test of superior ability divides each mean by its standard
    error, so that a wild strategy does not set the standard for the calm (``studentised`` False leaves that out). Bars
    are drawn in stationary blocks, the same for all strategies; ``block_length`` is the mean over the strategies of
    Politis and White's when not given. P-values are (1 + #) / (1 + replicates).

    Raises ValueError for fewer than 10 bars, no strategy, values that are not finite, fewer than 1 replicate.
    """

    excess: Floats
    replicates: int = 1_000
    seed: int = 0
    block_length: float | None = None
    studentised: bool = True
    _plan: "_Plan" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.excess, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] < 1 or not 10 <= values.shape[0] <= LARGEST_BOUND:
            raise ValueError("excess returns have the shape (bars, strategies): at least 10 bars of 1 strategy")
        if not np.isfinite(values).all():
            raise ValueError("excess returns must be finite: drop or fill the gaps first")
        if self.replicates < 1:
            raise ValueError("at least one replicate is needed")
        seed_word(self.seed)
        given = self.block_length
        length = float(np.mean([block_length(column) for column in values.T])) if given is None else float(given)
        object.__setattr__(self, "_plan", _Plan.of(values, length, studentised=self.studentised))

    def replicate(self, start: int, stop: int) -> Floats:
        """The four maxima of replicates ``start`` ... ``stop - 1``; shape (stop - start, 4)."""
        plan = self._plan
        rows = np.empty((stop - start, 4))
        maxima_nb(plan.prefix, plan.scale, plan.offsets, plan.chance, seed_word(self.seed), start, rows)
        return rows

    @property
    def observed(self) -> tuple[float, float]:
        """The statistics of the reality check and of the test of superior ability: maxima over the strategies.

        They, and the rows of `replicate`, can be had of some strategies at a time, with one seed and one block length,
        and joined by taking the larger: `joined_p_values`.
        """
        plan = self._plan
        root = math.sqrt(plan.prefix.shape[0] - 1)
        return root * float(plan.mean.max()), max(0.0, root * float((plan.mean * plan.scale).max()))

    def conclude(self, rows: Floats) -> SuperiorityResult:
        """P-values of the observed maxima."""
        plan = self._plan
        check, spa = self.observed
        reality_check, lower, consistent, upper = joined_p_values(rows, (check, spa))
        return SuperiorityResult(
            reality_check=reality_check,
            spa_lower=lower,
            spa_consistent=consistent,
            spa_upper=upper,
            reality_check_statistic=check,
            spa_statistic=spa,
            best=int(np.argmax(plan.mean)),
            block_length=plan.mean_length,
            null=rows,
        )


def joined_p_values(rows: Floats, observed: tuple[float, float]) -> tuple[float, float, float, float]:
    """P-values of the reality check and of SPA's lower, consistent and upper form, from maxima over all strategies.

    ``rows``: shape (replicates, 4), the elementwise maxima of all parts' rows; ``observed``: those of all parts'.
    """
    check, spa = observed
    lower, consistent, upper = (p_value(rows[:, column], spa) for column in (1, 2, 3))
    return p_value(rows[:, 0], check), lower, consistent, upper


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """What the kernel reads; made once."""

    mean: Floats  # (strategies,)
    scale: Floats  # (strategies,): 1 / standard deviation of sqrt(n) mean, 0 where nothing varies
    offsets: Floats  # (3, strategies): what lower, consistent and upper leave of each mean in the null
    prefix: Floats  # (bars + 1, strategies): running sums of centred returns
    mean_length: float
    chance: np.uint64  # that a bar begins a block, times 2**32

    @classmethod
    def of(cls, values: Floats, mean_length: float, *, studentised: bool) -> "_Plan":
        bars, strategies = values.shape
        chance = begin_chance(mean_length)
        mean = values.mean(axis=0)
        prefix = np.zeros((bars + 1, strategies))
        np.cumsum(values - mean, axis=0, out=prefix[1:])
        deviation = np.sqrt(variance_of_mean(values, mean_length))
        varies = deviation > 1e-13 * np.abs(values).max(axis=0)
        scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        # Hansen's threshold: a mean this far below 0 cannot be that of a strategy as good as the benchmark.
        surely_worse = mean < -deviation * math.sqrt(2.0 * math.log(math.log(bars)) / bars)
        offsets = np.stack([np.minimum(mean, 0.0), np.where(surely_worse, mean, 0.0), np.zeros(strategies)])
        return cls(mean, scale if studentised else np.ones(strategies), offsets, prefix, mean_length, chance)


def variance_of_mean(values: Floats, mean_length: float) -> Floats:
    """Variance of sqrt(n) times the mean of a stationary bootstrap replicate, for each column; shape (columns,).

    c(0) + 2 sum over k of (1 - k/n) (1 - 1/b)**k c(k), with c the autocovariance taken round the end: Politis and
    Romano (1994), lemma 1, and Hansen's (2005) estimator. ``values``: shape (bars, columns).
    """
    bars = values.shape[0]
    lag = np.arange(1, bars)
    weights = np.concatenate([[1.0], 2.0 * (1.0 - lag / bars) * (1.0 - 1.0 / mean_length) ** lag])
    # Weighing the autocovariances is weighing the power by the weights' own transform (Parseval), without going back.
    response = np.fft.rfft(weights).real / bars**2
    response[1 : (bars + 1) // 2] *= 2.0  # frequencies that the other half of the transform mirrors
    result = np.empty(values.shape[1])
    for first in range(0, values.shape[1], COLUMNS_AT_ONCE):
        some = values[:, first : first + COLUMNS_AT_ONCE]
        spectrum = np.fft.rfft((some - some.mean(axis=0)).T, axis=1)
        power = spectrum.real * spectrum.real + spectrum.imag * spectrum.imag
        result[first : first + COLUMNS_AT_ONCE] = (power * response).sum(axis=1)
    return np.maximum(result, 0.0)


@njit(cache=True, nogil=True)
def maxima_nb(
    prefix: Floats,
    scale: Floats,
    offsets: Floats,
    chance: np.uint64,
    seed: np.uint64,
    start: int,
    out: Floats,
) -> None:
    """Largest sqrt(n) mean of each replicate: centred, and scaled with each of the three offsets."""
    bars, strategies = prefix.shape[0] - 1, prefix.shape[1]
    begins = np.empty((bars + 63) // 64, dtype=np.uint64)
    starts = np.empty(bars + 2, dtype=np.uint32)
    lengths = np.empty(bars + 2, dtype=np.uint32)
    sums = np.empty(strategies)
    root = np.sqrt(float(bars))
    for row in range(out.shape[0]):
        count = blocks_nb(stream_nb(seed, start + row), bars, chance, begins, starts, lengths)
        sums[:] = 0.0
        for h in range(count):
            begin = np.int64(starts[h])
            end = begin + np.int64(lengths[h])
            if end > bars:
                end -= bars
                for s in range(strategies):
                    sums[s] += prefix[bars, s] - prefix[begin, s] + prefix[end, s]
            else:
                for s in range(strategies):
                    sums[s] += prefix[end, s] - prefix[begin, s]
        check, lower, consistent, upper = -np.inf, 0.0, 0.0, 0.0
        for s in range(strategies):
            mean = sums[s] / bars
            check = max(check, root * mean)
            lower = max(lower, root * (mean + offsets[0, s]) * scale[s])
            consistent = max(consistent, root * (mean + offsets[1, s]) * scale[s])
            upper = max(upper, root * (mean + offsets[2, s]) * scale[s])
        out[row, 0] = check
        out[row, 1] = lower
        out[row, 2] = consistent
        out[row, 3] = upper
