"""The standard normal distribution, right in its tails, without scipy.

``statistics.NormalDist.cdf`` of the standard library is (1 + erf) / 2, which is 0 below -8.3; through erfc the tail
keeps its digits down to 1e-308. Its ``inv_cdf`` is Wichura's AS 241 (1988), good to 1e-15 relative, and is used as is.
"""

import math
from statistics import NormalDist

STANDARD = NormalDist()
ROOT_2 = math.sqrt(2.0)


def cdf(x: float) -> float:
    """P(Z <= x)."""
    return 0.5 * math.erfc(-x / ROOT_2)


def survival(x: float) -> float:
    """P(Z > x): what 1 - cdf(x) would lose to rounding for large x."""
    return 0.5 * math.erfc(x / ROOT_2)


def quantile(p: float) -> float:
    """The x with cdf(x) = p; -inf at 0 and inf at 1. Raises ValueError outside [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"a probability lies between 0 and 1, {p} does not")
    if p in (0.0, 1.0):
        return math.inf if p else -math.inf
    return STANDARD.inv_cdf(p)
