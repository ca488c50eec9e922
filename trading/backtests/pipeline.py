"""A run worked out: from candles to artifacts, by functions whose answer follows from their arguments alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trading.backtests import canonical, registry, tables, tearsheet
from trading.backtests.candles import Series
from trading.backtests.config import RunConfig
from trading.backtests.parsing import strategies_folder
from trading.backtests.registry import Found
from trading.backtests.strategy import targets_of
from trading.backtests.tables import Cells, Column, Table
from trading.backtests.validation import Judged
from trading.quant import indicator
from trading.quant.bars import DAY_NS, Bars
from trading.quant.costs import Costs, Slippage, SpreadPct, Stops
from trading.quant.engine import Result, simulate
from trading.quant.kernels import Floats
from trading.quant.parameters import sizing_of, slippage_of
from trading.quant.records import REASONS
from trading.quant.statistics import sharpe

BASIS_POINT = 1e-4
YEAR_NS = 365.25 * DAY_NS
MISTAKEN = 1.5
"""Times as many bars a year as there are, or as few: more than days of an exchange and of a market that never closes
differ by."""
KELLY = (
    " The size of kelly_fraction is that of its 'start', zero by default, until 'window' bars with a target are known;"
    " an order follows later when the target changes, or with rebalance 'always'."
)
LEAST_DAYS = 28
"""Of candles, from which it can be told how many come a year."""


def aligned(found: Sequence[Series]) -> Bars:
    """The series side by side over all their times; NaN where one has no bar. Raises `trading.quant.bars.BadBars`."""
    if len(found) == 1:
        only = found[0]
        return Bars(only.time, only.open, only.high, only.low, only.close, only.volume, (only.symbol,))
    time = np.unique(np.concatenate([series.time for series in found]))
    columns = {name: np.full((len(time), len(found)), np.nan) for name in ("open", "high", "low", "close", "volume")}
    for place, series in enumerate(found):
        rows = np.searchsorted(time, series.time)
        for name, table in columns.items():
            table[rows, place] = getattr(series, name)
    return Bars(time, symbols=[series.symbol for series in found], **columns)


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix: its name, and its values of shape (T, S)."""

    name: str
    values: Floats


def features(config: RunConfig, bars: Bars) -> list[Feature]:
    """The columns of every indicator that ``config`` names, named by the indicator's parameters too."""
    found = []
    for given in config.indicators:
        if given.name in indicator.names():
            columns = indicator.compute(given.name, bars, given.params)
        else:
            columns = {given.name: targets(given.name, given.params, bars)}
        suffix = "".join(f"_{canonical.canonical(value).decode()}" for value in given.params.values())
        found += [Feature(f"{name}{suffix}", values) for name, values in columns.items()]
    return found


def targets(
    name: str, params: dict[str, Any], bars: Bars, find: Callable[[str, Path | None], Found] = registry.anew
) -> Floats:
    """What the strategy of that name wishes to hold, shape (T, S), whatever it was asked before in this process.

    Raises `trading.backtests.registry.UnknownStrategy` and `trading.backtests.strategy.BrokenStrategy`.
    """
    return targets_of(name, find(name, strategies_folder()).strategy, bars, params)


def simulated(config: RunConfig, bars: Bars, find: Callable[[str, Path | None], Found] = registry.anew) -> Result:
    """What trading the strategy over ``bars`` would have left."""
    return traded(config, bars, targets(config.strategy.name, config.strategy.params, bars, find))


def traded(config: RunConfig, bars: Bars, wished: Floats) -> Result:
    """What trading those targets over ``bars``, under the terms of ``config``, would have left."""
    execution, risk = config.execution, config.risk
    slippage: Slippage = slippage_of(execution.slippage.model, execution.slippage.params)
    if execution.slippage_bps:
        slippage = SpreadPct(2 * execution.slippage_bps * BASIS_POINT)  # half of the spread is paid each way
    return simulate(
        bars,
        wished,
        cash=config.initial_cash,
        sizing=sizing_of(risk.model, risk.params),
        costs=Costs(execution.fee_bps, execution.borrow_cost_bps, slippage),
        stops=Stops(risk.stop_loss, risk.take_profit, risk.trailing),
        multiplier=execution.multiplier,
        lot_size=execution.lot_size,
        max_leverage=execution.max_leverage,
        fill=execution.fill,
        rebalance=execution.rebalance,
    )


def measured(config: RunConfig, result: Result) -> dict[str, Any]:
    """The figures of a result, with the error of its Sharpe ratio and the chance that it is above zero."""
    periods = config.periods_per_year or 1.0
    found: dict[str, Any] = dict(result.metrics(periods_per_year=periods).as_dict())
    if result.ruined_bar is None:
        record = sharpe.Record.of(result.returns)
        found["sharpe_standard_error"] = sharpe.standard_error(record) * periods**0.5
        found["probabilistic_sharpe"] = sharpe.probabilistic_sharpe(record)
        found["skewness"], found["kurtosis"] = record.skewness, record.kurtosis
    else:
        found.update(sharpe_standard_error=None, probabilistic_sharpe=None, skewness=None, kurtosis=None)
    found["ruined_at"] = None if result.ruined_bar is None else tables.times(result.time)[result.ruined_bar]
    found["untraded"] = None if len(result.fills) else _untraded(config, len(result.time))
    found["misannualised"] = misannualised(config, result.time)
    return found


def misannualised(config: RunConfig, time: npt.NDArray[np.int64]) -> str | None:
    """What is wrong with the figures a year where the candles come at another rate than they are annualised by.

    ``time``: of all bars, int64 nanoseconds, shape (T,). A market that closes has fewer bars within a day than the
    timeframe's default, which is that of one that never does.
    """
    span, periods = float(time[-1] - time[0]), config.periods_per_year or 1.0
    if span < LEAST_DAYS * DAY_NS:
        return None
    observed = (len(time) - 1) / (span / YEAR_NS)
    ratio = max(periods / observed, observed / periods)
    if ratio < MISTAKEN:
        return None
    return (
        f"Figures are annualised by {periods:,.0f} bars a year, and the candles come at {observed:,.0f}: volatility and"
        f" Sharpe ratio a year are {ratio**0.5:.1f} times too {'large' if periods > observed else 'small'}. Name the"
        " bars a year of this market in periods_per_year."
    )


def _untraded(config: RunConfig, bars: int) -> str:
    """Why nothing was traded, and what to do: a warm-up as long as the data leaves no bar to decide and to fill on."""
    name, params = config.strategy.name, config.strategy.params
    strategy = registry.find(name, strategies_folder()).strategy
    warm_up = strategy.warm_up(strategy.parameters.model_validate(params))
    if bars < warm_up + 2:
        return (
            f"Nothing was traded: {name} decides first after {warm_up + 1} bars and needs one more to be filled on, and"
            f" there are {bars}. Take a longer period or parameters that look back less."
        )
    return (
        f"Nothing was traded: no order of {name} was filled in {bars} bars. Put it among the indicators to see what it"
        " wished to hold, and look whether lot size, cash, sizing and volume leave room for an order."
        + KELLY
        * (config.risk.model == "kelly_fraction")
    )


def artifacts(
    config: RunConfig, made: Sequence[Feature], result: Result, metrics: dict[str, Any], judged: Judged
) -> dict[str, bytes]:
    """Everything that the run leaves, by name; ``metrics`` are what `measured` says."""
    times = tables.times(result.time)
    found = {
        "draws": _draws(judged),
        "equity": _equity(result, times),
        "positions": _positions(result, times),
        "fills": _fills(result, times),
        "trades": _trades(result, times),
        "features": _features(result, made, times),
    }
    return {
        "config.json": config.canonical(),
        "metrics.json": canonical.canonical(metrics),
        "validation.json": canonical.canonical(judged.summary),
        **written(found),
        "tearsheet.html": tearsheet.page(config, result, metrics, judged),
    }


def written(found: Mapping[str, Table]) -> dict[str, bytes]:
    """Each table as CSV and as Parquet, by the names of the files."""
    # Here, so that only a process that has something to write loads pyarrow.
    from trading.backtests.parquet import parquet

    files = {f"{name}.csv": tables.csv(table) for name, table in found.items()}
    return files | {f"{name}.parquet": parquet(table) for name, table in found.items()}


def drawdown(equity: Floats) -> Floats:
    """The fall from the highest equity so far, as a fraction of it, shape (T,); zero or positive."""
    peaks = np.maximum.accumulate(equity)
    fallen: Floats = 1.0 - equity / peaks
    return fallen


def _at(name: str, result: Result, times: Cells, bars: npt.NDArray[np.int64]) -> Column:
    """The times of some bars."""
    return Column(name, [times[bar] for bar in bars.tolist()], result.time[bars].view("datetime64[ns]"))


def _time(result: Result, times: Cells) -> Column:
    return Column("time", times, result.time.view("datetime64[ns]"))


def _equity(result: Result, times: Cells) -> Table:
    return [
        _time(result, times),
        tables.floats("equity", result.equity),
        tables.floats("cash", result.cash),
        tables.floats("drawdown", drawdown(result.equity)),
    ]


def _positions(result: Result, times: Cells) -> Table:
    held = [tables.floats(name, result.positions[:, place]) for place, name in enumerate(result.symbols)]
    return [_time(result, times), *held]


def _named(result: Result, places: npt.NDArray[np.int64]) -> Column:
    return tables.words("symbol", (result.symbols[place] for place in places.tolist()))


def _reasons(numbers: npt.NDArray[np.int64]) -> Column:
    return tables.words("reason", (REASONS[number] for number in numbers.tolist()))


def _fills(result: Result, times: Cells) -> Table:
    fills = result.fills
    return [
        _at("time", result, times, fills["bar"]),
        _named(result, fills["symbol"]),
        *(tables.floats(name, fills[name]) for name in ("quantity", "price", "fee", "slippage")),
        _reasons(fills["reason"]),
    ]


def _trades(result: Result, times: Cells) -> Table:
    trades = result.trades
    amounts = ("quantity", "entry_price", "exit_price", "fees", "borrow", "pnl", "return")
    return [
        _named(result, trades["symbol"]),
        tables.whole("direction", trades["direction"]),
        _at("entry_time", result, times, trades["entry_bar"]),
        _at("exit_time", result, times, trades["exit_bar"]),
        *(tables.floats(name, trades[name]) for name in amounts),
        _reasons(trades["reason"]),
    ]


def _features(result: Result, made: Sequence[Feature], times: Cells) -> Table:
    """One row for each time and symbol, in that order."""
    count = len(result.symbols)
    return [
        _at("time", result, times, np.repeat(np.arange(len(result.time)), count)),
        Column("symbol", tables.text(result.symbols) * len(result.time), list(result.symbols) * len(result.time)),
        tables.floats("close", result.close.reshape(-1)),
        *(tables.floats(feature.name, feature.values.reshape(-1)) for feature in made),
    ]


def _draws(judged: Judged) -> Table:
    """Every draw of every test, one row each."""
    lengths = [len(values) for values in judged.draws.values()]
    names = [name for name, length in zip(judged.draws, lengths, strict=True) for _ in range(length)]
    values = np.concatenate(list(judged.draws.values())) if judged.draws else np.empty(0)
    numbers = np.concatenate([np.arange(length) for length in lengths]) if lengths else np.empty(0, np.int64)
    return [
        tables.whole("draw", numbers),
        Column("of", names, names),
        tables.floats("value", values),
    ]
