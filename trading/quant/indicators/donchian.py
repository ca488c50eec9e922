"""Donchian channel: the highest high and the lowest low of the last ``window`` bars, this one included.

The first value is in row window - 1. A rule that buys above the channel compares with the channel of the bar before.
"""

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters


class DonchianParameters(Parameters):
    """``window``: bars in the channel."""

    window: int = Field(default=20, ge=1, le=100_000)


def donchian(high: Floats, low: Floats, window: int) -> tuple[Floats, Floats]:
    """The lower and the upper side of the channel, each of the shape given."""
    return -by_column(highest_nb, [-low], window), by_column(highest_nb, [high], window)


@kernel
def highest_nb(values: Floats, window: int, result: Floats) -> None:
    """The largest of the last ``window`` values; a window is searched again only when it loses its
    largest."""
    bars = values.shape[0]
    result[:] = np.nan
    where = 0
    for t in range(bars):
        if values[t] >= values[where]:
            where = t
        elif where <= t - window:
            where = t + 1 - window
            for k in range(t + 2 - window, t + 1):
                if values[k] >= values[where]:
                    where = k
        if t >= window - 1:
            result[t] = values[where]


def compute(bars: Bars, parameters: DonchianParameters) -> dict[str, Floats]:
    """Of high and low."""
    lower, upper = donchian(bars.high, bars.low, parameters.window)
    return {"lower": lower, "upper": upper}


INDICATOR = Indicator(DonchianParameters, compute, lambda parameters: parameters.window - 1)
