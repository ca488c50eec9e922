"""Crossing of two simple moving averages: long while the fast one is above the slow one, else flat, or short if
allowed."""

from typing import Self

from pydantic import Field, model_validator

from trading.backtests.strategy import Strategy
from trading.quant.bars import Bars
from trading.quant.indicator import by_column
from trading.quant.kernels import Floats
from trading.quant.lean import CROSSING
from trading.quant.parameters import Parameters
from trading.quant.signals import crossing_nb
from trading.quant.sweep import KernelRule


class DualSma(Parameters):
    """Windows in bars; ``short``: go short below instead of flat."""

    fast: int = Field(default=10, ge=1, le=100_000)
    slow: int = Field(default=30, ge=2, le=100_000)
    short: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError("fast must be smaller than slow")
        return self


def targets(bars: Bars, parameters: DualSma) -> Floats:
    """1 above; below 0, or -1 if short; 0 where they are equal; NaN before the slow one is known."""
    below = -1.0 if parameters.short else 0.0
    return by_column(crossing_nb, [bars.close], parameters.fast, parameters.slow, below)


def kernel(parameters: DualSma) -> KernelRule:
    """For sweeps."""
    return KernelRule(CROSSING, (parameters.fast, parameters.slow, -1.0 if parameters.short else 0.0, 0.0))


STRATEGY = Strategy(DualSma, targets, lambda parameters: parameters.slow - 1, kernel)
