"""What a simulation earned and what it went through. docs/conventions.md gives each definition and its source."""

import math
from dataclasses import asdict, dataclass

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
    ``exposure``: mean of gross notional over equity. ``time_in_market``: share of bars that end with a position.
    ``trades``: closed ones, of which ``hit_rate`` earned something; ``profit_factor``: their gains over their losses;
    ``mean_trade``: their mean return.
    ``fees``, ``borrow``, ``slippage``: paid in all, open trades included.
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


def measure(
    equity: Floats,
    positions: Floats,
    close: Floats,
    multiplier: Floats,
    fills: Records,
    trades: Records,
    *,
    periods_per_year: float,
    risk_free: float,
    minimum_return: float,
) -> Metrics:
    """The figures of `Metrics`; ``risk_free`` and ``minimum_return`` are a year, and count as 1/A of it each bar."""
    require(0.0 < periods_per_year < math.inf, "periods_per_year must be above 0")
    years = (equity.shape[0] - 1) / periods_per_year
    mean, deviation, downside, drawdown, longest = returns_nb(equity, minimum_return / periods_per_year)
    exposure, in_market = exposure_nb(equity, positions, close, multiplier)
    root = math.sqrt(periods_per_year)
    growth = float(equity[-1] / equity[0])
    cagr = math.nan
    if years > 0.0:
        cagr = growth ** (1.0 / years) - 1.0 if growth > 0.0 else -1.0
    closed = trades[trades["reason"] != OPEN]
    pnl = closed["pnl"]
    notional = np.abs(fills["quantity"]) * fills["price"] * multiplier[fills["symbol"]]
    return Metrics(
        bars=equity.shape[0],
        periods_per_year=periods_per_year,
        final_equity=float(equity[-1]),
        total_return=growth - 1.0,
        cagr=cagr,
        volatility=root * deviation,
        sharpe=root * ratio(mean - risk_free / periods_per_year, deviation),
        sortino=root * ratio(mean - minimum_return / periods_per_year, downside),
        max_drawdown=drawdown,
        longest_drawdown=longest,
        calmar=ratio(cagr, drawdown),
        turnover=ratio(float(notional.sum()), float(equity.mean()) * years),
        exposure=exposure,
        time_in_market=in_market,
        trades=len(closed),
        hit_rate=ratio(float((pnl > 0.0).sum()), len(closed)),
        profit_factor=ratio(float(pnl[pnl > 0.0].sum()), float(-pnl[pnl < 0.0].sum())),
        mean_trade=ratio(float(closed["return"].sum()), len(closed)),
        fees=float(fills["fee"].sum()),
        borrow=float(trades["borrow"].sum()),
        slippage=float(fills["slippage"].sum()),
    )


def ratio(above: float, below: float) -> float:
    """``above`` over ``below``, NaN when that is zero or undefined."""
    return above / below if below != 0.0 else math.nan


@kernel
def returns_nb(equity: Floats, minimum: float) -> tuple[float, float, float, float, int]:
    """Mean and sample deviation of the returns, downside deviation from ``minimum``, deepest and longest drawdown."""
    bars = equity.shape[0]
    count = bars - 1
    total = below = deepest = 0.0
    peak = equity[0]
    peak_bar = longest = 0
    for t in range(1, bars):
        value = equity[t] / equity[t - 1] - 1.0
        total += value
        if value < minimum:
            below += (value - minimum) ** 2
        if equity[t] >= peak:
            peak = equity[t]
            peak_bar = t
        else:
            deepest = max(deepest, 1.0 - equity[t] / peak)
            longest = max(longest, t - peak_bar)
    mean = total / count if count > 0 else np.nan
    squares = 0.0
    for t in range(1, bars):
        squares += (equity[t] / equity[t - 1] - 1.0 - mean) ** 2
    deviation = np.sqrt(squares / (count - 1)) if count > 1 else np.nan
    downside = np.sqrt(below / count) if count > 0 else np.nan
    return mean, deviation, downside, deepest, longest


@kernel
def exposure_nb(equity: Floats, positions: Floats, close: Floats, multiplier: Floats) -> tuple[float, float]:
    """Mean of gross notional over equity, and the share of bars that end with a position."""
    bars, symbols = close.shape
    last = np.zeros(symbols)
    total = 0.0
    held = 0
    for t in range(bars):
        gross = 0.0
        for s in range(symbols):
            if not np.isnan(close[t, s]):
                last[s] = close[t, s]
            if positions[t, s] != 0.0:
                gross += abs(positions[t, s]) * multiplier[s] * last[s]
        if gross > 0.0:
            held += 1
            total += gross / equity[t]
    return total / bars, held / bars
