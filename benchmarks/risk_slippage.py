"""``python -m benchmarks.risk_slippage``: what one call of each sizing (risk) and slippage model takes, in µs.

``risk:MODEL`` sizes a target of every bar of a market of ``--bars`` bars. ``slippage:MODEL`` is a backtest over them
that turns its position over at every bar, so that each has a fill to be priced. Printed as JSON.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file: imports begin at the project's folder, not at this one, which has a statistics.py
    sys.path[0] = str(Path(__file__).parents[1])

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from trading.quant.bars import Bars
from trading.quant.costs import Costs
from trading.quant.engine import Account, simulate_account
from trading.quant.parameters import SIZINGS, SLIPPAGES, sizing_of, slippage_of

NEEDED: Final[Mapping[str, Mapping[str, float]]] = {
    "fixed_fraction": {"fraction": 0.1},
    "spread_pct": {"spread": 0.0005},
}
"""Parameters of the models that have no default for them."""
WARM_UP: Final = 5


def market(bars: int) -> Bars:
    """A seeded random walk of one symbol."""
    rng = np.random.default_rng(42)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, bars)))
    first = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(first, close) * 1.001, np.minimum(first, close) * 0.999
    return Bars(np.arange(1, bars + 1) * 86_400_000_000_000, first, high, low, close, np.full(bars, 1e6))


def measured(call: Callable[[], object], iterations: int) -> dict[str, float]:
    """Microseconds of ``iterations`` calls, after some that are not counted."""
    for _ in range(WARM_UP):
        call()
    took = []
    for _ in range(iterations):
        began = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - began) / 1e3)
    took.sort()
    figures = {
        "mean_us": statistics.fmean(took),
        "p50_us": took[len(took) // 2],
        "p95_us": took[int(len(took) * 0.95)],
        "min_us": took[0],
        "max_us": took[-1],
    }
    return {"iterations": iterations, **{name: round(value, 2) for name, value in figures.items()}}


def figures(iterations: int, bars: int, sizings: list[str], slippages: list[str]) -> dict[str, Any]:
    """All of them, by ``risk:MODEL`` and ``slippage:MODEL``."""
    walk = market(bars)
    flips = np.where(np.arange(bars) % 2 == 0, 1.0, -1.0)[:, None]
    found: dict[str, Any] = {}
    # mypy cannot infer lambdas that bind a loop's variable.
    for name in sizings:
        sizing = sizing_of(name, NEEDED.get(name, {}))
        found[f"risk:{name}"] = measured(partial(sizing.scale, walk, flips), iterations)
    for name in slippages:
        account = Account(costs=Costs(slippage=slippage_of(name, NEEDED.get(name, {}))))
        found[f"slippage:{name}"] = measured(partial(simulate_account, walk, flips, account), iterations)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--bars", type=int, default=1000)
    parser.add_argument("--risk-models", default=",".join(SIZINGS), help="names with commas between")
    parser.add_argument("--slippage", default=",".join(SLIPPAGES), help="names with commas between")
    options = parser.parse_args()
    if options.iterations < 1 or options.bars < 2:
        parser.error("--iterations must be at least 1, and --bars at least 2")
    try:
        found = figures(
            options.iterations,
            options.bars,
            [name for name in options.risk_models.split(",") if name],
            [name for name in options.slippage.split(",") if name],
        )
    except ValueError as error:
        parser.error(str(error))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
