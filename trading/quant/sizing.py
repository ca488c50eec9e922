"""Sizing: what share of the equity a full target stands for. Known at the decision, from bars up to it alone."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trading.quant.bars import Bars
from trading.quant.kernels import Floats, frozen, kernel
from trading.quant.rolling import moments_nb


class Sizing(Protocol):
    """How large a position is: a target of 1 becomes a notional of ``scale`` times the equity."""

    def scale(self, bars: Bars, targets: Floats) -> Floats:
        """Shape (1, 1) when it never changes, else (T, S). NaN: not known yet, so nothing is ordered."""
        ...


@dataclass(frozen=True, slots=True)
class FixedFraction:
    """Each full target is ``fraction`` of the equity: quantity = floor(f E / (P m)) in lots."""

    fraction: float = 1.0

    def __post_init__(self) -> None:
        require(0.0 < self.fraction < np.inf, "fraction must be above 0")

    def scale(self, bars: Bars, targets: Floats) -> Floats:
        """The fraction, for every bar and symbol."""
        return np.full((1, 1), self.fraction)


@dataclass(frozen=True, slots=True)
class VolatilityTarget:
    """Each full target is min(``cap``, ``volatility`` / estimate) of the equity.

    ``volatility``: wished for, per year, as a fraction. The estimate is the sample standard deviation (ddof 1) of the
    last ``window`` simple returns up to the close of the decision, times the root of ``periods_per_year``; the fill
    comes a bar later. A symbol whose estimate is zero gets the cap. Source: Moreira and Muir (2017), Journal of
    Finance 72.
    """

    volatility: float = 0.10
    window: int = 20
    cap: float = 1.0
    periods_per_year: float = 252.0

    def __post_init__(self) -> None:
        require(0.0 < self.volatility < np.inf, "volatility must be above 0")
        require(self.window >= 2, "window must be at least 2")
        require(0.0 < self.cap < np.inf, "cap must be above 0")
        require(0.0 < self.periods_per_year < np.inf, "periods_per_year must be above 0")

    def scale(self, bars: Bars, targets: Floats) -> Floats:
        """Shape (T, S); NaN until ``window`` returns are known."""
        per_bar = self.volatility / np.sqrt(self.periods_per_year)
        return volatility_scale_nb(bars.close, self.window, float(per_bar), float(self.cap))


@dataclass(frozen=True, slots=True)
class KellyFraction:
    """Each full target is ``fraction`` times (p - q / b) of the equity, within 0 and ``cap``.

    ``fraction`` is the lambda of fractional Kelly, p the share of winning bars, q = 1 - p, b = mean win / mean loss,
    of the returns that the strategy's targets would have earned from close to close over the last ``window`` bars with
    a target other than zero. These do not depend on the size held, so a size of zero can grow again. ``start`` is used
    until ``window`` such bars are known. Without a loss the size is ``fraction``; without a win it is zero. Source:
    Kelly (1956), Bell System Technical Journal 35.
    """

    fraction: float = 0.5
    window: int = 60
    cap: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        require(0.0 < self.fraction <= 1.0, "fraction must be above 0 and at most 1")
        require(self.window >= 2, "window must be at least 2")
        require(0.0 < self.cap < np.inf, "cap must be above 0")
        require(0.0 <= self.start < np.inf, "start must not be negative")

    def scale(self, bars: Bars, targets: Floats) -> Floats:
        """Shape (T, S)."""
        # As doubles: of a whole number, the compiled code would make a table of whole numbers and cut every size.
        fraction, cap, start = float(self.fraction), float(self.cap), float(self.start)
        return kelly_scale_nb(bars.close, frozen(targets), self.window, fraction, cap, start)


def require(condition: bool, message: str) -> None:
    """Raise ValueError with ``message`` unless ``condition`` holds."""
    if not condition:
        raise ValueError(message)


@kernel
def volatility_scale_nb(close: Floats, window: int, per_bar: float, cap: float) -> Floats:
    """min(cap, per_bar / standard deviation of the last ``window`` returns), by column; NaN before that."""
    bars, symbols = close.shape
    result = np.full((bars, symbols), np.nan)
    returns = np.empty(bars)
    for s in range(symbols):
        count = 0
        last = np.nan
        for t in range(bars):
            price = close[t, s]
            if np.isnan(price):
                if t > 0:
                    result[t, s] = result[t - 1, s]
                continue
            if not np.isnan(last):
                returns[count] = price / last - 1.0
                count += 1
            last = price
            if count >= window:
                deviation = moments_nb(returns, count - 1, window, 1)[1]
                result[t, s] = cap if deviation * cap <= per_bar else per_bar / deviation
    return result


@kernel
def kelly_scale_nb(close: Floats, targets: Floats, window: int, fraction: float, cap: float, start: float) -> Floats:
    """Fractional Kelly from the returns of the targets, by column; ``start`` before there are ``window`` of them."""
    bars, symbols = close.shape
    result = np.full((bars, symbols), start)
    returns = np.empty(bars)
    for s in range(symbols):
        count = 0
        last = np.nan
        held = 0.0
        for t in range(bars):
            price = close[t, s]
            if not np.isnan(price):
                if not np.isnan(last) and held != 0.0:
                    returns[count] = held * (price / last - 1.0)
                    count += 1
                last = price
            if not np.isnan(targets[t, s]):
                held = targets[t, s]
            if count >= window:
                wins, losses, won, lost = 0, 0, 0.0, 0.0
                for k in range(count - window, count):
                    if returns[k] > 0.0:
                        wins += 1
                        won += returns[k]
                    else:
                        losses += 1
                        lost -= returns[k]
                if wins == 0:
                    size = 0.0
                elif lost == 0.0:
                    size = fraction
                else:
                    p = wins / window
                    size = fraction * (p - (1.0 - p) * (lost / losses) / (won / wins))
                result[t, s] = min(cap, max(0.0, size))
    return result
