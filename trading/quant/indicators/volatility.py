"""Realised volatility: the sample standard deviation (ddof 1) of the last ``window`` log returns, times the root of A.

A is ``periods_per_year``. The first value is in row ``window``. Source: Hull, Options, Futures, and Other Derivatives,
on estimating volatility from historical data.
"""

import math

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters
from trading.quant.rolling import moments_nb


class VolatilityParameters(Parameters):
    """``window``: returns in the estimate; ``periods_per_year``: bars in a year (252 trading days, 365 days, ...)."""

    window: int = Field(default=20, ge=2, le=100_000)
    periods_per_year: float = Field(default=252.0, gt=0.0, le=1e8)


def volatility(values: Floats, window: int, periods_per_year: float = 252.0) -> Floats:
    """Volatility a year as a fraction, shape as given."""
    return by_column(volatility_nb, [values], window, math.sqrt(periods_per_year))


@kernel
def volatility_nb(values: Floats, window: int, scale: float, result: Floats) -> None:
    """As the module says."""
    bars = values.shape[0]
    result[:] = np.nan
    returns = np.zeros(bars)
    for t in range(1, bars):
        returns[t] = np.log(values[t] / values[t - 1])
        if t >= window:
            result[t] = scale * moments_nb(returns, t, window, 1)[1]


def compute(bars: Bars, parameters: VolatilityParameters) -> dict[str, Floats]:
    """Of the close."""
    return {"volatility": volatility(bars.close, parameters.window, parameters.periods_per_year)}


INDICATOR = Indicator(VolatilityParameters, compute, lambda parameters: parameters.window)
