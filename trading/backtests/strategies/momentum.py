"""Momentum over several symbols: at the start of each period hold the best of the look-back in equal shares, if they
rose.

Periods are counted from 1970, so that it does not matter at which bar the data begin. Source: Jegadeesh and Titman
(1993), Journal of Finance 48, long side only.
"""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from trading.backtests.strategy import Strategy
from trading.quant.bars import DAY_NS, Bars, last_known
from trading.quant.kernels import Floats
from trading.quant.momentum import momentum
from trading.quant.parameters import Parameters


class Momentum(Parameters):
    """``lookback`` bars of return, without the last ``skip``; ``hold`` symbols; ``period_days``: days between
    choices."""

    lookback: int = Field(default=126, ge=2, le=100_000)
    skip: int = Field(default=5, ge=0, le=100_000)
    hold: int = Field(default=2, ge=1, le=1_000)
    period_days: int = Field(default=28, ge=1, le=3_660)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.skip + 1 >= self.lookback:
            raise ValueError("skip must be smaller than lookback - 1")
        return self


def targets(bars: Bars, parameters: Momentum) -> Floats:
    """1/hold for each symbol that is chosen, 0 for the others, at the first bar of each period; NaN between."""
    result = np.full(bars.close.shape, np.nan)
    closes = last_known(bars.close)  # a symbol whose exchange is closed on that day has not lost its return
    periods = bars.time // (parameters.period_days * DAY_NS)
    for t in np.flatnonzero(np.diff(periods)) + 1:
        if t + 1 < parameters.lookback:
            continue
        gains = momentum(closes[t + 1 - parameters.lookback : t + 1], skip=parameters.skip)
        # Ties go to the name that comes first, whatever the order of the columns.
        rising = [column for column in range(len(gains)) if gains[column] > 0.0]
        best = sorted(rising, key=lambda column: (-gains[column], bars.symbols[column]))[: parameters.hold]
        result[t] = 0.0
        result[t, best] = 1.0 / parameters.hold
    return result


STRATEGY = Strategy(Momentum, targets, lambda parameters: parameters.lookback - 1)
