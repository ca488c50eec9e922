"""Average true range: Wilder's average of max(high, close before) - min(low, close before), in the price's units.

It starts with the mean of the first ``window`` ranges, of which the first belongs to the second bar, so the first
value is in row ``window``. Source: Wilder (1978), New Concepts in Technical Trading Systems.
"""

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters


class AtrParameters(Parameters):
    """``window``: ranges in the first average."""

    window: int = Field(default=14, ge=1, le=100_000)


def atr(high: Floats, low: Floats, close: Floats, window: int) -> Floats:
    """The average true range, shape as given."""
    return by_column(atr_nb, [high, low, close], window)


@kernel
def atr_nb(high: Floats, low: Floats, close: Floats, window: int, result: Floats) -> None:
    """As the module says."""
    bars = close.shape[0]
    result[:] = np.nan
    mean = 0.0
    for t in range(1, bars):
        reach = max(high[t], close[t - 1]) - min(low[t], close[t - 1])
        mean += reach / window if t <= window else (reach - mean) / window
        if t >= window:
            result[t] = mean


def compute(bars: Bars, parameters: AtrParameters) -> dict[str, Floats]:
    """Of high, low and close."""
    return {"atr": atr(bars.high, bars.low, bars.close, parameters.window)}


INDICATOR = Indicator(AtrParameters, compute, lambda parameters: parameters.window)
