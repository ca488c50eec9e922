"""What to begin with: a backtest and a sweep on prices that this platform has, ready to be submitted as they are."""

from datetime import date, timedelta
from typing import Any, Final

from django.conf import settings

from trading.marketdata import selectors as market

YEARS: Final = 8
"""How much of the market an example takes, where there is as much."""
ENOUGH: Final = timedelta(days=365)
WITHOUT_PRICES: Final = {"symbol": "TEST", "timeframe": "1d", "start": "2015-01-01", "end": "2023-12-31"}


def backtest() -> dict[str, Any]:
    """A crossover of two averages, with the tests that a promotion asks for."""
    return {
        **_prices(),
        "indicators": [{"name": "sma", "params": {"window": 20}}],
        "strategy": {"name": "dual_sma", "params": {"fast": 10, "slow": 40}},
        "risk": {"model": "fixed_fraction", "params": {"fraction": 0.9}},
        "execution": {"fee_bps": 1, "slippage_bps": 2, "borrow_cost_bps": 0},
        "validation": {"permutation": {"trials": 1000}, "bootstrap": {"trials": 1000}},
        "seed": 42,
    }


def sweep() -> dict[str, Any]:
    """The same crossover over a grid of its two windows."""
    return {
        "config": {
            **_prices(),
            "strategy": {"name": "dual_sma"},
            "execution": {"fee_bps": 1, "slippage_bps": 2},
            "seed": 42,
        },
        "parameters": {"fast": {"from": 5, "to": 50, "step": 5}, "slow": {"from": 20, "to": 200, "step": 20}},
        "objective": "sharpe",
    }


def _prices() -> dict[str, str]:
    """The first symbol that the platform trades and has a year or more of daily prices of; else one that needs none."""
    for symbol in settings.QUANTUM_TRADER_SYMBOLS:
        first, last = market.first_time(symbol), market.last_time(symbol)
        if first is not None and last is not None and last - first >= ENOUGH:
            start = max(first.date(), date(last.year - YEARS, 1, 1))
            return {"symbol": symbol, "timeframe": "1d", "start": start.isoformat(), "end": last.date().isoformat()}
    return dict(WITHOUT_PRICES)
