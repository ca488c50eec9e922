"""What a rule wishes now: the last line of a backtest, for whoever trades it bar by bar."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trading.quant.bars import Bars
from trading.quant.kernels import Floats, Integers, frozen, kernel
from trading.quant.sizing import Sizing


@dataclass(frozen=True, slots=True)
class Wish:
    """``weights``: shape (S,), signed notional over equity, NaN where the rule has not spoken yet.

    ``decided``: shape (S,), the bar whose close decided it, -1 for none. An order is due where that is the last bar,
    or any bar since the orders were last sent: the engine orders once for each decision and then lets the position
    drift.
    """

    weights: Floats
    decided: Integers


def wished(bars: Bars, targets: npt.ArrayLike, sizing: Sizing) -> Wish:
    """The standing wish of ``targets`` (shape (T,) or (T, S)) once the last of ``bars`` has closed.

    At every bar it is what `trading.quant.engine.simulate` acts on with ``rebalance="on_change"``, without stops:
    quantity = weight x equity / (close x multiplier) in lots, at the equity and the close of the deciding bar.
    """
    said = frozen(targets).reshape(bars.close.shape)
    return Wish(*wished_nb(bars.close, said, frozen(sizing.scale(bars, said))))


@kernel
def wished_nb(close: Floats, targets: Floats, scale: Floats) -> tuple[Floats, Integers]:
    """Weights and deciding bars, shape (S,) each."""
    bars, symbols = close.shape
    weights, decided = np.full(symbols, np.nan), np.full(symbols, -1, np.int64)
    for s in range(symbols):
        acted, listed = 0.0, False
        for t in range(bars):
            listed = listed or not np.isnan(close[t, s])
            target = targets[t, s]
            if np.isnan(target):
                continue
            if np.isnan(weights[s]) and target == 0.0:
                weights[s] = 0.0
            if target != acted and listed:
                weight = target * (scale[0, 0] if scale.shape[0] == 1 else scale[t, s]) if target != 0.0 else 0.0
                if not np.isnan(weight):
                    weights[s], decided[s], acted = weight, t, target
    return weights, decided
