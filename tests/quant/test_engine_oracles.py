"""vectorbt and backtesting.py, asked now: `make oracles`. Without them these tests are skipped."""

import json
import warnings

import numpy as np
import pytest

pytest.importorskip("vectorbt", reason="vectorbt is installed by `make oracles`")

import pandas as pd
from backtesting import Backtest
from backtesting import Strategy as TheirStrategy

from tests.quant import record_engine
from tests.quant.agreement import CASES, Case, answer, bars_of, ours
from trading.backtests import registry
from trading.backtests.strategy import targets_of
from trading.quant.costs import Costs
from trading.quant.engine import simulate
from trading.quant.sizing import FixedFraction

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_with_vectorbt_in_every_figure_of_every_trade(case: Case) -> None:
    expected, found = record_engine.theirs(case), answer(ours(case))
    assert found["final_equity"] == pytest.approx(expected["final_equity"], rel=1e-9)
    assert found["max_drawdown"] == pytest.approx(expected["max_drawdown"], rel=1e-9, abs=1e-12)
    assert len(found["trades"]) == len(expected["trades"])
    for mine, theirs in zip(found["trades"], expected["trades"], strict=True):
        for name, value in theirs.items():
            # Profits are differences of amounts of up to the whole account.
            assert mine[name] == pytest.approx(value, rel=1e-9, abs=1e-9 * 100_000 if name == "pnl" else 1e-11), name


def test_the_record_is_what_vectorbt_still_says() -> None:
    recorded = json.loads(record_engine.FILE.read_text())["cases"]
    for case in CASES:
        now = record_engine.short(record_engine.theirs(case))
        for name, value in recorded[case.name].items():
            assert now[name] == pytest.approx(value, rel=1e-9, abs=1e-9)


def equity_of_backtesting_py(case: Case, lot: int, *, by_units: bool) -> tuple[np.ndarray, int]:
    """The equity that backtesting.py reports, and how many trades; orders in units or in shares of the equity."""
    bars = bars_of(case.data)
    strategy = registry.find(case.strategy).strategy
    targets = np.nan_to_num(targets_of(case.strategy, strategy, bars, case.parameters)[:, 0])
    frame = pd.DataFrame(
        {
            "Open": bars.open[:, 0],
            "High": bars.high[:, 0],
            "Low": bars.low[:, 0],
            "Close": bars.close[:, 0],
            "Volume": bars.volume[:, 0],
        },
        index=pd.DatetimeIndex(bars.time),
    )

    class Rule(TheirStrategy):
        """Trades when the target changes."""

        def init(self) -> None:
            self.wished = self.I(lambda: targets, plot=False)

        def next(self) -> None:
            if self.wished[-1] == self.wished[-2]:
                return
            units = int(case.fraction * self.equity / self.data.Close[-1] / lot) * lot
            self.position.close()
            if self.wished[-1] != 0:
                size = units if by_units else case.fraction
                (self.buy if self.wished[-1] > 0 else self.sell)(size=size)

    account = Backtest(frame, Rule, cash=case.cash, commission=case.fee_bps / 1e4, finalize_trades=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = account.run()
    strategy_trades = len(stats["_trades"]) + len(stats["_strategy"].trades)
    return stats["_equity_curve"]["Equity"].to_numpy(), strategy_trades


BACKTESTING = [case for case in CASES if case.strategy not in ("momentum", "buy_and_hold") and case.spread == 0.0] + [
    Case(data, "dual_sma", {"fast": 5, "slow": 20, "short": True}, 0.5, 12.0) for data in ("MSFT", "walk 4")
]


@pytest.mark.parametrize("case", BACKTESTING, ids=lambda case: case.name)
def test_agrees_with_backtesting_py_when_both_are_told_the_units(case: Case) -> None:
    """Whole units, computed at the close of the decision: the same fills, and the same equity at every close.

    With 0.85 of the fraction, because backtesting.py refuses an order that a gap has made too dear where this
    engine buys what the cash pays for.
    """
    case = Case(case.data, case.strategy, case.parameters, 0.85 * case.fraction, case.fee_bps)
    bars = bars_of(case.data)
    strategy = registry.find(case.strategy).strategy
    result = simulate(
        bars,
        targets_of(case.strategy, strategy, bars, case.parameters),
        sizing=FixedFraction(case.fraction),
        costs=Costs(fee_bps=case.fee_bps),
        lot_size=1.0,
        cash=case.cash,
    )
    equity, trades = equity_of_backtesting_py(case, 1, by_units=True)
    assert trades == len(result.trades)
    np.testing.assert_allclose(equity, result.equity, rtol=1e-9)


def test_the_difference_in_size_is_the_gap_between_close_and_open() -> None:
    """Told a share of the equity, backtesting.py sizes at the price of the fill, which nobody knew at the decision.

    So its quantities differ from ours by the gap to the open, and by the rounding to whole units, and the equity
    follows.
    """
    case = Case("IBM", "dual_sma", {"fast": 5, "slow": 20}, 0.5)
    bars = bars_of(case.data)
    result = ours(case)
    equity, trades = equity_of_backtesting_py(case, 1, by_units=False)
    assert trades == len(result.trades)
    gaps = np.abs(bars.open[1:, 0] / bars.close[:-1, 0] - 1.0)[result.trades["entry_bar"] - 1]
    moved = np.abs(result.trades["return"])
    bound = case.fraction * float(((gaps + 1.0 / 200.0) * moved).sum()) * 1.5
    difference = abs(equity[-1] / result.equity[-1] - 1.0)
    assert 0.0 < difference < bound
