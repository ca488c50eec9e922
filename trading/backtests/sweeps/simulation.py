"""The points of a sweep simulated, some at a time; what is kept of each does not depend on which are done together.

Points are taken in groups of `GROUP`, counted from the first point of the sweep: a part of a sweep is a whole number of
groups, so that the sums and the transforms over a group see the same columns however the sweep was cut.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trading.backtests import pipeline, registry
from trading.backtests.config import RunConfig, Strategy
from trading.backtests.strategy import BrokenStrategy
from trading.backtests.sweeps.config import Points
from trading.quant.bars import Bars
from trading.quant.engine import Result
from trading.quant.kernels import Floats
from trading.quant.performance import COLUMNS
from trading.quant.statistics import BlockSums, Record, SuperiorityTest, block_length

GROUP: Final = 32
RECORD: Final = ("sharpe_per_bar", "skewness", "kurtosis", "ruined")
"""What is kept of a point beside the figures: `Record` without its periods, and whether its equity fell to zero."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Figures:
    """What some points of a sweep came to, in the order of the points.

    ``table``: shape (points, figures and `RECORD`). ``sums``: the returns' sums by block, None when there are too few
    bars. ``maxima``: shape (replicates, 4) and ``observed``: (2,), of `SuperiorityTest`; empty when it cannot be made.
    """

    table: Floats
    sums: BlockSums | None
    maxima: Floats
    observed: Floats

    def packed(self) -> bytes:
        """As bytes, which `unpacked` reads."""
        arrays = {"table": self.table, "maxima": self.maxima, "observed": self.observed}
        if self.sums is not None:
            arrays |= {"sums": self.sums.values, "bars": np.array([float(self.sums.bars)])}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def unpacked(cls, body: bytes) -> "Figures":
        """What `packed` made."""
        with np.load(io.BytesIO(body), allow_pickle=False) as found:
            sums = BlockSums(found["sums"], int(found["bars"][0])) if "sums" in found else None
            return cls(found["table"], sums, found["maxima"], found["observed"])

    @classmethod
    def joined(cls, parts: Sequence["Figures"]) -> "Figures":
        """Those of all points; ``parts`` are in the order of their points."""
        sums = [part.sums for part in parts if part.sums is not None]
        return cls(
            np.concatenate([part.table for part in parts]),
            BlockSums.joined(sums) if sums else None,
            np.maximum.reduce([part.maxima for part in parts]),
            np.maximum.reduce([part.observed for part in parts]),
        )


def returns_of(result: Result) -> Floats:
    """Returns of the equity from close to close, shape (T - 1,); 0 once it has fallen to zero."""
    before = result.equity[:-1]
    alive = before > 0.0
    found: Floats = np.where(alive, result.equity[1:] / np.where(alive, before, 1.0) - 1.0, 0.0)
    return found


def benchmark(points: Points, bars: Bars) -> Floats:
    """What the sweep is compared with: returns of holding all symbols under the same account, or of cash."""
    config = points.sweep.config
    if points.sweep.benchmark == "cash":
        return np.zeros(len(bars) - 1)
    held = config.model_copy(update={"strategy": Strategy(name="buy_and_hold")})
    return returns_of(pipeline.simulated(held, bars))


def simulated(points: Points, bars: Bars, start: int, stop: int, progress: Progress | None = None) -> Figures:
    """The points ``start`` ... ``stop - 1``; ``start`` begins a group, and ``stop`` one or is the end.

    Raises ValueError for other ends, and what the strategy raises.
    """
    if start % GROUP or (stop % GROUP and stop != len(points)) or not 0 <= start < stop <= len(points):
        raise ValueError(f"points {start} to {stop} are no whole groups of {GROUP}")
    against = benchmark(points, bars)
    length = _common_block_length(bars)
    done = []
    for first in range(start, stop, GROUP):
        if progress is not None:
            progress(first - start, stop - start)
        done.append(_group(points, bars, range(first, min(first + GROUP, stop)), against, length))
    return Figures.joined(done)


def _group(points: Points, bars: Bars, numbers: range, against: Floats, length: float) -> Figures:
    returns = np.empty((len(bars) - 1, len(numbers)))
    table = np.empty((len(numbers), len(COLUMNS) + len(RECORD)))
    for place, number in enumerate(numbers):
        config = points.config(number)
        try:
            # Not anew: a file that compiles kernels would do so for each point.
            result = pipeline.simulated(config, bars, registry.find)
        except BrokenStrategy as error:
            raise BrokenStrategy(f"{points.named(number)}: {error}") from error
        returns[:, place] = returns_of(result)
        table[place, : len(COLUMNS)] = figures(config, result)
        table[place, len(COLUMNS) :] = _record(result, returns[:, place])
    sweep = points.sweep
    sums = BlockSums.of(returns, sweep.blocks) if len(returns) >= 2 * sweep.blocks else None
    if len(returns) < 10:
        return Figures(table, sums, np.empty((0, 4)), np.full(2, -np.inf))
    test = SuperiorityTest(returns - against[:, None], sweep.replicates, sweep.config.seed, length)
    return Figures(table, sums, test.replicate(0, sweep.replicates), np.array(test.observed))


def figures(config: RunConfig, result: Result) -> Floats:
    """The figures of a result in the order of `COLUMNS`."""
    return result.figures(periods_per_year=config.periods_per_year or 1.0, risk_free=0.0, minimum_return=0.0)


def _record(result: Result, returns: Floats) -> tuple[float, float, float, float]:
    if result.ruined_bar is not None:
        return np.nan, np.nan, np.nan, 1.0
    record = Record.of(returns)
    return record.sharpe, record.skewness, record.kurtosis, 0.0


def _common_block_length(bars: Bars) -> float:
    """One for all points, so that they are resampled alike whoever does it: that of the first symbol's returns."""
    close = bars.close[:, 0]
    known = close[~np.isnan(close)]
    if len(known) < 11:
        return 1.0
    returns = np.diff(known) / known[:-1]
    return float(block_length(returns))
