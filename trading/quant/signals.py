"""The kernels of rules: one symbol's values in, targets at each close out. No row depends on a later one."""

import numpy as np

from trading.quant.indicators.donchian import highest_nb
from trading.quant.kernels import Floats, kernel
from trading.quant.rolling import prefix_sums_nb


@kernel
def crossing_nb(values: Floats, fast: int, slow: int, below: float) -> Floats:
    """1 where the mean of ``fast`` values is above that of ``slow``, ``below`` where it is under it, 0 where equal.

    NaN in the first slow - 1 rows.
    """
    bars = values.shape[0]
    result = np.full(bars, np.nan)
    if bars >= slow:
        sums = prefix_sums_nb(values)
        for t in range(slow - 1, bars):
            difference = (sums[t + 1] - sums[t + 1 - fast]) / fast - (sums[t + 1] - sums[t + 1 - slow]) / slow
            result[t] = 1.0 if difference > 0.0 else below if difference < 0.0 else 0.0
    return result


@kernel
def breakout_nb(high: Floats, low: Floats, close: Floats, entry: int, leave: int, short: bool) -> Floats:
    """1 from a close above the last ``entry`` highs to one below the last ``leave`` lows; mirrored for ``short``."""
    bars = close.shape[0]
    result = np.full(bars, np.nan)
    top, bottom = highest_nb(high, entry), -highest_nb(-low, leave)
    floor, ceiling = -highest_nb(-low, entry), highest_nb(high, leave)
    held = 0.0
    for t in range(max(entry, leave), bars):
        price = close[t]
        if (held > 0.0 and price < bottom[t - 1]) or (held < 0.0 and price > ceiling[t - 1]):
            held = 0.0
        if price > top[t - 1]:
            held = 1.0
        elif short and price < floor[t - 1]:
            held = -1.0
        result[t] = held
    return result


@kernel
def reversion_nb(scores: Floats, entry: float, leave: float, short: bool) -> Floats:
    """1 from a score below -``entry`` until one of -``leave`` or more; mirrored for ``short``."""
    result = np.empty(scores.shape[0])
    held = 0.0
    for t in range(scores.shape[0]):
        score = scores[t]
        if (held > 0.0 and score >= -leave) or (held < 0.0 and score <= leave):
            held = 0.0
        if score < -entry:
            held = 1.0
        elif short and score > entry:
            held = -1.0
        result[t] = held
    return result
