"""Probability of backtest overfitting: how often the best of a search is below average where it was not chosen.

Source: Bailey, Borwein, López de Prado and Zhu (2017), "The probability of backtest overfitting", Journal of
Computational Finance 20(4): combinatorially symmetric cross-validation (CSCV).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from trading.quant.statistics.replication import Floats

Performance = Literal["sharpe", "mean"]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class OverfittingResult:
    """Over all ways to choose half of the blocks as in sample; arrays of shape (combinations,).

    ``pbo``: share of the combinations whose best in sample ranks in the lower half out of sample (logit <= 0).
    ``logits``: log odds of that relative rank. ``in_sample``, ``out_of_sample``: the chosen strategy's performance.
    ``degradation``: slope of out of sample on in sample; negative where the better fit is the worse forecast, nan where
    all combinations fit alike. ``loss_probability``: share of the combinations in which the chosen one loses out of
    sample.
    """

    pbo: float
    logits: Floats
    in_sample: Floats
    out_of_sample: Floats
    degradation: float
    loss_probability: float


@dataclass(frozen=True, eq=False, slots=True)
class BlockSums:
    """All that the cross-validation needs of the returns: it can be made of some strategies at a time and joined.

    ``values``: shape (2, blocks, strategies), the sums of the returns and of their squares in each block of ``bars``.
    """

    values: Floats
    bars: int

    @classmethod
    def of(cls, returns: Floats, blocks: int) -> "BlockSums":
        """Of ``returns``, shape (bars, strategies); the oldest bars that do not fill a block are left out.

        Raises ValueError for fewer than 2 bars a block and for values that are not finite.
        """
        values = np.ascontiguousarray(returns, dtype=np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise ValueError("returns are finite, of shape (bars, strategies), with at least 2 strategies in all")
        size = values.shape[0] // blocks
        if size < 2:
            raise ValueError(f"{values.shape[0]} bars are too few for {blocks} blocks: at least 2 bars each")
        cut = values[values.shape[0] - size * blocks :].reshape(blocks, size, -1)
        return cls(np.ascontiguousarray(np.stack([cut.sum(axis=1), (cut**2).sum(axis=1)])), size)

    @classmethod
    def joined(cls, parts: Sequence["BlockSums"]) -> "BlockSums":
        """Those of all strategies, in the order of ``parts``, which are of the same bars."""
        return cls(np.ascontiguousarray(np.concatenate([part.values for part in parts], axis=2)), parts[0].bars)

    def require_several(self) -> None:
        """Raise ValueError for fewer than 2 strategies: one is no search."""
        if self.values.shape[2] < 2:
            raise ValueError("returns are of shape (bars, strategies), with at least 2 strategies")


def _check(blocks: int, performance: str) -> None:
    if not 2 <= blocks <= 20 or blocks % 2:
        raise ValueError(f"the number of blocks is even and between 2 and 20, {blocks} is not")
    if performance not in ("sharpe", "mean"):
        raise ValueError(f"performance is 'sharpe' or 'mean', not {performance!r}")


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """``returns``: per period of every strategy that was tried, shape (bars, strategies); leaving some out is cheating.

    The bars are cut in ``blocks`` equal blocks in time; the oldest bars that do not fill one are left out. There is no
    drawing: the replicates are the combinations in lexicographic order. Performance: Sharpe ratio (ddof 1; 0 where
    nothing varies) or mean per period. Equal performance shares its ranks.

    Raises ValueError for fewer than 2 strategies, an odd number of blocks or one outside 2 ... 20, fewer than 2 bars a
    block, values that are not finite.
    """

    returns: Floats
    blocks: int = 16
    performance: Performance = "sharpe"
    sums: "BlockSums" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self.blocks, self.performance)
        object.__setattr__(self, "sums", BlockSums.of(self.returns, self.blocks))
        self.sums.require_several()

    @classmethod
    def of_sums(cls, sums: "BlockSums", performance: Performance = "sharpe") -> "CrossValidation":
        """From what is left of the returns once they have been added up block by block."""
        blocks = sums.values.shape[1]
        _check(blocks, performance)
        sums.require_several()
        made = object.__new__(cls)
        for name, value in (("returns", np.empty((0, 0))), ("blocks", blocks), ("performance", performance)):
            object.__setattr__(made, name, value)
        object.__setattr__(made, "sums", sums)
        return made

    @property
    def replicates(self) -> int:
        """How many ways there are to choose half of the blocks."""
        return math.comb(self.blocks, self.blocks // 2)

    def replicate(self, start: int, stop: int) -> Floats:
        """Combinations ``start`` ... ``stop - 1``: logit, performance in sample, out of sample of the chosen."""
        rows = np.empty((stop - start, 3))
        bars = self.sums.bars * (self.blocks // 2)
        chosen = combination(start, self.blocks)
        cross_validate_nb(self.sums.values, chosen, float(bars), self.performance == "sharpe", rows)
        return rows

    def conclude(self, rows: Floats) -> OverfittingResult:
        """The probability, from all combinations."""
        logits, inside, outside = rows[:, 0], rows[:, 1], rows[:, 2]
        apart = inside - inside.mean()
        spread = float((apart**2).sum())
        return OverfittingResult(
            pbo=float(np.mean(logits <= 0.0)),
            logits=logits,
            in_sample=inside,
            out_of_sample=outside,
            degradation=float((apart * outside).sum()) / spread if spread > 0.0 else float("nan"),
            loss_probability=float(np.mean(outside < 0.0)),
        )


def combination(rank: int, blocks: int) -> Counts:
    """The ``rank``-th choice of half of ``blocks`` in lexicographic order: ascending indices, shape (blocks / 2,)."""
    chosen, block, left = [], 0, blocks // 2
    while left:
        with_this = math.comb(blocks - block - 1, left - 1)
        if rank < with_this:
            chosen.append(block)
            left -= 1
        else:
            rank -= with_this
        block += 1
    return np.array(chosen, dtype=np.int64)


@njit(cache=True, nogil=True)
def cross_validate_nb(sums: Floats, chosen: Counts, bars: float, sharpe: bool, out: Floats) -> None:
    """One combination a row, beginning with ``chosen`` (which is changed); columns as `CrossValidation.replicate`."""
    blocks, strategies = sums.shape[1], sums.shape[2]
    half = blocks // 2
    inside = np.empty((2, strategies))
    other = np.empty((2, strategies))
    taken = np.empty(blocks, dtype=np.bool_)
    outside = np.empty(strategies)
    for row in range(out.shape[0]):
        inside[:] = 0.0
        other[:] = 0.0
        taken[:] = False
        for i in range(half):
            taken[chosen[i]] = True
        for block in range(blocks):
            into = inside if taken[block] else other
            for s in range(strategies):
                into[0, s] += sums[0, block, s]
                into[1, s] += sums[1, block, s]
        best, best_value = 0, -np.inf
        for s in range(strategies):
            value = performance_nb(inside[0, s], inside[1, s], bars, sharpe)
            outside[s] = performance_nb(other[0, s], other[1, s], bars, sharpe)
            if value > best_value:
                best, best_value = s, value
        below, equal = 0, 0
        for s in range(strategies):
            if outside[s] < outside[best]:
                below += 1
            elif outside[s] == outside[best]:
                equal += 1
        rank = below + (equal + 1) / 2.0
        share = rank / (strategies + 1)
        out[row, 0] = np.log(share / (1.0 - share))
        out[row, 1] = best_value
        out[row, 2] = outside[best]
        # The next combination: the last index that can move moves, those after it follow close.
        i = half - 1
        while i >= 0 and chosen[i] == blocks - half + i:
            i -= 1
        if i >= 0:
            chosen[i] += 1
            for j in range(i + 1, half):
                chosen[j] = chosen[j - 1] + 1


@njit(cache=True, nogil=True, inline="always")
def performance_nb(first: float, second: float, bars: float, sharpe: bool) -> float:
    """Mean, or Sharpe ratio with ddof 1, from the sums of returns and of their squares."""
    mean = first / bars
    if not sharpe:
        return mean
    variance = (second - first * mean) / (bars - 1.0)
    if variance * bars <= 1e-13 * second:  # sums leave rounding behind where nothing varies
        return 0.0
    return float(mean / np.sqrt(variance))
