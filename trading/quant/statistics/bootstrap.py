"""Stationary bootstrap of returns: how else mean, Sharpe ratio, final equity and drawdown could have come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from trading.quant.statistics.blocks import begin_chance, block_length
from trading.quant.statistics.draws import LARGEST_BOUND, seed_word
from trading.quant.statistics.paths import paths_nb, sums_nb
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
            paths_nb(plan.twice, plan.mean, plan.chance, seed, start, sums)
        else:
            sums_nb(plan.prefix, plan.chance, seed, start, sums)
        return self._measures(sums)

    def conclude(self, rows: Floats) -> BootstrapResult:
        """Observed measures beside their draws."""
        plan = self._plan
        observed = self._measures(plan.observed[None, :])[0]
        estimates = {name: Estimate(float(observed[i]), rows[:, i]) for i, name in enumerate(self.measures)}
        return BootstrapResult(plan.mean_length, estimates)

    def _measures(self, sums: Floats) -> Floats:
        """From rows of: sums of centred returns and of their squares; final equity; drawdown."""
        plan = self._plan
        bars = plan.twice.shape[0] // 2
        shift = sums[:, 0] / bars
        mean = plan.mean + shift
        variance = (sums[:, 1] - sums[:, 0] * shift) / (bars - 1)
        varies = variance > 1e-26 * max(plan.largest, 0.0) ** 2
        sharpe = np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
        by_name = {"mean": mean, "sharpe": sharpe, "final_equity": sums[:, 2], "drawdown": sums[:, 3]}
        return np.stack([by_name[name] for name in self.measures], axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """What the kernels read; made once."""

    mean: float
    largest: float
    mean_length: float
    compounds: bool
    chance: np.uint64  # that a bar begins a block, times 2**32
    twice: Floats  # (2 bars,): the returns, and once more
    prefix: Floats  # (2 bars + 1, 2): running sums, twice round, of centred returns and of their squares
    observed: Floats

    @classmethod
    def of(cls, values: Floats, mean_length: float, *, compounds: bool) -> "_Plan":
        mean = float(values.mean())
        centred, twice = values - mean, np.concatenate([values, values])
        prefix = np.zeros((len(twice) + 1, 2))
        np.cumsum(np.stack([twice - mean, (twice - mean) ** 2], axis=1), axis=0, out=prefix[1:])
        observed = np.array([centred.sum(), (centred**2).sum(), 0.0, 0.0])
        if compounds:
            equity = np.concatenate([[1.0], np.cumprod(1.0 + values)])
            observed[2], observed[3] = equity[-1], np.max(1.0 - equity / np.maximum.accumulate(equity))
        largest = float(np.abs(values).max())
        return cls(mean, largest, mean_length, compounds, begin_chance(mean_length), twice, prefix, observed)
