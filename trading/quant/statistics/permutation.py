"""Permutation test: would these positions have earned as much against the same returns in another order?

The null: which position was held had nothing to do with the return that followed. Then every pairing of positions with
returns was equally likely, and the observed result is compared with what random pairings give. Exposure is the same in
each, so a market that rose on the whole helps the null as much as it helped the strategy: what is tested is timing.
Shuffling the trades instead would leave their mean as it is and test nothing.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from trading.quant.statistics.draws import LARGEST_BOUND, seed_word
from trading.quant.statistics.replication import Floats, p_value
from trading.quant.statistics.shuffles import Counts, Fixed, fixed_point, levels_nb, several_nb, single_nb

SELDOM = 20
"""The most frequent size is left out of the shuffle when at least one bar in so many has it; else only 0 is."""
SAMPLE = 400
"""So many bars, evenly spread, show whether any size is frequent: to sort all of them takes as long as 20 shuffles."""
RARE = 8
"""A size held by less than one bar in so many is rare."""
WORTH = 0.15
"""`levels_nb` takes for each size but the usual one as long as a shuffle for this share of the bars."""
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
class _Sizes:
    """The distinct rows of positions, how many bars have each, and which is the most frequent."""

    rows: Floats  # (sizes, symbols)
    counts: Counts  # (sizes,)
    usual: int

    def are_few(self) -> bool:
        """Whether there are several and none is rare."""
        return len(self.rows) > 1 and RARE * int(self.counts.min()) >= int(self.counts.sum())


@dataclass(frozen=True, eq=False, slots=True)
class _Levels:
    """A few sizes of position, the usual one last, and the returns and their squares as whole numbers."""

    wanted: Counts  # (sizes,): bars of each
    excess: Floats  # (sizes - 1, 2): each size less the usual one, and the same of their squares
    values: Fixed
    squares: Fixed
    exponents: tuple[int, int]

    @classmethod
    def of(cls, sizes: _Sizes, returns: Floats) -> "_Levels":
        others = np.arange(len(sizes.rows)) != sizes.usual
        (values, first), (squares, second) = fixed_point(returns), fixed_point(returns**2)
        kept, base, counts = sizes.rows[others, 0], sizes.rows[sizes.usual, 0], sizes.counts
        return cls(
            wanted=np.append(counts[others], counts[sizes.usual]).astype(np.int64),
            excess=np.column_stack([kept - base, kept**2 - base**2]),
            values=values,
            squares=squares,
            exponents=(first, second),
        )

    def add(self, seed: np.uint64, start: int, out: Floats) -> None:
        """Add the sums of replicates ``start`` and after, as `_Plan.sums` has them."""
        drawn = np.empty((out.shape[0], len(self.excess), 2), dtype=np.int64)
        levels_nb(self.values, self.squares, self.wanted, seed, start, drawn)
        for kind, excess in enumerate(self.excess):
            for column, exponent in enumerate(self.exponents):
                out[:, column] += np.ldexp(drawn[:, kind, column].astype(np.float64), -exponent) * excess[column]


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """What the kernels read. Bars with the ``base`` position are not drawn: they take what the others leave."""

    active: Floats  # (drawn bars, symbols): positions of the bars that are drawn for
    base: Floats  # (symbols,): the position of all other bars: the most frequent, or none at all
    returns: Floats  # (bars, symbols)
    total: Floats  # (2,): sums of base times return, and of its square, over all bars
    observed: Floats  # (2,): the same sums for the pairing that was
    levels: "_Levels | None"  # where a few sizes are held, none rarely

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
        sizes = _sizes(held)
        base = np.zeros(1) if sizes is None else sizes.rows[sizes.usual]
        active = np.ascontiguousarray(held[(held != base).any(axis=1)])
        levels = None
        if (
            sizes is not None
            and symbols == 1
            and sizes.are_few()
            and len(active) >= WORTH * (len(sizes.rows) - 1) * bars
        ):
            levels = _Levels.of(sizes, earned[:, 0])
        flat, result = (earned * base).sum(axis=1), (earned * held).sum(axis=1)
        return cls(
            active=active,
            base=base,
            returns=np.array(earned, order="C"),  # a copy: the caller's may change, or be read-only
            total=np.array([flat.sum(), (flat**2).sum()]),
            observed=np.array([result.sum(), (result**2).sum()]),
            levels=levels,
        )

    def sums(self, seed: np.uint64, start: int, stop: int) -> Floats:
        """Sums of permuted results and of their squares, shape (stop - start, 2), by the kernel that suits."""
        out = np.zeros((stop - start, 2))
        if self.levels is not None:
            self.levels.add(seed, start, out)
        elif self.returns.shape[1] == 1 and self.base[0] == 0.0:
            single_nb(self.active[:, 0], self.returns[:, 0], seed, start, out)
        else:
            several_nb(self.active, self.base, self.returns, seed, start, out)
        return out + self.total


def _sizes(held: Floats) -> _Sizes | None:
    """The sizes that are held; None for one symbol that holds none of them often."""
    for some in (held[:: max(len(held) // SAMPLE, 1)], held):
        rows, first, counts = _distinct(some)
        if held.shape[1] == 1 and SELDOM * counts.max() < len(some):
            return None
    often = np.flatnonzero(counts == counts.max())
    # Of equally frequent ones the earliest: the order of the symbols must not matter.
    return _Sizes(rows, counts, int(often[np.argmin(first[often])]))


def _distinct(held: Floats) -> tuple[Floats, Counts, Counts]:
    """The distinct rows, where each comes first, and how often it comes."""
    if held.shape[1] > 1:
        rows, first, counts = np.unique(held, axis=0, return_index=True, return_counts=True)
        return rows, first, counts
    values, counts = np.unique(held[:, 0], return_counts=True)
    return values[:, None], np.arange(len(values)), counts  # of one symbol the order is that of size
