"""A sweep gives the bits of the single runs, whichever way it goes, and keeps no paths."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from tests.quant.series import walk
from trading.backtests import registry
from trading.backtests.strategy import targets_of
from trading.quant import engine
from trading.quant.bars import Bars
from trading.quant.costs import Costs, ParticipationRate, SpreadPct, Stops
from trading.quant.engine import Account, is_lean, simulate_account
from trading.quant.performance import COLUMNS
from trading.quant.sizing import FixedFraction, VolatilityTarget
from trading.quant.sweep import sweep

ONE = walk(400, seed=21, volatility=0.03)
GRIDS = {
    "dual_sma": [
        {"fast": fast, "slow": slow, "short": short}
        for fast, slow, short in product((1, 2, 5, 13), (14, 40, 399, 500), (False, True))
    ],
    "breakout": [
        {"entry": entry, "exit": leave, "short": short}
        for entry, leave, short in product((1, 5, 20, 500), (1, 5, 30), (False, True))
    ],
    "mean_reversion": [
        {"window": window, "entry": entry, "exit": leave, "short": short}
        for window, entry, leave, short in product((2, 10, 500), (0.5, 1.5), (-0.5, 0.0, 0.3), (False, True))
    ],
}
ACCOUNTS = {
    "free": Account(),
    "half": Account(sizing=FixedFraction(0.5), costs=Costs(fee_bps=7, slippage=SpreadPct(0.002), slippage_bps=3)),
    "lots": Account(cash=20_000.0, lot_size=10.0, multiplier=2.0, costs=Costs(fee_bps=30)),
    "leverage": Account(sizing=FixedFraction(3.0), max_leverage=2.5, costs=Costs(fee_bps=5)),
    "no limit": Account(sizing=FixedFraction(12.0), max_leverage=np.inf),  # some of these are ruined
}
GENERAL = {
    "stops": Account(stops=Stops(stop_loss=0.05)),
    "borrow": Account(costs=Costs(borrow_cost_bps=300)),
    "volume": Account(costs=Costs(slippage=ParticipationRate(0.0005))),
    "volatility": Account(sizing=VolatilityTarget(0.2)),
    "close": Account(fill="next_close"),
    "always": Account(rebalance="always"),
}


def both(name: str, grid: list[dict[str, float]], bars: Bars, account: Account):
    strategy = registry.find(name).strategy
    rules = [lambda seen, chosen=chosen: targets_of(name, strategy, seen, chosen) for chosen in grid]
    kernels = [strategy.kernel(strategy.parameters(**chosen)) for chosen in grid] if strategy.kernel else []
    single = np.array(
        [
            simulate_account(bars, rule(bars), account).figures(
                periods_per_year=365.0, risk_free=0.02, minimum_return=0.01
            )
            for rule in rules
        ]
    )
    swept = sweep(
        bars, rules, kernels=kernels, account=account, periods_per_year=365.0, risk_free=0.02, minimum_return=0.01
    )
    return single, swept


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("name", GRIDS)
def test_kernels_give_the_bits_of_single_runs(name, account):
    assert is_lean(ONE, ACCOUNTS[account])
    single, swept = both(name, GRIDS[name], ONE, ACCOUNTS[account])
    assert single.tobytes() == swept.tobytes(), [
        (GRIDS[name][row], COLUMNS[column]) for row, column in np.argwhere(single != swept)[:5]
    ]


def alternating(bars: int) -> np.ndarray:
    """A change of mind at every bar, long and short, so that the room for fills and trades must grow."""
    return np.where(np.arange(bars) % 2, 1.0, -1.0)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_plain_way_leaves_the_bytes_of_the_general_one(account, monkeypatch):
    strategy = registry.find("dual_sma").strategy
    asked = [targets_of("dual_sma", strategy, ONE, chosen) for chosen in GRIDS["dual_sma"]]
    walk_of_sizes = np.random.default_rng(5).choice([-1.0, -0.5, 0.0, 0.25, 1.0, np.nan], (400, 1))
    for targets in (*asked, walk_of_sizes, alternating(400), np.zeros(400)):
        plain = simulate_account(ONE, targets, ACCOUNTS[account])
        with monkeypatch.context() as patch:
            patch.setattr(engine, "is_lean", lambda *_: False)
            general = simulate_account(ONE, targets, ACCOUNTS[account])
        for part in ("fills", "trades", "equity", "cash", "positions"):
            assert getattr(plain, part).tobytes() == getattr(general, part).tobytes(), part
        assert plain.ruined_bar == general.ruined_bar


@pytest.mark.parametrize("bar", [0, 200, 399])
@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_target_is_refused_wherever_it_stands(bar, infinite):
    targets = np.zeros(400)
    targets[bar] = infinite
    with pytest.raises(ValueError, match="finite numbers"):
        simulate_account(ONE, targets, Account())


def test_the_grids_trade_and_one_is_ruined():
    single, _ = both("dual_sma", GRIDS["dual_sma"], ONE, ACCOUNTS["half"])
    assert single[:, COLUMNS.index("trades")].max() > 50
    single, _ = both("dual_sma", GRIDS["dual_sma"], ONE, ACCOUNTS["no limit"])
    assert (single[:, COLUMNS.index("final_equity")] <= 0).any()


@pytest.mark.parametrize("account", GENERAL)
def test_other_accounts_go_the_general_way(account):
    assert not is_lean(ONE, GENERAL[account])
    single, swept = both("dual_sma", GRIDS["dual_sma"][:6], ONE, GENERAL[account])
    assert single.tobytes() == swept.tobytes()


def test_several_symbols_go_the_general_way():
    bars = walk(200, 3)
    single, swept = both("dual_sma", GRIDS["dual_sma"][:4], bars, Account(sizing=FixedFraction(0.3)))
    assert single.tobytes() == swept.tobytes()


def test_memory_does_not_grow_with_the_number_of_sets():
    grid = [{"fast": fast, "slow": slow} for fast in range(2, 32) for slow in range(40, 70)]
    strategy = registry.find("dual_sma").strategy
    kernels = [strategy.kernel(strategy.parameters(**chosen)) for chosen in grid]
    rules = [lambda seen: seen.close] * len(grid)
    sweep(ONE, rules[:2], kernels=kernels[:2])
    tracemalloc.start()
    try:
        table = sweep(ONE, rules, kernels=kernels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * table.nbytes  # a single path of each would be 20 times the table
