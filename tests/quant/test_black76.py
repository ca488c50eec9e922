"""Black-76 against golden values, parity, finite differences in 50 digits, and its own inverse."""

from decimal import Decimal, getcontext
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.black76 import black76, implied_volatility


def test_the_golden_values() -> None:
    """vollib's documentation: F 49, K 50, t .3846, r .05, volatility .2; its units are per point and per day."""
    call = black76(49, 50, 0.3846, 0.05, 0.2, True)
    assert call.value == pytest.approx(1.942417578252269, rel=1e-13)
    assert call.delta == pytest.approx(0.4510701748220183, rel=1e-13)
    assert call.gamma == pytest.approx(0.0640646705882491, rel=1e-13)
    assert call.vega / 100 == pytest.approx(0.11831778562417139, rel=1e-13)
    assert call.theta / 365 == pytest.approx(-0.008162368774616737, rel=1e-13)
    assert call.rho / 100 == pytest.approx(-0.007470538005958226, rel=1e-13)
    put = black76(49, 50, 0.3846, 0.05, 0.2, False)
    assert put.value == pytest.approx(2.9233712951919637, rel=1e-13)
    assert put.delta == pytest.approx(-0.5298835421176763, rel=1e-13)
    assert put.theta / 365 == pytest.approx(-0.008027991553118148, rel=1e-13)
    assert put.rho / 100 == pytest.approx(-0.011243286001308292, rel=1e-13)


def _cumulative(x: Decimal) -> Decimal:
    """The normal distribution by its series (Abramowitz, Stegun 26.2.11), in the context's digits."""
    term = total = x
    n = 1
    while abs(term) > Decimal(10) ** -45:
        term *= x * x / (2 * n + 1)
        total += term
        n += 1
    two_pi = Decimal("6.28318530717958647692528676655900576839433879875021")
    return Decimal("0.5") + total * (-x * x / 2).exp() / two_pi.sqrt()


def _value(f: Decimal, k: Decimal, t: Decimal, r: Decimal, s: Decimal, is_call: bool) -> Decimal:
    width = s * t.sqrt()
    d1 = ((f / k).ln() + width * width / 2) / width
    call = (-r * t).exp() * (f * _cumulative(d1) - k * _cumulative(d1 - width))
    return call if is_call else call - (-r * t).exp() * (f - k)


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize(
    "case",
    [("100", "100", "1", "0.03", "0.4"), ("4500", "5200", "0.05", "0", "0.9"), ("2.5", "1", "2", "-0.01", "0.6")],
)
def test_greeks_are_the_differences_of_the_value(case: tuple[str, ...], is_call: bool) -> None:
    getcontext().prec = 50
    f, k, t, r, s = map(Decimal, case)
    h = Decimal("1e-15")

    def slope(up: Decimal, down: Decimal, size: Decimal) -> float:
        return float((up - down) / (2 * size))

    found = black76(*map(float, case), is_call)
    middle = _value(f, k, t, r, s, is_call)
    above, below = (_value(f + sign * h * f, k, t, r, s, is_call) for sign in (1, -1))
    assert found.value == pytest.approx(float(middle), rel=1e-12)
    assert found.delta == pytest.approx(slope(above, below, h * f), rel=1e-12)
    assert found.gamma == pytest.approx(float((above - 2 * middle + below) / (h * f) ** 2), rel=1e-10)
    vega = slope(_value(f, k, t, r, s + h, is_call), _value(f, k, t, r, s - h, is_call), h)
    assert found.vega == pytest.approx(vega, rel=1e-12)
    theta = -slope(_value(f, k, t + h, r, s, is_call), _value(f, k, t - h, r, s, is_call), h)
    assert found.theta == pytest.approx(theta, rel=1e-11)
    rho = slope(_value(f, k, t, r + h, s, is_call), _value(f, k, t, r - h, s, is_call), h)
    assert found.rho == pytest.approx(rho, rel=1e-12)


prices = st.floats(1, 10_000)


@given(f=prices, k=prices, t=st.floats(0, 5), r=st.floats(-0.05, 0.2), s=st.floats(0, 3))
def test_calls_and_puts_are_in_parity_and_bounded(f: float, k: float, t: float, r: float, s: float) -> None:
    call, put = (black76(f, k, t, r, s, is_call) for is_call in (True, False))
    discount = np.exp(-r * t)
    assert call.value - put.value == pytest.approx(discount * (f - k), abs=1e-9 * (f + k))
    assert -1e-9 * k <= call.value <= discount * f * (1 + 1e-12)
    assert 0 <= call.delta <= discount * (1 + 1e-12)
    assert call.gamma == pytest.approx(put.gamma)
    assert call.vega == pytest.approx(put.vega)


@given(m=st.floats(0.7, 1.4), t=st.floats(0.02, 3), s=st.floats(0.05, 2), is_call=st.booleans())
def test_the_implied_volatility_gives_the_price_back(m: float, t: float, s: float, is_call: bool) -> None:
    price = black76(100, 100 * m, t, 0.02, s, is_call)
    found = implied_volatility(price.value, 100, 100 * m, t, 0.02, is_call)
    if price.vega > 1e-3:
        assert found == pytest.approx(s, rel=1e-6)
    again = black76(100, 100 * m, t, 0.02, float(found), is_call) if not isnan(found) else price
    assert again.value == pytest.approx(float(price.value), abs=1e-10)


def test_what_no_volatility_explains_has_none() -> None:
    assert np.isnan(
        implied_volatility([0.0, 60.0, 0.4], 50, 49.5, 1.0, 0.0, True)
    ).all()  # below what exercise is worth


def test_at_expiry_an_option_is_worth_its_exercise() -> None:
    found = black76(100, [90, 110], 0, 0.05, 0.3, True)
    assert found.value.tolist() == [10, 0]
    assert found.delta.tolist() == [1, 0]
    assert found.gamma.tolist() == [0, 0]


@pytest.mark.parametrize(
    "case", [(0, 1, 1, 0, 1), (1, -1, 1, 0, 1), (1, 1, -1, 0, 1), (1, 1, 1, 0, -1), (np.nan, 1, 1, 0, 1)]
)
def test_what_is_no_option_is_refused(case: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"finite|above 0|negative"):
        black76(*case, True)
