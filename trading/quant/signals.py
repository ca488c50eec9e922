"""The kernels of rules: one symbol's values in, targets at each close out. No row depends on a later one."""

import numpy as np

from trading.quant.indicators.donchian import highest_nb
from trading.quant.kernels import Floats, kernel


@kernel
def infinite_nb(targets: Floats) -> bool:
    """Whether any target is infinite; many at a time, and without room for an answer to each."""
    found = False
    for k in range(targets.shape[0]):
        found |= abs(targets[k]) == np.inf
    return found


@kernel
def crossing_nb(values: Floats, fast: int, slow: int, below: float, result: Floats) -> None:
    """1 where the mean of ``fast`` values is above that of ``slow``, ``below`` where it is under it, 0 where equal.

    NaN in the first slow - 1 rows. The sums of the two windows are compared crosswise, which needs no division.
    """
    bars = values.shape[0]
    result[: slow - 1] = np.nan
    now = fast_ago = slow_ago = 0.0
    first = values[0]
    for t in range(min(slow - 1, bars)):
        now += values[t] - first
        if t < slow - 1 - fast:
            fast_ago += values[t] - first
    for k in range(bars - slow + 1):
        t = k + slow - 1
        now += values[t] - first
        fast_ago += values[t - fast] - first
        difference = (now - fast_ago) * slow - (now - slow_ago) * fast
        slow_ago += values[k] - first
        side = 1.0 if difference > 0.0 else below
        result[t] = side if difference != 0.0 else 0.0


@kernel
def crossing_of_sums_nb(sums: Floats, fast: int, slow: int, below: float, result: Floats) -> None:
    """`crossing_nb`, to the bit, from prefix sums that many pairs share; by vectors."""
    bars = result.shape[0]
    result[: slow - 1] = np.nan
    if bars >= slow:
        # Slices, so that every index counts from zero.
        now, fast_ago, slow_ago = sums[slow:], sums[slow - fast : bars + 1 - fast], sums[: bars + 1 - slow]
        rows = result[slow - 1 :]
        for k in range(rows.shape[0]):
            difference = (now[k] - fast_ago[k]) * slow - (now[k] - slow_ago[k]) * fast
            side = 1.0 if difference > 0.0 else below
            rows[k] = side if difference != 0.0 else 0.0


@kernel
def breakout_nb(high: Floats, low: Floats, close: Floats, entry: int, leave: int, short: bool, result: Floats) -> None:
    """1 from a close above the last ``entry`` highs to one below the last ``leave`` lows; mirrored for ``short``."""
    bars = close.shape[0]
    top, ceiling, floor, bottom = np.empty(bars), np.empty(bars), np.empty(bars), np.empty(bars)
    highest_nb(high, entry, top)
    highest_nb(high, leave, ceiling)
    highest_nb(-low, entry, floor)
    highest_nb(-low, leave, bottom)
    held = 0.0
    result[: max(entry, leave)] = np.nan
    for t in range(max(entry, leave), bars):
        price = close[t]
        if (held > 0.0 and price < -bottom[t - 1]) or (held < 0.0 and price > ceiling[t - 1]):
            held = 0.0
        if price > top[t - 1]:
            held = 1.0
        elif short and price < -floor[t - 1]:
            held = -1.0
        result[t] = held


@kernel
def reversion_nb(scores: Floats, entry: float, leave: float, short: bool, result: Floats) -> None:
    """1 from a score below -``entry`` until one of -``leave`` or more; mirrored for ``short``."""
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
