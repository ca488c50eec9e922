"""Breakout: long from a close above the highest high of the ``entry`` bars before, to one below the lowest low of the
``exit`` bars before; the mirror image if short is allowed. Source: the turtle rules, after Donchian.
"""

from pydantic import Field

from trading.backtests.strategy import Strategy
from trading.quant.bars import Bars
from trading.quant.indicator import by_column
from trading.quant.kernels import Floats
from trading.quant.lean import BREAKOUT
from trading.quant.parameters import Parameters
from trading.quant.signals import breakout_nb
from trading.quant.sweep import KernelRule


class Breakout(Parameters):
    """Bars of the channels that are entered and left; ``short``: also sell below the lower side."""

    entry: int = Field(default=20, ge=1, le=100_000)
    exit: int = Field(default=10, ge=1, le=100_000)
    short: bool = False


def targets(bars: Bars, parameters: Breakout) -> Floats:
    """1 long, -1 short, 0 between; NaN before the longer channel is known."""
    return by_column(
        breakout_nb, [bars.high, bars.low, bars.close], parameters.entry, parameters.exit, parameters.short
    )


def kernel(parameters: Breakout) -> KernelRule:
    """For sweeps."""
    return KernelRule(BREAKOUT, (parameters.entry, parameters.exit, float(parameters.short), 0.0))


STRATEGY = Strategy(Breakout, targets, lambda parameters: max(parameters.entry, parameters.exit), kernel)
