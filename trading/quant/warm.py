"""``python -m trading.quant.warm``: compile every kernel once, so that no run has to wait for it.

That takes half a minute of a processor. The machine code stays on disk (`trading.quant.kernels.cache_folder`); with it
there, a process that calls `warm` has the kernels loaded in less than a second, before its first run.
"""

import fcntl

import numpy as np

from trading.quant import indicator, statistics
from trading.quant.bars import DAY_NS, Bars
from trading.quant.engine import Account, simulate
from trading.quant.kernels import FOLDER, frozen
from trading.quant.lean import BREAKOUT, CROSSING, REVERSION
from trading.quant.signals import breakout_nb, crossing_nb, infinite_nb, reversion_nb
from trading.quant.sizing import FixedFraction, KellyFraction, Sizing, VolatilityTarget
from trading.quant.sweep import KernelRule, sweep
from trading.quant.wishes import wished


def warm() -> None:
    """Run everything on a few bars."""
    generator = np.random.default_rng(0)
    close = 100.0 + np.cumsum(generator.normal(size=(64, 2)), axis=0)
    bars = Bars(np.arange(64) * DAY_NS, close, close + 1.0, close - 1.0, close, np.ones((64, 2)), ("A", "B"))
    targets = np.sign(close - close.mean(axis=0))
    sizings: tuple[Sizing, ...] = (FixedFraction(0.1), VolatilityTarget(window=5), KellyFraction(window=5))
    for sizing in sizings:
        result = simulate(bars, targets, sizing=sizing)
        result.metrics()
        wished(bars, targets, sizing)
    assert result.cash.shape[0] == result.positions.shape[0]
    for name in indicator.names():
        indicator.compute(name, bars, {})
    column, room = frozen(close[:, 0]), np.empty(64)
    infinite_nb(column)
    crossing_nb(column, 2, 5, 0.0, room)
    breakout_nb(column, column, column, 5, 3, True, room)
    reversion_nb(column, 1.0, 0.0, True, room)
    one = bars.select([0])
    simulate(one, targets[:, 0])
    for rule in (
        KernelRule(CROSSING, (2, 5, 0.0, 0.0)),
        KernelRule(BREAKOUT, (5, 3, 1.0, 0.0)),
        KernelRule(REVERSION, (1.0, 0.0, 1.0, 5)),
    ):
        sweep(one, [lambda seen: seen.close], kernels=[rule], account=Account())
    statistics.warm()


def is_compiled() -> bool:
    """Whether `main` has come to its end, for these sources and on such a processor."""
    return _DONE.exists()


def main() -> None:
    """Compile what is not compiled yet; of several that are started at once, one does it and the others wait."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_compiled():
            warm()
            _DONE.touch()


_DONE = FOLDER / "compiled"

if __name__ == "__main__":
    main()
