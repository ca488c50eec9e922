"""Bars for the tests: a few written by hand, and random walks from a seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trading.quant.bars import DAY_NS, Bars
from trading.quant.kernels import Floats

FOLDER = Path(__file__).parent


def flat_bars(opens: Sequence[float], volumes: Sequence[float] | float = 1000.0) -> Bars:
    """Daily bars whose open is given and whose other prices are the same as the open."""
    prices = np.array(opens, dtype=float)
    volume = np.broadcast_to(np.asarray(volumes, dtype=float), prices.shape)
    return Bars(np.arange(len(prices)) * DAY_NS, prices, prices, prices, prices, volume)


def bars_of(rows: Sequence[tuple[float, float, float, float]]) -> Bars:
    """Daily bars of one symbol from (open, high, low, close), 1000 units of volume each."""
    table = np.array(rows, dtype=float)
    return Bars(np.arange(len(table)) * DAY_NS, *table.T, np.full(len(table), 1000.0))


def walk(bars: int, symbols: int = 1, *, seed: int = 1, volatility: float = 0.01) -> Bars:
    """Geometric random walks with gaps between close and open; names A, B, C, ..."""
    generator = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(generator.normal(0.0002, volatility, (bars, symbols)), axis=0))
    before = np.vstack([np.full((1, symbols), 100.0), close[:-1]])
    open_ = before * np.exp(generator.normal(0.0, volatility / 4, (bars, symbols)))
    high = np.maximum(open_, close) * (1.0 + generator.uniform(0.0, volatility, (bars, symbols)))
    low = np.minimum(open_, close) * (1.0 - generator.uniform(0.0, volatility, (bars, symbols)))
    volume = np.floor(generator.uniform(1e4, 1e6, (bars, symbols)))
    return Bars(np.arange(bars) * DAY_NS, open_, high, low, close, volume, [chr(65 + s) for s in range(symbols)])


def walking_targets(bars: int, symbols: int = 1, *, seed: int = 2, levels: Sequence[float] = (-1, 0, 1)) -> Floats:
    """Targets that now and then jump to one of ``levels``, shape (T, S)."""
    generator = np.random.default_rng(seed)
    jumps = generator.uniform(size=(bars, symbols)) < 0.1
    drawn = generator.choice(np.asarray(levels, dtype=float), (bars, symbols))
    result = np.zeros((bars, symbols))
    for t in range(1, bars):
        result[t] = np.where(jumps[t], drawn[t], result[t - 1])
    return result
