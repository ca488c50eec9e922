"""Moving average convergence divergence: a fast less a slow exponential average, and the average of that.

Each average starts with the mean of its own first values. ``macd`` begins in row slow - 1, ``signal`` and ``histogram``
in row slow + signal - 2. Source: Appel (2005), Technical Analysis.
"""

from typing import Self

from pydantic import Field, model_validator

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator
from trading.quant.indicators.ema import ema
from trading.quant.kernels import Floats
from trading.quant.parameters import Parameters


class MacdParameters(Parameters):
    """Windows of the fast and the slow average, and of the signal."""

    fast: int = Field(default=12, ge=1, le=100_000)
    slow: int = Field(default=26, ge=2, le=100_000)
    signal: int = Field(default=9, ge=1, le=100_000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError("fast must be smaller than slow")
        return self


def macd(values: Floats, fast: int, slow: int, signal: int) -> tuple[Floats, Floats, Floats]:
    """The difference, its signal line, and the one less the other, each of the shape given."""
    line = ema(values, fast) - ema(values, slow)
    smoothed = ema(line, signal)
    return line, smoothed, line - smoothed


def compute(bars: Bars, parameters: MacdParameters) -> dict[str, Floats]:
    """Of the close."""
    line, smoothed, histogram = macd(bars.close, parameters.fast, parameters.slow, parameters.signal)
    return {"macd": line, "signal": smoothed, "histogram": histogram}


INDICATOR = Indicator(MacdParameters, compute, lambda parameters: parameters.slow + parameters.signal - 2)
