"""Monte Carlo of trades: the same trades in another order, or other trades like these.

Without replacement only the path changes: each order ends at the same equity, and what is learnt is how much of the
drawdown was the luck of the order. With replacement the end changes too: what is learnt is how far the result hung on
the few trades that were made. Neither says whether the trades were better than chance: that is the permutation test.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from trading.quant.statistics.bootstrap import Estimate
from trading.quant.statistics.draws import LARGEST_BOUND, below_nb, seed_word, stream_nb
from trading.quant.statistics.replication import Floats, p_value


@dataclass(frozen=True, eq=False, slots=True)
class TradesResult:
    """Final equity of 1 unit and drawdown, over the replicates.

    ``drawdown_rank``: (1 + how many replicates fell at least as far as what was observed) / (1 + replicates). Near 1,
    the order that happened was a kind one.
    """

    with_replacement: bool
    final_equity: Estimate
    drawdown: Estimate
    drawdown_rank: float

    def probability_of_loss(self) -> float:
        """Share of the replicates that end below 1. Without replacement it is 0 or 1."""
        return float(np.mean(self.final_equity.draws < 1.0))

    def probability_of_drawdown(self, limit: float) -> float:
        """Share of the replicates with a drawdown of ``limit`` (a fraction of equity) or more."""
        return float(np.mean(self.drawdown.draws >= limit))


@dataclass(frozen=True, eq=False)
class TradesMonteCarlo:
    """``trades``: the return of each trade on the whole equity, shape (trades,), compounded one after the other.

    Trades are taken as independent of each other and not overlapping; where they cluster or overlap, bootstrap the
    returns per bar instead. Raises ValueError for fewer than 2 trades, values that are not finite or not above -100%,
    fewer than 1 replicate.
    """

    trades: Floats
    with_replacement: bool
    replicates: int = 1_000
    seed: int = 0
    _logs: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.trades, dtype=np.float64)
        if values.ndim != 1 or not 2 <= values.shape[0] <= LARGEST_BOUND or not np.isfinite(values).all():
            raise ValueError("a Monte Carlo of trades needs the finite returns of at least 2 trades")
        if values.min() <= -1.0:
            raise ValueError("a trade that loses all equity leaves none for the next: size the trades first")
        if self.replicates < 1:
            raise ValueError("at least one replicate is needed")
        seed_word(self.seed)
        object.__setattr__(self, "_logs", np.log1p(values))

    def replicate(self, start: int, stop: int) -> Floats:
        """Final equity and drawdown of replicates ``start`` ... ``stop - 1``; shape (stop - start, 2)."""
        paths = np.empty((stop - start, 2))
        trades_nb(self._logs, self.with_replacement, seed_word(self.seed), start, paths)
        if not self.with_replacement:
            paths[:, 0] = self._logs.sum()  # the same trades; adding them in another order would only round otherwise
        return _measures(paths)

    def conclude(self, rows: Floats) -> TradesResult:
        """Observed measures beside their draws."""
        path = np.concatenate([[0.0], np.cumsum(self._logs)])
        observed = _measures(np.array([[self._logs.sum(), np.max(np.maximum.accumulate(path) - path)]]))[0]
        return TradesResult(
            with_replacement=self.with_replacement,
            final_equity=Estimate(float(observed[0]), rows[:, 0]),
            drawdown=Estimate(float(observed[1]), rows[:, 1]),
            drawdown_rank=p_value(rows[:, 1], float(observed[1])),
        )


def _measures(paths: Floats) -> Floats:
    """From the change of log equity and its largest fall to final equity and drawdown."""
    return np.stack([np.exp(paths[:, 0]), -np.expm1(-paths[:, 1])], axis=1)


@njit(cache=True, nogil=True)
def trades_nb(logs: Floats, with_replacement: bool, seed: np.uint64, start: int, out: Floats) -> None:
    """Change and largest fall of log equity over each replicate's trades: row i is replicate ``start + i``."""
    count = logs.shape[0]
    picks = np.empty(count + count % 2, dtype=np.uint32)
    left = np.empty(count)
    step = 0 if with_replacement else 1
    for row in range(out.shape[0]):
        below_nb(stream_nb(seed, start + row), count, step, picks)
        left[:] = logs
        level, top, fall = 0.0, 0.0, 0.0
        for i in range(count):
            if with_replacement:
                level += logs[np.uint64(picks[i])]
            else:
                j = np.uint64(i) + np.uint64(picks[i])
                level += left[j]
                left[j] = left[i]
            if level > top:
                top = level
            if top - level > fall:
                fall = top - level
        out[row, 0] = level
        out[row, 1] = fall
