"""Permutation test: would these positions have earned as much against the same returns in another order?

The null: which position was held had nothing to do with the return that followed. Then every pairing of positions with
returns was equally likely, and the observed result is compared with what random pairings give. Exposure is the same in
each, so a market that rose on the whole helps the null as much as it helped the strategy: what is tested is timing.
Shuffling the trades instead would leave their mean as it is and test nothing.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from trading.quant.statistics.draws import LARGEST_BOUND, seed_word
from trading.quant.statistics.replication import Floats, p_value
from trading.quant.statistics.shuffles import Fixed, choose_nb, fixed_point, several_nb, single_nb

Counts = npt.NDArray[np.int64]
RARE = 8  # a position held by less than one bar in so many is rare
Statistic = Literal["mean", "sharpe"]


@dataclass(frozen=True, eq=False, slots=True)
class PermutationResult:
    """``observed`` and the ``null`` (shape (replicates,)) in units of the statistic per period; P(null >= observed)."""

    statistic: Statistic
    observed: float
    p_value: float
    null: Floats


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Positions against returns.

    ``positions[t]`` (shape (bars,) or (bars, symbols)) is what was held, as a share of equity, while ``returns[t]``
    (same shape, simple returns) came about: already lagged, as the simulation reports it. With several symbols the
    bars of all are permuted together, which keeps the dependence between symbols. ``statistic``: mean or Sharpe ratio
    (ddof 1, 0 where nothing varies) of the sum over symbols of position times return, per bar and before costs: costs
    follow from the positions and are the same in each permutation.

    The p-value is exact where returns are exchangeable; dependence from bar to bar (clustered volatility) is not kept.
    Source of (1 + #) / (B + 1): Phipson and Smyth (2010).

    Raises ValueError for shapes that differ, fewer than 2 bars, values that are not finite, fewer than 1 replicate.
    """

    positions: Floats
    returns: Floats
    statistic: Statistic = "sharpe"
    replicates: int = 1_000
    seed: int = 0
    _plan: "_Plan" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.statistic not in ("mean", "sharpe"):
            raise ValueError(f"the statistic is 'mean' or 'sharpe', not {self.statistic!r}")
        if self.replicates < 1:
            raise ValueError("at least one replicate is needed")
        seed_word(self.seed)
        object.__setattr__(self, "_plan", _Plan.of(self.positions, self.returns))

    def replicate(self, start: int, stop: int) -> Floats:
        """The statistic of permutations ``start`` ... ``stop - 1``; shape (stop - start, 1)."""
        return self._statistic(self._plan.sums(seed_word(self.seed), start, stop))[:, None]

    def conclude(self, rows: Floats) -> PermutationResult:
        """The p-value of the observed pairing among the permuted ones."""
        observed = float(self._statistic(self._plan.observed[None, :])[0])
        null = rows[:, 0]
        return PermutationResult(self.statistic, observed, p_value(null, observed), null)

    def _statistic(self, sums: Floats) -> Floats:
        """From sums of the returns and of their squares, shape (rows, 2)."""
        bars = self._plan.returns.shape[0]
        mean: Floats = sums[:, 0] / bars
        if self.statistic == "mean":
            return mean
        variance = (sums[:, 1] - sums[:, 0] * mean) / (bars - 1)
        # Sums of squares leave rounding behind where nothing varies.
        varies = variance > 1e-13 * sums[:, 1] / bars
        deviation = np.sqrt(np.where(varies, variance, 1.0))
        ratio: Floats = np.where(varies, mean / deviation, 0.0)
        return ratio


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """What the kernels read. Bars with the most frequent position are not drawn: they take what the others leave."""

    active: Floats  # (drawn bars, symbols): positions of the bars that are drawn for
    base: Floats  # (symbols,): the position of all other bars
    returns: Floats  # (bars, symbols)
    total: Floats  # (2,): sums of base times return, and of its square, over all bars
    observed: Floats  # (2,): the same sums for the pairing that was
    fixed: (
        tuple[tuple[Fixed, int], tuple[Fixed, int]] | None
    )  # returns, squares; where there are two positions, none rare

    @classmethod
    def of(cls, positions: Floats, returns: Floats) -> "_Plan":
        """Check and arrange."""
        held = np.ascontiguousarray(positions, dtype=np.float64)
        earned = np.ascontiguousarray(returns, dtype=np.float64)
        if held.shape != earned.shape or held.ndim not in (1, 2):
            shapes = f"positions {held.shape} and returns {earned.shape}"
            raise ValueError(f"{shapes} must have one shape, (bars,) or (bars, symbols)")
        if held.ndim == 1:
            held, earned = held[:, None], earned[:, None]
        bars, symbols = held.shape
        if not 2 <= bars <= LARGEST_BOUND or symbols < 1:
            raise ValueError(f"{bars} bars of {symbols} symbols are too few to permute: at least 2 bars of 1")
        if not (np.isfinite(held).all() and np.isfinite(earned).all()):
            raise ValueError("positions and returns must be finite: drop or fill the gaps first")
        rows, first, counts = _distinct(held)
        # Of equally frequent ones the earliest: the order of the symbols must not matter.
        usual = int(np.flatnonzero(counts == counts.max())[np.argmin(first[counts == counts.max()])])
        base = rows[usual]
        two = symbols == 1 and len(rows) == 2 and RARE * counts.min() >= bars
        flat, result = (earned * base).sum(axis=1), (earned * held).sum(axis=1)
        return cls(
            active=np.ascontiguousarray(held[(held != base).any(axis=1)]),
            base=base,
            returns=np.array(earned, order="C"),  # a copy: the caller's may change, or be read-only
            total=np.array([flat.sum(), (flat**2).sum()]),
            observed=np.array([result.sum(), (result**2).sum()]),
            fixed=(fixed_point(earned[:, 0]), fixed_point(earned[:, 0] ** 2)) if two else None,
        )

    def sums(self, seed: np.uint64, start: int, stop: int) -> Floats:
        """Sums of permuted results and of their squares, shape (stop - start, 2), by the kernel that suits."""
        out = np.empty((stop - start, 2))
        if self.fixed is not None:
            (first, scale), (second, scale_square) = self.fixed
            drawn = np.empty((stop - start, 2), dtype=np.int64)
            choose_nb(first, second, self.active.shape[0], seed, start, drawn)
            other, base = float(self.active[0, 0]), float(self.base[0])
            out[:, 0] = np.ldexp(drawn[:, 0].astype(np.float64), -scale) * (other - base)
            out[:, 1] = np.ldexp(drawn[:, 1].astype(np.float64), -scale_square) * (other**2 - base**2)
        elif self.returns.shape[1] == 1:
            active = self.active[:, 0]
            single_nb(active - self.base, active**2 - self.base**2, self.returns[:, 0], seed, start, out)
        else:
            several_nb(self.active, self.base, self.returns, seed, start, out)
        return out + self.total


def _distinct(held: Floats) -> tuple[Floats, Counts, Counts]:
    """The distinct rows, where each comes first, and how often it comes."""
    if held.shape[1] > 1:
        rows, first, counts = np.unique(held, axis=0, return_index=True, return_counts=True)
        return rows, first, counts
    values, counts = np.unique(held[:, 0], return_counts=True)
    return values[:, None], np.arange(len(values)), counts  # of one symbol the order is that of size
