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
from numba import njit

from trading.quant.statistics.draws import LARGEST_BOUND, below_nb, seed_word, stream_nb
from trading.quant.statistics.replication import Floats, p_value

Statistic = Literal["mean", "sharpe"]


@dataclass(frozen=True, slots=True)
class PermutationResult:
    """``observed`` and the ``null`` (shape (replicates,)) in units of the statistic per period; P(null >= observed)."""

    statistic: Statistic
    observed: float
    p_value: float
    null: Floats


@dataclass(frozen=True)
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
        object.__setattr__(self, "_plan", _plan(self.positions, self.returns))

    def replicate(self, start: int, stop: int) -> Floats:
        """The statistic of permutations ``start`` ... ``stop - 1``; shape (stop - start, 1)."""
        plan = self._plan
        sums = np.empty((stop - start, 2))
        if plan.returns.shape[1] == 1:
            single_nb(
                plan.active[:, 0], plan.base[0], plan.returns[:, 0], plan.total, seed_word(self.seed), start, sums
            )
        else:
            several_nb(plan.active, plan.base, plan.returns, plan.total, seed_word(self.seed), start, sums)
        return self._statistic(sums)[:, None]

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


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the kernels read. Bars with the most frequent position are not drawn: they take what the others leave."""

    active: Floats  # (drawn bars, symbols): positions of the bars that are drawn for
    base: Floats  # (symbols,): the position of all other bars
    returns: Floats  # (bars, symbols)
    total: Floats  # (2,): sums of base times return, and of its square, over all bars
    observed: Floats  # (2,): the same sums for the pairing that was


def _plan(positions: Floats, returns: Floats) -> _Plan:
    """Check and arrange."""
    held = np.asarray(positions, dtype=np.float64)
    earned = np.asarray(returns, dtype=np.float64)
    if held.shape != earned.shape or held.ndim not in (1, 2):
        raise ValueError(
            f"positions {held.shape} and returns {earned.shape} must have one shape, (bars,) or (bars, symbols)"
        )
    if held.ndim == 1:
        held, earned = held[:, None], earned[:, None]
    if held.shape[0] < 2 or held.shape[0] > LARGEST_BOUND or held.shape[1] < 1:
        raise ValueError(
            f"{held.shape[0]} bars of {held.shape[1]} symbols are too few to permute: at least 2 bars of 1"
        )
    if not (np.isfinite(held).all() and np.isfinite(earned).all()):
        raise ValueError("positions and returns must be finite: drop or fill the gaps first")
    base, drawn = _most_frequent(held)
    flat, result = earned @ base, np.einsum("ts,ts->t", held, earned)
    return _Plan(
        active=np.ascontiguousarray(held[drawn]),
        base=base,
        returns=np.ascontiguousarray(earned),
        total=np.array([flat.sum(), flat @ flat]),
        observed=np.array([result.sum(), result @ result]),
    )


def _most_frequent(held: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The most frequent row (of several symbols: the earliest of equals), and which rows differ from it."""
    if held.shape[1] == 1:
        values, times = np.unique(held[:, 0], return_counts=True)
        base = values[[int(np.argmax(times))]]
        return base, held[:, 0] != base[0]
    _, first, counts = np.unique(held, axis=0, return_index=True, return_counts=True)
    base = held[first[counts == counts.max()].min()]
    return base, (held != base).any(axis=1)


@njit(cache=True, nogil=True)
def single_nb(
    active: Floats, base: float, returns: Floats, total: Floats, seed: np.uint64, start: int, out: Floats
) -> None:
    """Sums of one symbol's permuted results and of their squares: row i of ``out`` is replicate ``start + i``.

    A partial Fisher-Yates shuffle: only as many returns are drawn as bars are active. Two accumulators, in a fixed
    order, hide the latency of the additions.
    """
    bars, drawn = returns.shape[0], active.shape[0]
    left = np.empty(bars)
    picks = np.empty(drawn + drawn % 2, dtype=np.uint32)
    sparse = 4 * drawn < bars
    left[:] = returns
    for row in range(out.shape[0]):
        below_nb(stream_nb(seed, start + row), bars, 1, picks)
        sum_a = square_a = sum_b = square_b = 0.0
        for h in range(drawn // 2):
            i = 2 * h
            j = np.uint64(i) + picks[i]
            x, y = active[i] * left[j], base * left[j]
            left[j] = left[i]
            sum_a += x - y
            square_a += (x - y) * (x + y)
            i += 1
            j = np.uint64(i) + picks[i]
            x, y = active[i] * left[j], base * left[j]
            left[j] = left[i]
            sum_b += x - y
            square_b += (x - y) * (x + y)
        if drawn % 2:
            i = drawn - 1
            j = np.uint64(i) + picks[i]
            x, y = active[i] * left[j], base * left[j]
            left[j] = left[i]
            sum_a += x - y
            square_a += (x - y) * (x + y)
        out[row, 0] = total[0] + (sum_a + sum_b)
        out[row, 1] = total[1] + (square_a + square_b)
        if sparse:
            for i in range(drawn):
                j = np.uint64(i) + picks[i]
                left[j] = returns[j]
        else:
            left[:] = returns


@njit(cache=True, nogil=True)
def several_nb(
    active: Floats, base: Floats, returns: Floats, total: Floats, seed: np.uint64, start: int, out: Floats
) -> None:
    """As `single_nb` for several symbols: whole rows of ``returns`` are drawn."""
    bars, drawn, symbols = returns.shape[0], active.shape[0], returns.shape[1]
    left = np.empty(bars, dtype=np.uint32)
    picks = np.empty(drawn + drawn % 2, dtype=np.uint32)
    for row in range(out.shape[0]):
        below_nb(stream_nb(seed, start + row), bars, 1, picks)
        for i in range(bars):
            left[i] = np.uint32(i)
        total_sum = total_square = 0.0
        for i in range(drawn):
            j = np.uint64(i) + picks[i]
            bar = left[j]
            left[j] = left[i]
            x = y = 0.0
            for s in range(symbols):
                x += active[i, s] * returns[bar, s]
                y += base[s] * returns[bar, s]
            total_sum += x - y
            total_square += (x - y) * (x + y)
        out[row, 0] = total[0] + total_sum
        out[row, 1] = total[1] + total_square
