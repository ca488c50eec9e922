"""What a Sharpe ratio is worth: its error, the chance that it is real, and what many trials take from it.

All ratios here are per period, not annualised: a ratio of 2.5 a year over 250 periods a year is 2.5 / sqrt(250).
Kurtosis is raw (3 for a normal distribution). What these numbers cannot say is in docs/statistics.md.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trading.quant.statistics import normal

Floats = npt.NDArray[np.float64]

EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Record:
    """A track record's four numbers: Sharpe ratio per period, skewness, raw kurtosis, number of periods."""

    sharpe: float
    skewness: float
    kurtosis: float
    periods: int

    @classmethod
    def of(cls, returns: Floats) -> "Record":
        """From returns per period in excess of the risk-free rate, shape (periods,).

        Sharpe: mean over standard deviation with ddof 1. Skewness and kurtosis: m3 / m2**1.5 and m4 / m2**2 with
        moments about the mean divided by the number of periods. A constant series has Sharpe 0, skewness 0, kurtosis 3:
        nothing was risked, so nothing was shown. Raises ValueError for fewer than 2 periods or values that are not
        finite.
        """
        values = np.ascontiguousarray(returns, dtype=np.float64)
        if values.ndim != 1 or values.shape[0] < 2:
            raise ValueError("a track record is one series of at least 2 returns")
        if not np.isfinite(values).all():
            raise ValueError("a track record holds finite returns only: drop or fill the gaps first")
        mean = float(values.mean())
        apart = values - mean
        squares = apart * apart  # numpy's powers past the second take thirty times as long
        second = float(squares.mean())
        if second <= (1e-14 * float(np.max(np.abs(values)))) ** 2:
            return cls(0.0, 0.0, 3.0, values.shape[0])
        sd = math.sqrt(second * values.shape[0] / (values.shape[0] - 1))
        return cls(
            sharpe=mean / sd,
            skewness=float((squares * apart).mean()) / second**1.5,
            kurtosis=float((squares * squares).mean()) / second**2,
            periods=values.shape[0],
        )


def standard_error(record: Record) -> float:
    """Standard error of the Sharpe ratio for returns that are independent, not necessarily normal.

    sqrt((1 - g3 S + (g4 - 1) S**2 / 4) / (T - 1)). Source: Mertens (2002); Bailey and López de Prado (2012), "The
    Sharpe ratio efficient frontier", Journal of Risk 15(2). For normal returns: Lo (2002).
    """
    return math.sqrt(variance_factor(record) / (record.periods - 1))


def variance_factor(record: Record) -> float:
    """1 - g3 S + (g4 - 1) S**2 / 4: the variance of sqrt(T - 1) times the estimated ratio.

    Raises ValueError where it is not positive: no distribution has such moments (kurtosis >= 1 + skewness**2).
    """
    factor = 1.0 - record.skewness * record.sharpe + (record.kurtosis - 1.0) / 4.0 * record.sharpe**2
    if record.periods < 2 or not factor > 0.0:
        raise ValueError("no such track record: at least 2 periods, and kurtosis of at least 1 + skewness squared")
    return factor


def probabilistic_sharpe(record: Record, threshold: float = 0.0) -> float:
    """Probability that the true Sharpe ratio per period exceeds ``threshold``.

    Source: Bailey and López de Prado (2012): cdf((S - S0) sqrt(T - 1) / sqrt(1 - g3 S + (g4 - 1) S**2 / 4)).
    """
    return normal.cdf((record.sharpe - threshold) / standard_error(record))


def minimum_track_record(record: Record, threshold: float = 0.0, *, level: float = 0.95) -> float:
    """How many periods a record like this one needs before its Sharpe ratio exceeds ``threshold`` at ``level``.

    Infinite when the ratio does not exceed the threshold. Source: Bailey and López de Prado (2012):
    1 + (1 - g3 S + (g4 - 1) S**2 / 4) (z / (S - S0))**2.
    """
    if not 0.5 < level < 1.0:
        raise ValueError(f"a level lies between 0.5 and 1, {level} does not")
    if record.sharpe <= threshold:
        return math.inf
    return 1.0 + variance_factor(record) * (normal.quantile(level) / (record.sharpe - threshold)) ** 2


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio to expect from the best of ``trials`` worthless strategies.

    ``variance``: of the Sharpe ratios per period over the trials. One trial is no search: 0. Source: Bailey and López
    de Prado (2014), "The deflated Sharpe ratio", Journal of Portfolio Management 40(5):
    sqrt(V) ((1 - c) q(1 - 1/N) + c q(1 - 1/(N e))), q the normal quantile, c = 0.5772, for independent trials.
    Trials that resemble each other are worth fewer, so counting them all is on the safe side.
    """
    if trials < 1 or not 0.0 <= variance < math.inf:
        raise ValueError("at least one trial, and a variance that is finite and not negative")
    if trials == 1:
        return 0.0
    # The upper quantile is taken as minus the lower one: 1 - 1/N would round for large N.
    best = -(1.0 - EULER) * normal.quantile(1.0 / trials) - EULER * normal.quantile(1.0 / (trials * math.e))
    return math.sqrt(variance) * best


def deflated_sharpe(record: Record, *, trials: int, variance: float) -> float:
    """Probability that the true Sharpe ratio exceeds 0, given that this was the best of ``trials``.

    The probabilistic Sharpe ratio against `expected_maximum_sharpe`. Source as there.
    """
    return probabilistic_sharpe(record, expected_maximum_sharpe(trials, variance))
