"""Confidence intervals without a draw, for the figures of a backtest: for when no bootstrap was made.

All take their values as independent of each other, as the error of a Sharpe ratio does; where volatility clusters or a
position lasts for many bars they are too narrow, and `Bootstrap` says more. Ratios are per period.
"""

import math

import numpy as np

from trading.quant.statistics import normal
from trading.quant.statistics.bootstrap import Interval
from trading.quant.statistics.replication import Floats
from trading.quant.statistics.sharpe import Record, standard_error

LEVEL = 0.95
HISTORIES = 5
"""Independent observations that the probability of overfitting of one history is worth: over new histories it varies as
a share of 5 to 12 does, for 10 or 100 strategies, worthless or not, and 8 or 16 blocks."""


def around(estimate: float, error: float, level: float = LEVEL) -> Interval:
    """``estimate`` and as many standard errors each way as hold ``level`` of a normal distribution."""
    width = normal.quantile(0.5 + level / 2.0) * error
    return Interval(estimate - width, estimate + width, level)


def by_influence(estimate: float, influence: Floats, level: float = LEVEL) -> Interval:
    """Where each of n independent values moves the estimate by ``influence`` / n, shape (n,): the delta method.

    Source: Davison and Hinkley (1997), "Bootstrap methods and their application", section 2.7.2. NaN for one value.
    """
    count = len(influence)
    error = math.sqrt(float(np.mean(np.square(influence))) / count) if count > 1 else math.nan
    return around(estimate, error, level)


def mean(values: Floats, level: float = LEVEL) -> Interval:
    """Of a mean."""
    centre = float(np.mean(values)) if len(values) else math.nan
    return by_influence(centre, values - centre, level)


def sharpe(record: Record, level: float = LEVEL) -> Interval:
    """Of a Sharpe ratio, with its error by `standard_error`."""
    return around(record.sharpe, standard_error(record), level)


def deviation(returns: Floats, level: float = LEVEL) -> Interval:
    """Of a standard deviation (ddof 1), whatever the kurtosis."""
    centred = returns - np.mean(returns)
    second = float(np.mean(centred**2))
    found = float(np.std(returns, ddof=1)) if len(returns) > 1 else math.nan
    if second == 0.0:
        return Interval(found, found, level)
    return by_influence(found, (centred**2 - second) / (2.0 * math.sqrt(second)), level)


def sortino(returns: Floats, least: float = 0.0, level: float = LEVEL) -> Interval:
    """Of the mean over ``least`` over the root of the mean square below it; NaN where nothing is below."""
    above = returns - least
    lower = np.square(np.minimum(above, 0.0))
    below = math.sqrt(float(np.mean(lower)))
    if below == 0.0:
        return Interval(math.nan, math.nan, level)
    found = float(np.mean(above)) / below
    influence = (above - np.mean(above)) / below - found * (lower - below**2) / (2.0 * below**2)
    return by_influence(found, influence, level)


def growth(returns: Floats, level: float = LEVEL) -> Interval:
    """Of what one unit has become, compounded over as many returns; NaN when one of them took all."""
    if not (returns > -1.0).all():
        return Interval(math.nan, math.nan, level)
    logs = np.log1p(returns)
    each, count = mean(logs, level), len(logs)
    return Interval(math.exp(count * each.low), math.exp(count * each.high), level)


def profit_factor(pnl: Floats, level: float = LEVEL) -> Interval:
    """Of gains over losses of closed trades, not below 0; NaN where nothing was lost."""
    gains, losses = np.maximum(pnl, 0.0), np.maximum(-pnl, 0.0)
    lost = float(np.mean(losses)) if len(pnl) else 0.0
    if lost == 0.0:
        return Interval(math.nan, math.nan, level)
    found = float(np.mean(gains)) / lost
    wide = by_influence(found, (gains - found * losses) / lost, level)
    return Interval(max(wide.low, 0.0), wide.high, level)


def share(hits: float, count: int, level: float = LEVEL) -> Interval:
    """Of a probability of which ``hits`` of ``count`` were seen. Source: Wilson (1927), JASA 22."""
    if count < 1:
        return Interval(math.nan, math.nan, level)
    z = normal.quantile(0.5 + level / 2.0)
    rate, extra = hits / count, z * z / count
    middle = (rate + extra / 2.0) / (1.0 + extra)
    width = z / (1.0 + extra) * math.sqrt(rate * (1.0 - rate) / count + extra / (4.0 * count))
    return Interval(max(middle - width, 0.0), min(middle + width, 1.0), level)


def overfitting(pbo: float, level: float = LEVEL) -> Interval:
    """Of a probability of overfitting, roughly: its combinations are of the same few blocks, and count for little."""
    return share(pbo * HISTORIES, HISTORIES, level)
