"""Mean reversion: long when the z-score of the close falls below -``entry``, until it is back at -``exit``; the mirror
image if short is allowed.
"""

from typing import Self

from pydantic import Field, model_validator

from trading.backtests.strategy import Strategy
from trading.quant.bars import Bars
from trading.quant.indicator import by_column
from trading.quant.indicators.zscore import zscore
from trading.quant.kernels import Floats
from trading.quant.lean import REVERSION
from trading.quant.parameters import Parameters
from trading.quant.signals import reversion_nb
from trading.quant.sweep import KernelRule


class MeanReversion(Parameters):
    """``window`` bars of the z-score; ``entry`` and ``exit`` in deviations; ``short``: also sell above."""

    window: int = Field(default=20, ge=2, le=100_000)
    entry: float = Field(default=2.0, gt=0.0, le=100.0)
    exit: float = Field(default=0.0, ge=-100.0, le=100.0)
    short: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.exit >= self.entry:
            raise ValueError("exit must be smaller than entry")
        return self


def targets(bars: Bars, parameters: MeanReversion) -> Floats:
    """1 long, -1 short, 0 between; NaN before the z-score is known."""
    scores = zscore(bars.close, parameters.window)
    return by_column(reversion_nb, [scores], parameters.entry, parameters.exit, parameters.short)


def kernel(parameters: MeanReversion) -> KernelRule:
    """For sweeps."""
    return KernelRule(REVERSION, (parameters.entry, parameters.exit, float(parameters.short), parameters.window))


STRATEGY = Strategy(MeanReversion, targets, lambda parameters: parameters.window - 1, kernel)
