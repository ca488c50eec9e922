"""Relative strength index: 100 U / (U + D) of Wilder's averages of rises and falls, from 0 to 100.

The averages start with the mean of the first ``window`` changes, so the first value is in row ``window``; then each
new change has weight 1 / window. A price that has not moved has 50. Source: Wilder (1978), New Concepts in Technical
Trading Systems.
"""

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters


class RsiParameters(Parameters):
    """``window``: changes in the first average."""

    window: int = Field(default=14, ge=2, le=100_000)


def rsi(values: Floats, window: int) -> Floats:
    """The relative strength index, shape as given."""
    return by_column(rsi_nb, [values], window)


@kernel
def rsi_nb(values: Floats, window: int, result: Floats) -> None:
    """As the module says."""
    bars = values.shape[0]
    result[:] = np.nan
    rises = falls = 0.0
    for t in range(1, bars):
        change = values[t] - values[t - 1]
        rise, fall = max(change, 0.0), max(-change, 0.0)
        if t <= window:
            rises += rise / window
            falls += fall / window
        else:
            rises += (rise - rises) / window
            falls += (fall - falls) / window
        if t >= window:
            result[t] = 100.0 * rises / (rises + falls) if rises + falls > 0.0 else 50.0


def compute(bars: Bars, parameters: RsiParameters) -> dict[str, Floats]:
    """Of the close."""
    return {"rsi": rsi(bars.close, parameters.window)}


INDICATOR = Indicator(RsiParameters, compute, lambda parameters: parameters.window)
