"""What is traded bar by bar is what was tested all at once."""

import numpy as np
import pytest

from tests.quant.series import walk
from trading.backtests import registry
from trading.backtests.strategy import targets_of
from trading.quant.engine import simulate
from trading.quant.sizing import FixedFraction, KellyFraction, VolatilityTarget
from trading.quant.wishes import wished

BARS = walk(160, 3, seed=9, volatility=0.02)
SHIPPED = {
    "buy_and_hold": {},
    "dual_sma": {"fast": 4, "slow": 12, "short": True},
    "breakout": {"entry": 8, "exit": 4, "short": True},
    "mean_reversion": {"window": 8, "entry": 1.0},
    "momentum": {"lookback": 20, "skip": 2, "hold": 2, "period_days": 9},
}


@pytest.mark.parametrize("sizing", [FixedFraction(0.2), VolatilityTarget(0.05, 10), KellyFraction(1.0, 10, start=0.1)])
@pytest.mark.parametrize("name", registry.names())
def test_a_cycle_that_sees_one_bar_more_each_time_makes_the_fills_of_the_backtest(name, sizing):
    """A trader of its own: knows the bars so far, decides at the close, and buys or sells at the next open."""
    strategy = registry.find(name).strategy
    cash, held, fills = 100_000.0, np.zeros(3), []
    for now in range(len(BARS) - 1):
        seen = BARS.window(0, now + 1)
        wish = wished(seen, targets_of(name, strategy, seen, SHIPPED[name]), sizing)
        equity = cash + held @ seen.close[-1]
        goals = np.where(wish.decided == now, wish.weights * equity / seen.close[-1], held)
        opens = BARS.open[now + 1]
        orders = goals - held
        for symbol in [*np.flatnonzero(orders < 0), *np.flatnonzero(orders > 0)]:
            fills.append((now + 1, symbol, orders[symbol], opens[symbol]))
            cash -= orders[symbol] * opens[symbol]
        held = goals
    targets = targets_of(name, strategy, BARS, SHIPPED[name])
    result = simulate(BARS, targets, sizing=sizing, max_leverage=np.inf)
    assert len(fills) > 2
    assert [fill[:2] for fill in fills] == [(fill["bar"], fill["symbol"]) for fill in result.fills]
    np.testing.assert_allclose([fill[2] for fill in fills], result.fills["quantity"], rtol=1e-9, atol=1e-9)
    assert cash + held @ BARS.close[-1] == pytest.approx(result.equity[-1], rel=1e-12)


def test_before_the_first_opinion_nothing_is_wished():
    wish = wished(BARS, np.full((160, 3), np.nan), FixedFraction())
    assert np.isnan(wish.weights).all()
    assert (wish.decided == -1).all()
