"""Z-score: how many sample standard deviations (ddof 1) the value lies above the mean of the last ``window`` values.

The first value is in row window - 1. It is zero where the window does not move.
"""

import numpy as np
from pydantic import Field

from trading.quant.bars import Bars
from trading.quant.indicator import Indicator, by_column
from trading.quant.kernels import Floats, kernel
from trading.quant.parameters import Parameters
from trading.quant.rolling import moments_nb


class ZscoreParameters(Parameters):
    """``window``: values in the mean and the deviation."""

    window: int = Field(default=20, ge=2, le=100_000)


def zscore(values: Floats, window: int) -> Floats:
    """The z-score, shape as given."""
    return by_column(zscore_nb, [values], window)


@kernel
def zscore_nb(values: Floats, window: int, result: Floats) -> None:
    """As the module says."""
    result[:] = np.nan
    for t in range(window - 1, values.shape[0]):
        mean, deviation = moments_nb(values, t, window, 1)
        result[t] = (values[t] - mean) / deviation if deviation > 0.0 else 0.0


def compute(bars: Bars, parameters: ZscoreParameters) -> dict[str, Floats]:
    """Of the close."""
    return {"zscore": zscore(bars.close, parameters.window)}


INDICATOR = Indicator(ZscoreParameters, compute, lambda parameters: parameters.window - 1)
