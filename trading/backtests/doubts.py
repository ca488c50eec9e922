"""What the figures of a run may be off by: an interval beside each number that is an estimate."""

import math
from collections.abc import Callable

import numpy as np

from trading.backtests.config import RunConfig
from trading.backtests.validation import Judged
from trading.quant.engine import Result
from trading.quant.kernels import Floats
from trading.quant.statistics import Interval, Record, intervals


def ends(interval: Interval | None, shown: Callable[[float | None], str]) -> str:
    """An interval in words; nothing where it is not known."""
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    return f"{shown(interval.low)} to {shown(interval.high)} at {interval.level:.0%}"


class Doubts:
    """The intervals of one run's figures: from its bootstrap where that was made, else from independent returns."""

    def __init__(self, config: RunConfig, result: Result, judged: Judged) -> None:
        self._drawn = judged.summary.get("bootstrap", {})
        self._draws = judged.draws
        self._returns = result.returns if result.ruined_bar is None else np.empty(0)
        self._periods = config.periods_per_year or 1.0
        self._cash = config.initial_cash
        self._years = (len(result.equity) - 1) / self._periods

    @property
    def how(self) -> str:
        """How they were made, and what would say more."""
        if "level" in self._drawn:
            return (
                "Intervals of return, equity, growth, Sharpe ratio, drawdown and Calmar ratio are the bootstrap's, the"
                " others take returns and trades as independent."
            )
        return (
            "Intervals take returns and trades as independent, which is too narrow where positions last; those of"
            " drawdown and Calmar ratio need the validation 'bootstrap'."
        )

    def cagr(self, growth: float) -> float:
        """Growth a year of what one unit has become; infinite past what a double holds."""
        with np.errstate(over="ignore"):
            return float(np.float64(max(growth, 0.0)) ** (1.0 / self._years) - 1.0)

    @property
    def equity(self) -> Interval | None:
        """Of the final equity."""
        if (found := self._of("final_equity")) is not None:
            return found
        if len(self._returns) < 2:
            return None
        growth = intervals.growth(self._returns)
        return Interval(growth.low * self._cash, growth.high * self._cash, growth.level)

    def growth(self, shown: Callable[[float], float]) -> Interval | None:
        """Of what rises with the final equity: a function of what one unit has become."""
        found = self.equity
        if found is None or not math.isfinite(found.high):
            return None
        return Interval(shown(found.low / self._cash), shown(found.high / self._cash), found.level)

    @property
    def sharpe(self) -> Interval | None:
        """Of the Sharpe ratio a year."""
        if (found := self._of("sharpe")) is not None:
            return found
        return self._yearly(lambda returns: intervals.sharpe(Record.of(returns)))

    @property
    def sortino(self) -> Interval | None:
        """Of the Sortino ratio a year."""
        return self._yearly(intervals.sortino)

    @property
    def volatility(self) -> Interval | None:
        """Of the volatility a year."""
        return self._yearly(intervals.deviation)

    @property
    def drawdown(self) -> Interval | None:
        """Of the deepest drawdown."""
        return self._of("drawdown")

    @property
    def calmar(self) -> Interval | None:
        """Of the Calmar ratio: growth a year and drawdown of the same draw."""
        if "level" not in self._drawn:
            return None
        with np.errstate(over="ignore"):
            grown = np.maximum(self._draws["bootstrap_final_equity"] / self._cash, 0.0) ** (1.0 / self._years) - 1.0
        if not np.isfinite(grown).all():
            return None
        fallen = self._draws["bootstrap_drawdown"]
        if not (fallen > 0.0).all():
            return None
        level = float(self._drawn["level"])
        low, high = np.quantile(grown / fallen, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        return Interval(float(low), float(high), level)

    def _of(self, measure: str) -> Interval | None:
        found = self._drawn.get(measure)
        if found is None or found["low"] is None or found["high"] is None:
            return None
        return Interval(found["low"], found["high"], self._drawn["level"])

    def _yearly(self, interval: Callable[[Floats], Interval]) -> Interval | None:
        if len(self._returns) < 2:
            return None
        found, scale = interval(self._returns), self._periods**0.5
        return Interval(found.low * scale, found.high * scale, found.level)
