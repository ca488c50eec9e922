"""The normal distribution against 20-digit values, tails included."""

import math

import pytest

from trading.quant.statistics import normal

# Abramowitz and Stegun, table 26.1 and 26.2, and the tails by the continued fraction of Mills' ratio.
TABLE = [
    (-1.0, 0.158655253931457051),
    (0.0, 0.5),
    (1.0, 0.841344746068542949),
    (2.0, 0.977249868051820793),
    (-5.0, 2.866515718791939e-7),
]


@pytest.mark.parametrize(("x", "p"), TABLE)
def test_tabulated(x: float, p: float) -> None:
    assert normal.cdf(x) == pytest.approx(p, rel=1e-14)
    assert normal.survival(-x) == pytest.approx(p, rel=1e-14)
    assert normal.quantile(p) == pytest.approx(x, rel=1e-13, abs=1e-15)


def mills(x: float) -> float:
    """survival(x) by Laplace's continued fraction, from the inside out."""
    fraction = 0.0
    for k in range(400, 0, -1):
        fraction = k / (x + fraction)
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / (x + fraction)


@pytest.mark.parametrize("x", [4.0, 8.5, 10.0, 20.0, 37.0])
def test_tails_keep_their_digits(x: float) -> None:
    """Where (1 + erf) / 2 is 0 already."""
    assert normal.cdf(-x) == pytest.approx(mills(x), rel=1e-11)
    assert normal.survival(x) == pytest.approx(mills(x), rel=1e-11)
    assert normal.quantile(normal.cdf(-x)) == pytest.approx(-x, rel=1e-12)


def test_ends() -> None:
    assert normal.quantile(0.0) == -math.inf
    assert normal.quantile(1.0) == math.inf
    assert normal.cdf(-math.inf) == 0.0
    with pytest.raises(ValueError, match=r"1\.1"):
        normal.quantile(1.1)
