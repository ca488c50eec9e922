"""What a simulation earned and what it went through. docs/conventions.md gives each definition and its source."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np

from trading.quant.kernels import Floats, kernel
from trading.quant.records import OPEN, Records
from trading.quant.sizing import require


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of one simulation; shares and returns are fractions, money is in the quote currency, NaN is undefined.

    ``bars``: how many. ``periods_per_year``: A, by which all that is "a year" was annualised. ``total_return``: over
    the initial cash. ``cagr``: growth a year. ``volatility``, ``sharpe``, ``sortino``: a year. ``max_drawdown``: the
    deepest fall from a peak, positive. ``longest_drawdown``: bars between a peak and its recovery or the end.
    ``calmar``: cagr over max_drawdown. ``turnover``: traded notional, both ways, over mean equity, a year.
    ``exposure``: mean gross notional over mean equity. ``time_in_market``: share of bars that end with a position.
    ``trades``: closed ones, of which ``hit_rate`` earned something; ``profit_factor``: their gains over their losses;
    ``mean_trade``: their mean return. ``fees``, ``borrow``, ``slippage``: paid in all, open trades included.
    """

    bars: int
    periods_per_year: float
    final_equity: float
    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    max_drawdown: float
    longest_drawdown: int
    calmar: float
    turnover: float
    exposure: float
    time_in_market: float
    trades: int
    hit_rate: float
    profit_factor: float
    mean_trade: float
    fees: float
    borrow: float
    slippage: float

    def as_dict(self) -> dict[str, float | int | None]:
        """By name, with None for what is undefined or infinite, which JSON cannot hold."""
        return {
            name: value if isinstance(value, int) or math.isfinite(value) else None
            for name, value in asdict(self).items()
        }


COLUMNS: Final = tuple(field.name for field in fields(Metrics))
"""The figures in the order of a row of `metrics_nb`."""
WHOLE: Final = frozenset(field.name for field in fields(Metrics) if field.type is int)
LANES = 32

CLOSED, WINS, GAINS, LOSSES, RETURNS, NOTIONAL, FEES, BORROW, SLIPPAGE = range(9)
"""Where the sums of trades and fills stand in the array that `trade_sums_nb` fills."""


def metrics_of(row: Floats) -> Metrics:
    """A row of `metrics_nb` with names."""
    return Metrics(
        **{name: int(value) if name in WHOLE else value for name, value in zip(COLUMNS, row.tolist(), strict=True)}
    )


def measure(
    equity: Floats,
    close: Floats,
    multiplier: Floats,
    fills: Records,
    trades: Records,
    *,
    periods_per_year: float,
    risk_free: float,
    minimum_return: float,
) -> Floats:
    """The figures of `Metrics` in their order; ``risk_free`` and ``minimum_return`` are a year, and count as 1/A of it
    each bar."""
    require(0.0 < periods_per_year < math.inf, "periods_per_year must be above 0")
    sums, gross, row = np.zeros(9), np.zeros(equity.shape[0]), np.empty(len(COLUMNS))
    trade_sums_nb(fills, trades, multiplier, sums)
    gross_nb(fills, close, multiplier, gross)
    periods, free, least = float(periods_per_year), float(risk_free), float(minimum_return)
    metrics_nb(equity, gross, sums, periods, free, least, np.empty(equity.shape[0]), row)
    return row


@kernel
def trade_sums_nb(fills: Records, trades: Records, multiplier: Floats, sums: Floats) -> None:
    """Add up the closed trades and all fills, one after the other."""
    for number in range(trades.shape[0]):
        trade = trades[number]
        sums[BORROW] += trade["borrow"]
        if trade["reason"] != OPEN:
            pnl = trade["pnl"]
            sums[CLOSED] += 1.0
            sums[WINS] += 1.0 if pnl > 0.0 else 0.0
            sums[GAINS] += max(pnl, 0.0)
            sums[LOSSES] -= min(pnl, 0.0)
            sums[RETURNS] += trade["return"]
    for number in range(fills.shape[0]):
        fill = fills[number]
        sums[NOTIONAL] += abs(fill["quantity"]) * fill["price"] * multiplier[fill["symbol"]]
        sums[FEES] += fill["fee"]
        sums[SLIPPAGE] += fill["slippage"]


@kernel
def gross_nb(fills: Records, close: Floats, multiplier: Floats, gross: Floats) -> None:
    """Add to ``gross`` (T,) the notional of the positions at each close, one symbol after the other."""
    bars, symbols = close.shape
    for s in range(symbols):
        start, units, last = 0, 0.0, 0.0
        for number in range(fills.shape[0] + 1):
            ends = number == fills.shape[0]
            if not ends and fills[number]["symbol"] != s:
                continue
            stop = bars if ends else fills[number]["bar"]
            if units > 0.0:
                for t in range(start, stop):
                    if not np.isnan(close[t, s]):
                        last = close[t, s]
                    gross[t] += units * last
            if not ends:
                start, units = stop, abs(fills[number]["position"]) * multiplier[s]


@kernel
def lane_sum_nb(values: Floats, count: int, less: float, kind: int) -> float:
    """Sum of x (kind 0), x squared (1) or min(x, 0) squared (2) for x = value - ``less``, over the first ``count``.

    Many sums side by side, which the processor adds at once, in an order that is always the same.
    """
    lanes = np.zeros(LANES)
    whole = count - count % LANES
    most, squared = 0.0 if kind == 2 else np.inf, kind > 0
    for start in range(0, whole, LANES):
        block = values[start : start + LANES]
        for k in range(LANES):
            x = block[k] - less
            x = min(x, most)
            lanes[k] += x * x if squared else x
    for k in range(whole, count):
        x = min(values[k] - less, most)
        lanes[0] += x * x if squared else x
    total = 0.0
    for k in range(LANES):
        total += lanes[k]
    return total


@kernel
def drawdown_nb(equity: Floats) -> tuple[float, int]:
    """The deepest fall from a peak as a fraction, and the most bars from a peak to the last bar under it."""
    peak = low_peak = low = equity[0]
    peak_bar = longest = 0
    for start in range(1, equity.shape[0], LANES):
        block = equity[start : start + LANES]
        # Bars that are neither a peak nor the deepest fall are passed many at a time.
        special = False
        for k in range(block.shape[0]):
            special |= (block[k] >= peak) | (block[k] * low_peak < low * peak)
        if not special:
            longest = max(longest, start + block.shape[0] - 1 - peak_bar)
            continue
        for k in range(block.shape[0]):
            value = block[k]
            if value >= peak:
                peak = value
                peak_bar = start + k
            else:
                longest = max(longest, start + k - peak_bar)
                # value / peak < low / low_peak, without the division.
                if value * low_peak < low * peak:
                    low, low_peak = value, peak
    return 1.0 - low / low_peak, longest


@kernel
def ratio_nb(above: float, below: float) -> float:
    """``above`` over ``below``, NaN when that is zero or undefined."""
    return above / below if below != 0.0 else np.nan


@kernel
def metrics_nb(
    equity: Floats, gross: Floats, sums: Floats, periods: float, risk_free: float, minimum: float, scratch: Floats,
    row: Floats,
) -> None:  # fmt: skip
    """Fill ``row`` with the figures of `Metrics` in their order; ``scratch`` is room for T numbers."""
    bars = equity.shape[0]
    count = bars - 1
    years = count / periods
    later, before = equity[1:], equity[:count]
    for k in range(count):
        scratch[k] = later[k] / before[k] - 1.0
    mean = lane_sum_nb(scratch, count, 0.0, 0) / count if count > 0 else np.nan
    deviation = np.sqrt(lane_sum_nb(scratch, count, mean, 1) / (count - 1)) if count > 1 else np.nan
    least = minimum / periods
    downside = np.sqrt(lane_sum_nb(scratch, count, least, 2) / count) if count > 0 else np.nan
    deepest, longest = drawdown_nb(equity)
    growth = equity[count] / equity[0]
    cagr = np.nan
    if count > 0:
        cagr = growth ** (1.0 / years) - 1.0 if growth > 0.0 else -1.0
    held = 0
    for t in range(bars):
        held += gross[t] > 0.0
    total = lane_sum_nb(equity, bars, 0.0, 0)
    root = np.sqrt(periods)
    row[0] = bars
    row[1] = periods
    row[2] = equity[count]
    row[3] = growth - 1.0
    row[4] = cagr
    row[5] = root * deviation
    row[6] = root * ratio_nb(mean - risk_free / periods, deviation)
    row[7] = root * ratio_nb(mean - least, downside)
    row[8] = deepest
    row[9] = longest
    row[10] = ratio_nb(cagr, deepest)
    row[11] = ratio_nb(sums[NOTIONAL], total / bars * years)
    row[12] = ratio_nb(lane_sum_nb(gross, bars, 0.0, 0), total)
    row[13] = held / bars
    row[14] = sums[CLOSED]
    row[15] = ratio_nb(sums[WINS], sums[CLOSED])
    row[16] = ratio_nb(sums[GAINS], sums[LOSSES])
    row[17] = ratio_nb(sums[RETURNS], sums[CLOSED])
    row[18] = sums[FEES]
    row[19] = sums[BORROW]
    row[20] = sums[SLIPPAGE]
