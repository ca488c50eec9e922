"""Buy and hold: equal shares of every symbol from the first bar on. What every other strategy has to be better than."""

import numpy as np

from trading.backtests.strategy import Strategy
from trading.quant.bars import Bars
from trading.quant.kernels import Floats
from trading.quant.parameters import Parameters


class BuyAndHold(Parameters):
    """It has none."""


def targets(bars: Bars, parameters: BuyAndHold) -> Floats:
    """One S-th of the full size in each of S symbols."""
    return np.full(bars.close.shape, 1.0 / len(bars.symbols))


STRATEGY = Strategy(BuyAndHold, targets, lambda parameters: 0)
