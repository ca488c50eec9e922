"""``.oracles/bin/python -m tests.quant.record_engine``: what vectorbt says of each case, written to
engine_recorded.json.

The rules are expressed anew in pandas and vectorbt; only bars and parameters are shared with the engine. vectorbt's
user has to shift the signals by a bar and to value the account at the close of the decision: both are done here.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

from tests.quant.agreement import CASES, Case, bars_of, short
from trading.quant.bars import DAY_NS, Bars

FILE = Path(__file__).with_name("engine_recorded.json")


def states(case: Case, bars: Bars) -> pd.DataFrame:
    """What to hold after each close: 1, -1, 0, or a share; NaN for no opinion."""
    close, high, low = (pd.DataFrame(array, columns=list(bars.symbols)) for array in (bars.close, bars.high, bars.low))
    given = case.parameters
    short = given.get("short", False)
    if case.strategy == "buy_and_hold":
        return close * 0 + 1 / close.shape[1]
    if case.strategy == "momentum":
        return momentum(case, bars, close)
    nothing = close < 0
    if case.strategy == "dual_sma":
        fast, slow = (vbt.MA.run(close.iloc[:, 0], given[name]).ma.to_numpy() for name in ("fast", "slow"))
        above, below = (pd.DataFrame(mask, columns=close.columns) for mask in (fast > slow, fast < slow))
        entries, exits = above, below
        short_entries, short_exits = (below, above) if short else (nothing, nothing)
    elif case.strategy == "breakout":
        top, floor = high.rolling(given["entry"]).max().shift(), low.rolling(given["entry"]).min().shift()
        ceiling, bottom = high.rolling(given["exit"]).max().shift(), low.rolling(given["exit"]).min().shift()
        entries, exits = close > top, close < bottom
        short_entries, short_exits = (close < floor, close > ceiling) if short else (nothing, nothing)
    else:
        window = close.rolling(given["window"])
        score = (close - window.mean()) / window.std()
        entries, exits = score < -given["entry"], score >= -given["exit"]
        short_entries, short_exits = (score > given["entry"], score <= given["exit"]) if short else (nothing, nothing)
    # A long exit on the bar of a short entry is part of the reversal.
    machine = vbt.Portfolio.from_signals(
        close, entries, exits & ~short_entries, short_entries, short_exits & ~entries, size=1.0, init_cash=1e12,
        upon_opposite_entry="reverse",
    )  # fmt: skip
    held = machine.assets()
    held = held.to_frame() if isinstance(held, pd.Series) else held
    return pd.DataFrame(np.sign(held.to_numpy()), columns=close.columns)


def momentum(case: Case, bars: Bars, close: pd.DataFrame) -> pd.DataFrame:
    """Equal shares of the best risers at the first bar of each period."""
    given = case.parameters
    gains = close.shift(given["skip"]) / close.shift(given["lookback"] - 1) - 1
    period = pd.Series(bars.time // (given["period_days"] * DAY_NS))
    first = (period != period.shift()) & (period.index >= max(1, given["lookback"] - 1))
    ranked = gains.where(gains > 0).rank(axis=1, ascending=False)
    chosen = (ranked <= given["hold"]).astype(float) / given["hold"]
    return chosen.where(first, np.nan)


def portfolio(case: Case) -> Any:
    """vectorbt's account of the case."""
    bars = bars_of(case.data)
    names = list(bars.symbols)
    close, open_ = pd.DataFrame(bars.close, columns=names), pd.DataFrame(bars.open, columns=names)
    wished = states(case, bars)
    sizes = wished
    if case.rebalance == "on_change":
        known = wished.ffill().fillna(0.0)
        sizes = known.where(known != known.shift(fill_value=0.0))
    return vbt.Portfolio.from_orders(
        close, size=sizes.shift() * case.fraction, size_type="targetpercent", direction="both", price=open_,
        val_price=close.shift(), fees=case.fee_bps / 1e4, slippage=case.spread / 2, init_cash=case.cash,
        cash_sharing=True, group_by=True, call_seq="auto", freq="1D",
    )  # fmt: skip


def theirs(case: Case) -> dict[str, Any]:
    """The figures that are compared, as JSON holds them."""
    account = portfolio(case)
    records = account.positions.records.sort_values(["col", "entry_idx"])
    return {
        "final_equity": float(account.value().iloc[-1]),
        "max_drawdown": -float(account.max_drawdown()),
        "trades": [
            {
                "symbol": int(row["col"]),
                "direction": -1 if row["direction"] else 1,
                "entry_bar": int(row["entry_idx"]),
                "exit_bar": int(row["exit_idx"]),
                "quantity": float(row["size"]),
                "entry_price": float(row["entry_price"]),
                "exit_price": float(row["exit_price"]),
                "fees": float(row["entry_fees"] + row["exit_fees"]),
                "pnl": float(row["pnl"]),
                "return": float(row["return"]),
            }
            for row in records.to_dict("records")
        ],
    }


def main() -> None:
    """Write the file."""
    cases = ",\n".join(f"{json.dumps(case.name)}: {json.dumps(short(theirs(case)))}" for case in CASES)
    FILE.write_text(f'{{"vectorbt": "{vbt.__version__}", "cases": {{\n{cases}\n}}}}\n')


if __name__ == "__main__":
    main()
