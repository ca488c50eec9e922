"""Cases that other engines can express too, and our own answer to each."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.quant.series import walk
from trading.backtests import registry
from trading.backtests.strategy import targets_of
from trading.quant.bars import Bars
from trading.quant.costs import Costs, SpreadPct
from trading.quant.engine import Account, Result, simulate_account
from trading.quant.sizing import FixedFraction

BUNDLED = Path(__file__).resolve().parents[2] / "trading" / "marketdata" / "data" / "us_stocks_daily.csv.gz"
FULL = ("AAPL", "GOOG", "IBM", "MSFT")
"""The bundled symbols that have every bar."""


@dataclass(frozen=True)
class Case:
    """A strategy with its parameters over some bars, and how its orders are sized and paid for."""

    data: str
    strategy: str
    parameters: dict[str, Any]
    fraction: float = 1.0
    fee_bps: float = 0.0
    spread: float = 0.0
    rebalance: str = "on_change"
    cash: float = 100_000.0

    @property
    def name(self) -> str:
        """One line for each case, the same at every time."""
        numbers = ",".join(f"{key}={value}" for key, value in self.parameters.items())
        return (
            f"{self.data} {self.strategy}({numbers}) fraction={self.fraction} fee={self.fee_bps} spread={self.spread} "
            f"{self.rebalance}"
        )


RULES: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("buy_and_hold", {}, 1.0),
    ("dual_sma", {"fast": 5, "slow": 20}, 1.0),
    ("dual_sma", {"fast": 10, "slow": 50, "short": True}, 0.5),
    ("breakout", {"entry": 20, "exit": 10}, 1.0),
    ("breakout", {"entry": 10, "exit": 5, "short": True}, 0.4),
    ("mean_reversion", {"window": 15, "entry": 1.5, "exit": 0.25}, 1.0),
    ("mean_reversion", {"window": 10, "entry": 1.0, "exit": 0.0, "short": True}, 0.3),
)
CASES = tuple(
    Case(data, strategy, parameters, fraction, fee, spread)
    for data in ("AAPL", "IBM", "walk 1", "walk 2")
    for strategy, parameters, fraction in RULES
    for fee, spread in ((0.0, 0.0), (12.0, 0.0015))
) + tuple(
    Case(data, "momentum", {"lookback": 60, "skip": 3, "hold": 2, "period_days": 28}, 0.9, fee, spread, rebalance)
    for data in ("stocks", "walks 3")
    for fee, spread in ((0.0, 0.0), (12.0, 0.0015))
    for rebalance in ("on_change", "always")
)


def bundled(symbols: tuple[str, ...]) -> Bars:
    """The bundled candles of ``symbols``."""
    with gzip.open(BUNDLED, "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["symbol"] in symbols]
    times = np.array(sorted({row["time"] for row in rows}), dtype="datetime64[ns]")
    at = {str(time)[:10]: position for position, time in enumerate(times)}
    table = {name: np.full((len(times), len(symbols)), np.nan) for name in ("open", "high", "low", "close", "volume")}
    for row in rows:
        for name, values in table.items():
            values[at[row["time"][:10]], symbols.index(row["symbol"])] = float(row[name])
    return Bars(times, **table, symbols=symbols)


def bars_of(data: str) -> Bars:
    """The bars of a case."""
    if data == "stocks":
        return bundled(FULL)
    if data.startswith("walks "):
        return walk(600, 5, seed=int(data.split()[1]), volatility=0.015)
    if data.startswith("walk "):
        return walk(1_000, seed=int(data.split()[1]), volatility=0.02)
    return bundled((data,))


def ours(case: Case) -> Result:
    """What the engine says."""
    bars = bars_of(case.data)
    account = Account(
        cash=case.cash,
        sizing=FixedFraction(case.fraction),
        costs=Costs(fee_bps=case.fee_bps, slippage=SpreadPct(case.spread)),
        rebalance=case.rebalance,  # type: ignore[arg-type]
    )
    strategy = registry.find(case.strategy).strategy
    return simulate_account(bars, targets_of(case.strategy, strategy, bars, case.parameters), account)


def answer(result: Result) -> dict[str, Any]:
    """The figures that are compared."""
    trades = np.sort(result.trades, order=["symbol", "entry_bar"])
    return {
        "final_equity": float(result.equity[-1]),
        "max_drawdown": result.metrics().max_drawdown,
        "trades": [{name: trade[name].item() for name in COMPARED} for trade in trades],
    }


def short(full: dict[str, Any]) -> dict[str, Any]:
    """An answer as it is recorded: of the trades only when they were and what they earned."""
    return {
        "final_equity": full["final_equity"],
        "max_drawdown": full["max_drawdown"],
        **{name: [trade[name] for trade in full["trades"]] for name in ("entry_bar", "exit_bar", "pnl")},
    }


COMPARED = (
    "symbol",
    "direction",
    "entry_bar",
    "exit_bar",
    "quantity",
    "entry_price",
    "exit_price",
    "fees",
    "pnl",
    "return",
)
