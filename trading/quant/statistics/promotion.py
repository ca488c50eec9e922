"""The platform's rule: which strategy may go from backtest to paper. It says no unless everything says yes.

Each of three numbers guards against another way to be fooled: the deflated Sharpe ratio against luck in many trials,
the permutation test against being paid for exposure rather than timing, the probability of overfitting against a search
whose choices do not carry over. tests/quant/statistics/test_promotion.py shows the rule's level on noise and its power.
"""

import math
from dataclasses import dataclass

import numpy as np

from trading.quant.statistics.replication import Floats
from trading.quant.statistics.sharpe import Record, deflated_sharpe, expected_maximum_sharpe


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried: how many runs the platform counted, and the variance of their Sharpe ratios per period.

    The count is the platform's own, of every run on this data, not what a user remembers.
    """

    count: int
    variance: float

    @classmethod
    def of(cls, sharpes: Floats) -> "Trials":
        """From the Sharpe ratio per period of each run, shape (runs,). Raises ValueError for none or gaps."""
        values = np.asarray(sharpes, dtype=np.float64)
        if values.ndim != 1 or values.shape[0] < 1 or not np.isfinite(values).all():
            raise ValueError("trials are one finite Sharpe ratio per period for each run, at least one")
        return cls(values.shape[0], float(values.var(ddof=1)) if values.shape[0] > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """``alpha``: how often the rule may promote what is worthless. ``pbo_bound``: the most overfitting it accepts."""

    alpha: float = 0.05
    pbo_bound: float = 0.3

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 0.5 or not 0.0 < self.pbo_bound <= 1.0:
            raise ValueError("alpha lies between 0 and 0.5, the bound of the overfitting probability between 0 and 1")


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks against: a ``code`` for programs, a ``message`` for people, the number and its bound.

    ``value`` is None where it is missing; ``bound`` is the least or the most that would have passed.
    """

    code: str
    message: str
    value: float | None
    bound: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """``promotable`` where nothing speaks against; the deflated ratio and the threshold it was held to, per period."""

    promotable: bool
    reasons: tuple[Reason, ...]
    deflated_sharpe: float
    sharpe_threshold: float


DEFAULT = Policy()


def deflated_by(record: Record, trials: Trials) -> tuple[float, float]:
    """The deflated Sharpe ratio of ``record``, and the ratio per period that it was held to.

    The trials' variance is taken as at least 1 / (T - 1), what the Sharpe ratio of a worthless strategy varies by its
    own error: else trials that are copies of each other, or that never traded, would lower the bar for the rest.
    """
    variance = max(trials.variance, 1.0 / (record.periods - 1))
    threshold = expected_maximum_sharpe(trials.count, variance)
    return deflated_sharpe(record, trials=trials.count, variance=variance), threshold


def promotable(
    record: Record, trials: Trials, *, permutation_p: float | None, pbo: float | None, policy: Policy = DEFAULT
) -> Verdict:
    """Whether a strategy with this ``record`` may be promoted, being the one put forward of ``trials``.

    ``permutation_p`` is the p-value of the strategy's own `PermutationTest`, ``pbo`` that of the search's
    `CrossValidation`; a number that is missing or nan counts against it, except that one trial is no search and needs
    no ``pbo``.

    The deflated ratio is that of `deflated_by`.
    """
    deflated, threshold = deflated_by(record, trials)
    reasons = []
    least = 1.0 - policy.alpha
    if not deflated >= least:
        message = (
            f"a Sharpe ratio this good is too likely the luck of the best of {trials.count}: the probability that it is"
            f" real is {deflated:.3f} and must be {least:.3f}; a longer record or fewer trials would help"
        )
        reasons.append(Reason("deflated_sharpe", message, deflated, least))
    if not (permutation_p is not None and permutation_p <= policy.alpha):
        reasons.append(_against_permutation(permutation_p, policy.alpha))
    if trials.count > 1 and not (pbo is not None and pbo <= policy.pbo_bound):
        reasons.append(_against_overfitting(pbo, policy.pbo_bound))
    return Verdict(not reasons, tuple(reasons), deflated, threshold)


def _against_permutation(p: float | None, bound: float) -> Reason:
    if p is None or math.isnan(p):
        message = "no permutation test was made: run the validation 'permutation'"
        return Reason("permutation_missing", message, None, bound)
    message = f"the same positions do as well at other times: permutation p is {p:.3f} and must be at most {bound:.3f}"
    return Reason("permutation", message, p, bound)


def _against_overfitting(pbo: float | None, bound: float) -> Reason:
    if pbo is None or math.isnan(pbo):
        message = "the search has no probability of overfitting: submit its runs as one sweep"
        return Reason("overfitting_missing", message, None, bound)
    message = (
        f"what the search chooses is too often below average elsewhere: the probability of overfitting is {pbo:.3f}"
        f" and must be at most {bound:.3f}"
    )
    return Reason("overfitting", message, pbo, bound)
