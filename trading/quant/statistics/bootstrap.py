"""Stationary bootstrap of returns: how else mean, Sharpe ratio, final equity and drawdown could have come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numba import njit

from trading.quant.statistics.blocks import Guide, Thresholds, block_length, blocks_nb, length_table
from trading.quant.statistics.draws import LARGEST_BOUND, seed_word, stream_nb
from trading.quant.statistics.replication import Floats

Measure = Literal["mean", "sharpe", "final_equity", "drawdown"]
MEASURES: tuple[Measure, ...] = ("mean", "sharpe", "final_equity", "drawdown")


@dataclass(frozen=True, slots=True)
class Interval:
    """``low`` ... ``high`` at confidence ``level``."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, eq=False, slots=True)
class Estimate:
    """One measure: what was ``observed``, and its ``draws`` over the replicates, shape (replicates,)."""

    observed: float
    draws: Floats

    @property
    def standard_error(self) -> float:
        """Standard deviation of the draws (ddof 1); nan for a single one."""
        return float(self.draws.std(ddof=1)) if len(self.draws) > 1 else float("nan")

    def percentile(self, level: float = 0.95) -> Interval:
        """The middle ``level`` of the draws. For what is not symmetric or has a bound (final equity, drawdown)."""
        low, high = np.quantile(self.draws, _ends(level))
        return Interval(float(low), float(high), level)

    def basic(self, level: float = 0.95) -> Interval:
        """The draws' deviations reflected about the observed: what corrects a bias. For mean and Sharpe ratio.

        Source: Davison and Hinkley (1997), "Bootstrap methods and their application", section 5.2.
        """
        low, high = np.quantile(self.draws, _ends(level))
        return Interval(float(2 * self.observed - high), float(2 * self.observed - low), level)


def _ends(level: float) -> tuple[float, float]:
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level lies between 0 and 1, {level} does not")
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0


@dataclass(frozen=True, eq=False, slots=True)
class BootstrapResult:
    """The mean ``block_length`` that was used, in bars, and an estimate for each measure that was asked for."""

    block_length: float
    estimates: Mapping[Measure, Estimate]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Replicates of ``returns`` (simple, per period, shape (bars,)) by the stationary bootstrap.

    ``block_length``: mean length of a block in bars; by Politis and White when not given. Measures: mean and Sharpe
    ratio (ddof 1, not annualised) per period; final equity of 1 unit; drawdown, the largest 1 - equity / its running
    maximum, the beginning included. Dependence shorter than a block is kept, longer dependence is not. Source: Politis
    and Romano (1994), JASA 89.

    Raises ValueError for fewer than 10 bars, values that are not finite, unknown measures, fewer than 1 replicate, and
    returns of -100% or less where final equity or drawdown are asked for.
    """

    returns: Floats
    replicates: int = 1_000
    seed: int = 0
    block_length: float | None = None
    measures: tuple[Measure, ...] = MEASURES
    _plan: "_Plan" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.returns, dtype=np.float64)
        if values.ndim != 1 or not 10 <= values.shape[0] <= LARGEST_BOUND // 2 or not np.isfinite(values).all():
            raise ValueError("a bootstrap needs one series of at least 10 finite returns")
        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown or not self.measures:
            raise ValueError(f"measures are some of {', '.join(MEASURES)}; unknown: {', '.join(unknown) or 'none'}")
        if self.replicates < 1:
            raise ValueError("at least one replicate is needed")
        seed_word(self.seed)
        compounds = "final_equity" in self.measures or "drawdown" in self.measures
        if compounds and values.min() <= -1.0:
            raise ValueError("a return of -100% or less leaves no equity to compound: ask for mean and sharpe only")
        mean_length = block_length(values) if self.block_length is None else float(self.block_length)
        object.__setattr__(self, "_plan", _Plan.of(values, mean_length, compounds=compounds))

    def replicate(self, start: int, stop: int) -> Floats:
        """The measures of replicates ``start`` ... ``stop - 1``; shape (stop - start, measures), in their order."""
        plan, seed = self._plan, seed_word(self.seed)
        sums = np.zeros((stop - start, 4))
        if plan.compounds:
            paths_nb(plan.prefix, plan.windows, plan.thresholds, plan.guide, seed, start, sums)
        else:
            sums_nb(plan.prefix, plan.thresholds, plan.guide, seed, start, sums)
        return self._measures(sums)

    def conclude(self, rows: Floats) -> BootstrapResult:
        """Observed measures beside their draws."""
        plan = self._plan
        observed = self._measures(plan.observed[None, :])[0]
        estimates = {name: Estimate(float(observed[i]), rows[:, i]) for i, name in enumerate(self.measures)}
        return BootstrapResult(plan.mean_length, estimates)

    def _measures(self, sums: Floats) -> Floats:
        """From rows of: sums of centred returns, of their squares, of log returns; the largest fall of log equity."""
        plan = self._plan
        bars = (plan.prefix.shape[0] - 1) // 2
        shift = sums[:, 0] / bars
        mean = plan.mean + shift
        variance = (sums[:, 1] - sums[:, 0] * shift) / (bars - 1)
        varies = variance > 1e-26 * max(plan.largest, 0.0) ** 2
        sharpe = np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
        by_name = {
            "mean": mean,
            "sharpe": sharpe,
            "final_equity": np.exp(sums[:, 2]),
            "drawdown": -np.expm1(-sums[:, 3]),
        }
        return np.stack([by_name[name] for name in self.measures], axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """What the kernels read; made once."""

    mean: float
    largest: float
    mean_length: float
    compounds: bool
    prefix: Floats  # (2 bars + 1, 2): running sums, twice round, of centred returns and of their squares
    windows: Floats  # (width, bars, 4): log equity over 1 ... width bars from each bar: change, top, bottom, fall
    thresholds: Thresholds
    guide: Guide
    observed: Floats

    @classmethod
    def of(cls, values: Floats, mean_length: float, *, compounds: bool) -> "_Plan":
        bars, mean = values.shape[0], float(values.mean())
        centred = values - mean
        prefix = np.zeros((2 * bars + 1, 2))
        for column, series in enumerate((centred, centred**2)):
            np.cumsum(np.concatenate([series, series]), out=prefix[1:, column])
        observed = np.array([centred.sum(), (centred**2).sum(), 0.0, 0.0])
        # Short blocks in one step each; the table stays small enough for the processor's caches.
        width = max(1, min(16, 80_000 // bars))
        windows = np.empty((width, bars if compounds else 0, 4))
        if compounds:
            logs = np.log1p(values)
            windows_nb(logs, windows)
            equity = np.concatenate([[0.0], np.cumsum(logs)])
            observed[2], observed[3] = equity[-1], np.max(np.maximum.accumulate(equity) - equity)
        thresholds, guide = length_table(mean_length, bars)
        largest = float(np.abs(values).max())
        return cls(mean, largest, mean_length, compounds, prefix, windows, thresholds, guide, observed)


@njit(cache=True, nogil=True)
def sums_nb(prefix: Floats, thresholds: Thresholds, guide: Guide, seed: np.uint64, start: int, out: Floats) -> None:
    """Sums over each replicate from differences of running sums, one a block: row i is replicate ``start + i``."""
    bars = (prefix.shape[0] - 1) // 2
    starts = np.empty(bars + 256, dtype=np.uint32)
    lengths = np.empty(bars + 256, dtype=np.uint32)
    for row in range(out.shape[0]):
        count = blocks_nb(stream_nb(seed, start + row), bars, thresholds, guide, starts, lengths)
        first, second = 0.0, 0.0
        for h in range(count):
            begin = np.uint64(starts[h])
            end = begin + np.uint64(lengths[h])
            first += prefix[end, 0] - prefix[begin, 0]
            second += prefix[end, 1] - prefix[begin, 1]
        out[row, 0] = first
        out[row, 1] = second


@njit(cache=True, nogil=True)
def paths_nb(
    prefix: Floats, windows: Floats, thresholds: Thresholds, guide: Guide, seed: np.uint64, start: int, out: Floats
) -> None:
    """As `sums_nb`, with the change of log equity and its largest fall, put together from windows of the series."""
    width, bars = windows.shape[0], windows.shape[1]
    starts = np.empty(bars + 256, dtype=np.uint32)
    lengths = np.empty(bars + 256, dtype=np.uint32)
    steps = windows.reshape(-1, 4)
    around, wide, one = np.uint64(bars), np.uint64(width), np.uint64(1)
    for row in range(out.shape[0]):
        count = blocks_nb(stream_nb(seed, start + row), bars, thresholds, guide, starts, lengths)
        first, second = 0.0, 0.0
        level, top, fall = 0.0, 0.0, 0.0
        for h in range(count):
            bar, left = np.uint64(starts[h]), np.uint64(lengths[h])
            end = bar + left
            first += prefix[end, 0] - prefix[bar, 0]
            second += prefix[end, 1] - prefix[bar, 1]
            while left > 0:
                taken = wide if left > wide else left
                step = (taken - one) * around + bar
                within, across = steps[step, 3], top - (level + steps[step, 2])
                # Branches, not max(): they are seldom taken, and so do not wait for one another.
                if within > fall:
                    fall = within
                if across > fall:
                    fall = across
                if level + steps[step, 1] > top:
                    top = level + steps[step, 1]
                level += steps[step, 0]
                left -= taken
                bar += taken
                if bar >= around:
                    bar -= around
        out[row, 0] = first
        out[row, 1] = second
        out[row, 2] = level
        out[row, 3] = fall


@njit(cache=True, nogil=True)
def windows_nb(logs: Floats, out: Floats) -> None:
    """``out[j, s]``: over the j + 1 bars from s, round the end: change of log equity, its top, bottom, largest fall.

    Top and bottom are taken after the first bar and relative to what was before it.
    """
    bars = logs.shape[0]
    for s in range(bars):
        level = fall = 0.0
        top, bottom = -np.inf, np.inf
        for j in range(out.shape[0]):
            level += logs[(s + j) % bars]
            top, bottom = max(top, level), min(bottom, level)
            fall = max(fall, top - level)
            out[j, s, 0], out[j, s, 1], out[j, s, 2], out[j, s, 3] = level, top, bottom, fall
