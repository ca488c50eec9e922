"""Exponential moving average with weight 2 / (window + 1), started with the mean of the first ``window`` values (as
TA-Lib).

The first value is in row window - 1. It is recursive: a later start changes it, by a share that falls with
((window - 1) / (window + 1)) to the power of the bars since.
"""

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters


class EmaParameters(Parameters):
    """``window``: bars of the first mean, from which the weight follows."""

    window: int = Field(default=20, ge=1, le=100_000)


def ema(values: Floats, window: int) -> Floats:
    """The exponential moving average, shape as given."""
    return by_column(ema_nb, [values], window, 2.0 / (window + 1.0))


@kernel
def ema_nb(values: Floats, window: int, weight: float, result: Floats) -> None:
    """Wilder's smoothing is this with weight 1 / window."""
    bars = values.shape[0]
    result[:] = np.nan
    if bars < window:
        return
    mean = 0.0
    for t in range(window):
        mean += values[t]
    mean /= window
    result[window - 1] = mean
    for t in range(window, bars):
        mean += weight * (values[t] - mean)
        result[t] = mean


def compute(bars: Bars, parameters: EmaParameters) -> dict[str, Floats]:
    """Of the close."""
    return {"ema": ema(bars.close, parameters.window)}


INDICATOR = Indicator(EmaParameters, compute, lambda parameters: parameters.window - 1)
