"""``.oracles/bin/python -m benchmarks.backtests``: the engine beside vectorbt, backtesting.py and a bare numba loop,
in one run.

Bound to two cores, everything compiled before it is timed, the best of several rounds in which everybody takes turns.
Times are of the processor, so that a busy machine does not flatter the quick, who find a free moment; only what two
threads do is timed by the clock. Ratios are the result; times depend on the machine. `make oracles` installs the
others.

The sweep is made in full by both: every pair, nothing scaled up from fewer. vectorbt keeps the path of each, so it is
given `CHUNK` pairs at a time, as its users do when memory ends: averages, crossings, the account, total return,
drawdown, Sharpe ratio and trades of each chunk, added up. It runs on one thread, as it does; ours on one by the
processor's clock, and on two by the wall's against vectorbt's wall. ``targets`` says what was asked for and whether it
was met; the command ends with 1 where it was not.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file: imports begin at the project's folder, not at this one, which has a statistics.py
    sys.path[0] = str(Path(__file__).parents[1])

import argparse
import itertools
import json
import os
import resource
import subprocess
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

CORES = 2
CHUNK = 500
FEE = 5e-4
CASH = 100_000.0


def generated(bars: int) -> Any:
    """A random walk by the minute, the same at every run."""
    from trading.quant.bars import Bars

    random = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.001, bars)))
    opens = np.r_[100.0, close[:-1]] * np.exp(random.normal(0.0, 0.0002, bars))
    high, low = np.maximum(opens, close) * 1.0003, np.minimum(opens, close) * 0.9997
    return Bars(np.arange(bars) * 60_000_000_000, opens, high, low, close, np.full(bars, 1e6))


def rounds(contenders: dict[str, Callable[[], Any]], number: int) -> dict[str, float]:
    """The fewest seconds of the processor that each took, after one call that compiles."""
    for run in contenders.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(number):
        for name, run in contenders.items():
            began = time.process_time()
            run()
            taken[name].append(time.process_time() - began)
    return {name: min(values) for name, values in taken.items()}


def bare_loop() -> Callable[..., Any]:
    """What one would write by hand for this one rule: moving sums, fills at the next open, trades, equity; no
    options."""
    import numba

    @numba.njit(error_model="numpy")
    def loop(opens, close, fast, slow, cash, fee):  # type: ignore[no-untyped-def]  # numba's to infer
        bars = close.shape[0]
        equity = np.empty(bars)
        trades = np.empty((bars // 2 + 1, 6))
        held, value, count, above = 0.0, cash, 0, False
        quick = long = 0.0
        for t in range(bars):
            if above and held == 0.0:
                price = opens[t]
                held = min(value / close[t - 1], cash / (price * (1 + fee)))
                cash -= held * price * (1 + fee)
                trades[count, 0], trades[count, 1], trades[count, 2] = t, price, held
            elif not above and held > 0.0:
                price = opens[t]
                cash += held * price * (1 - fee)
                entry = trades[count, 1]
                trades[count, 3], trades[count, 4] = t, price
                trades[count, 5] = held * (price - entry) - fee * held * (price + entry)
                count += 1
                held = 0.0
            value = cash + held * close[t]
            equity[t] = value
            quick += close[t]
            long += close[t]
            if t >= fast:
                quick -= close[t - fast]
            if t >= slow:
                long -= close[t - slow]
            if t >= slow - 1:
                above = quick / fast > long / slow
        return equity, trades[:count].copy()

    return loop  # type: ignore[no-any-return]  # numba has no types


def crossover(bars: int, number: int) -> dict[str, Any]:
    """One SMA crossover, with trades and equity, for several pairs of windows."""
    import pandas as pd
    import vectorbt as vbt

    from trading.backtests import registry
    from trading.backtests.strategy import targets_of
    from trading.quant.costs import Costs
    from trading.quant.engine import simulate

    data = generated(bars)
    strategy = registry.find("dual_sma").strategy
    opens, close = np.ascontiguousarray(data.open[:, 0]), np.ascontiguousarray(data.close[:, 0])
    prices = pd.Series(close)
    loop = bare_loop()

    def ours(fast: int, slow: int) -> Any:
        targets = targets_of("dual_sma", strategy, data, {"fast": fast, "slow": slow})
        return simulate(data, targets, costs=Costs(fee_bps=FEE * 1e4), cash=CASH)

    def vectorbt(fast: int, slow: int) -> Any:
        above = vbt.MA.run(prices, fast).ma_above(vbt.MA.run(prices, slow)).to_numpy().ravel()
        entries = np.r_[False, above[:-1]]
        account = vbt.Portfolio.from_signals(prices, entries, ~entries, price=opens, fees=FEE, init_cash=CASH)
        return account.value(), account.trades.records

    found = {}
    for fast, slow in ((50, 200), (20, 100)):
        equity, trades = loop(opens, close, fast, slow, CASH, FEE)
        result = ours(fast, slow)
        closed = int((result.trades["reason"] == 0).sum())
        assert closed == len(trades)
        assert abs(result.equity[-1] / equity[-1] - 1) < 1e-6
        seconds = rounds(
            {
                "ours": lambda fast=fast, slow=slow: ours(fast, slow),
                "bare loop": lambda fast=fast, slow=slow: loop(opens, close, fast, slow, CASH, FEE),
                "vectorbt": lambda fast=fast, slow=slow: vectorbt(fast, slow),
            },
            number,
        )
        found[f"{fast}/{slow}, {closed} trades"] = {
            "seconds": seconds,
            "ours over bare loop": seconds["ours"] / seconds["bare loop"],
            "vectorbt over ours": seconds["vectorbt"] / seconds["ours"],
        }
    return found


def one_call(number: int) -> dict[str, Any]:
    """2,000 bars: targets to a result with its metrics; backtesting.py with the same targets."""
    import pandas as pd
    from backtesting import Backtest, Strategy

    from trading.backtests import registry
    from trading.backtests.strategy import targets_of
    from trading.quant.costs import Costs
    from trading.quant.engine import simulate

    data = generated(2_000)
    targets = targets_of("dual_sma", registry.find("dual_sma").strategy, data, {"fast": 10, "slow": 30})
    frame = pd.DataFrame(
        {name: getattr(data, name.lower())[:, 0] for name in ("Open", "High", "Low", "Close", "Volume")},
        index=pd.DatetimeIndex(data.time),
    )
    wished = np.nan_to_num(targets[:, 0])

    class Rule(Strategy):
        def init(self) -> None:
            self.wished = self.I(lambda: wished, plot=False)

        def next(self) -> None:
            if self.wished[-1] > 0 and not self.position:
                self.buy(size=0.95)
            elif self.wished[-1] <= 0 and self.position:
                self.position.close()

    account = Backtest(frame, Rule, cash=CASH, commission=FEE)
    seconds = rounds(
        {
            "ours": lambda: simulate(data, targets, costs=Costs(fee_bps=FEE * 1e4), cash=CASH).metrics(),
            "backtesting.py": account.run,
        },
        number,
    )
    return {"seconds": seconds, "backtesting.py over ours": seconds["backtesting.py"] / seconds["ours"]}


def pairs(count: int) -> list[tuple[int, int]]:
    """So many pairs of windows."""
    side = int(count**0.5)
    return list(itertools.product(range(5, 5 + side), range(5 + 2 * side, 5 + 3 * side)))[:count]


def our_sweep(bars: int, count: int) -> dict[str, Any]:
    """All pairs at once: figures of each, without its path. In a process of its own, whose memory is told."""
    from trading.backtests import registry
    from trading.backtests.strategy import targets_of
    from trading.quant.costs import Costs
    from trading.quant.engine import Account
    from trading.quant.performance import COLUMNS
    from trading.quant.sweep import sweep

    data = generated(bars)
    strategy = registry.find("dual_sma").strategy
    grid = [{"fast": fast, "slow": slow} for fast, slow in pairs(count)]
    rules = [lambda seen, chosen=chosen: targets_of("dual_sma", strategy, seen, chosen) for chosen in grid]
    account = Account(cash=CASH, costs=Costs(fee_bps=FEE * 1e4))

    kernels = [strategy.kernel(strategy.parameters(**chosen)) for chosen in grid]

    def run(threads: int = 1) -> Any:
        return sweep(data, rules, kernels=kernels, account=account, threads=threads)

    table = run()
    clock = []
    for _ in range(5):
        began = time.perf_counter()
        assert run(CORES).tobytes() == table.tobytes()
        clock.append(time.perf_counter() - began)
    return {
        "seconds": rounds({"ours": run}, 5)["ours"],
        "seconds by the clock, two threads": min(clock),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "returns": table[:, COLUMNS.index("total_return")].tolist(),
    }


def vectorbt_sweep(bars: int, count: int, chunk: int) -> dict[str, Any]:
    """The same pairs, ``chunk`` at a time since more do not fit: total return, drawdown, Sharpe ratio, trades of
    each."""
    import pandas as pd
    import vectorbt as vbt

    data = generated(bars)
    prices, opens = pd.Series(data.close[:, 0]), data.open
    chosen = pairs(count)
    returns: list[float] = []

    def run(part: list[tuple[int, int]]) -> None:
        fast, slow = zip(*part, strict=True)
        quick, long = vbt.MA.run(prices, fast, short_name="fast"), vbt.MA.run(prices, slow, short_name="slow")
        above = quick.ma_above(long).to_numpy()
        entries = np.vstack([np.zeros((1, len(part)), bool), above[:-1]])
        account = vbt.Portfolio.from_signals(
            prices, entries, ~entries, price=np.broadcast_to(opens, entries.shape), fees=FEE, init_cash=CASH, freq="1D"
        )
        returns.extend(account.total_return().tolist())
        account.max_drawdown(), account.sharpe_ratio(), account.trades.count()

    run(chosen[:2])
    returns.clear()
    began, clock = time.process_time(), time.perf_counter()
    for start in range(0, count, chunk):
        run(chosen[start : start + chunk])
    return {
        "seconds": time.process_time() - began,
        "seconds by the clock": time.perf_counter() - clock,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "returns": returns,
    }


def apart(arguments: list[str]) -> dict[str, Any]:
    """One part in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.backtests", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Run all parts and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--part", choices=["our-sweep", "vectorbt-sweep"])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))
    if given.part == "our-sweep":
        print(json.dumps(our_sweep(5_000, given.pairs)))
        return
    if given.part == "vectorbt-sweep":
        print(json.dumps(vectorbt_sweep(5_000, given.pairs, CHUNK)))
        return
    ours = apart(["--part", "our-sweep", "--pairs", str(given.pairs)])
    theirs = apart(["--part", "vectorbt-sweep", "--pairs", str(given.pairs)])
    np.testing.assert_allclose(ours.pop("returns"), theirs.pop("returns"), rtol=0.2, atol=0.02)
    answer: dict[str, Any] = {
        "cores": CORES,
        f"crossover, {given.bars} bars": crossover(given.bars, given.rounds),
        "one call, 2000 bars": one_call(given.rounds),
        f"sweep, {given.pairs} pairs, 5000 bars": {
            "ours": ours,
            "vectorbt": theirs,
            "vectorbt over ours, one thread": theirs["seconds"] / ours["seconds"],
            "vectorbt over ours by the clock, two cores": theirs["seconds by the clock"]
            / ours["seconds by the clock, two threads"],
        },
    }
    crossed, swept = answer[f"crossover, {given.bars} bars"], answer[f"sweep, {given.pairs} pairs, 5000 bars"]
    targets = {
        "crossover over a bare loop, at most 2": all(row["ours over bare loop"] <= 2.0 for row in crossed.values()),
        "vectorbt over the crossover, at least 10": all(row["vectorbt over ours"] >= 10.0 for row in crossed.values()),
        "vectorbt over the sweep, at least 100": swept["vectorbt over ours by the clock, two cores"] >= 100.0,
        "megabytes of the sweep, at most 500": ours["megabytes"] <= 500.0,
        "seconds of one call, at most 0.001": answer["one call, 2000 bars"]["seconds"]["ours"] <= 1e-3,
    }
    print(json.dumps({**answer, "targets": targets}, indent=2))
    if not all(targets.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
