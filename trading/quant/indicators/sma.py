"""Simple moving average: the mean of the last ``window`` values. The first value is in row window - 1."""

from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats
from trading.quant.parameters import Parameters
from trading.quant.rolling import mean_nb


class SmaParameters(Parameters):
    """``window``: bars in the mean."""

    window: int = Field(default=20, ge=1, le=100_000)


def sma(values: Floats, window: int) -> Floats:
    """The mean of the last ``window`` values, shape as given."""
    return by_column(mean_nb, [values], window)


def compute(bars: Bars, parameters: SmaParameters) -> dict[str, Floats]:
    """Of the close."""
    return {"sma": sma(bars.close, parameters.window)}


INDICATOR = Indicator(SmaParameters, compute, lambda parameters: parameters.window - 1)
