"""Bollinger bands: the simple moving average, and ``width`` population standard deviations (ddof 0) on either side.

The first value is in row window - 1. Source: Bollinger (2002), Bollinger on Bollinger Bands.
"""

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.indicators.sma import sma
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters
from trading.quant.rolling import moments_nb


class BollingerParameters(Parameters):
    """``window``: bars in the mean; ``width``: deviations between the mean and a band."""

    window: int = Field(default=20, ge=2, le=100_000)
    width: float = Field(default=2.0, gt=0.0, le=100.0)


def bollinger(values: Floats, window: int, width: float) -> tuple[Floats, Floats, Floats]:
    """The lower band, the middle and the upper band, each of the shape given."""
    middle = sma(values, window)
    distance = width * by_column(population_deviation_nb, [values], window)
    return middle - distance, middle, middle + distance


@kernel
def population_deviation_nb(values: Floats, window: int, result: Floats) -> None:
    """As the module says."""
    result[:] = np.nan
    for t in range(window - 1, values.shape[0]):
        result[t] = moments_nb(values, t, window, 0)[1]


def compute(bars: Bars, parameters: BollingerParameters) -> dict[str, Floats]:
    """Of the close."""
    lower, middle, upper = bollinger(bars.close, parameters.window, parameters.width)
    return {"lower": lower, "middle": middle, "upper": upper}


INDICATOR = Indicator(BollingerParameters, compute, lambda parameters: parameters.window - 1)
