"""Momentum, liquidity, weights and mood, against hand computations and a slower way in fractions."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.momentum import liquidity, momentum, mood, target_weights


def test_momentum_by_hand() -> None:
    """100 → 110 → 121 and two bars more, which are skipped."""
    closes = np.array([[100.0, 50.0], [110.0, 40.0], [121.0, 45.0], [1.0, 1.0], [999.0, 999.0]])
    assert momentum(closes, skip=2) == pytest.approx([0.21, -0.1])


def test_momentum_needs_two_bars_beyond_what_it_skips() -> None:
    with pytest.raises(ValueError, match="at least 7"):
        momentum(np.ones((6, 1)))
    assert momentum(np.ones((7, 1))) == pytest.approx([0.0])


def test_liquidity_is_the_median_bar() -> None:
    closes = np.array([[2.0], [3.0], [10.0]])
    assert liquidity(closes, np.array([[10.0], [1.0], [100.0]])) == pytest.approx([20.0])


def test_weights_by_hand() -> None:
    """Raw 0.1 x 1/3, 0 and 0.2 x 3/3; the shares 1/7 and 6/7 are cut at 0.5, and the first takes up to 0.5 too."""
    weights = target_weights(np.array([0.1, -0.3, 0.2]), np.array([1.0, 2.0, 3.0]), largest=0.5)
    assert weights == pytest.approx([0.5, 0.0, 0.5])
    loose = target_weights(np.array([0.1, -0.3, 0.2]), np.array([1.0, 2.0, 3.0]), largest=1.0)
    assert loose == pytest.approx([1 / 7, 0.0, 6 / 7])


def test_nothing_to_weigh() -> None:
    assert target_weights(np.zeros(0), np.zeros(0)).shape == (0,)
    assert target_weights(np.array([-0.1, 0.0]), np.array([1.0, 2.0])) == pytest.approx([0.0, 0.0])


@given(
    st.lists(
        st.tuples(st.integers(-500, 1000), st.integers(1, 10**9)), min_size=1, max_size=12, unique_by=lambda row: row[1]
    ),
    st.integers(5, 100),
)
def test_weights_are_bounded_and_fill_what_the_cap_allows(rows: list[tuple[int, int]], percent: int) -> None:
    momenta = np.array([row[0] / 1000 for row in rows])
    weights = target_weights(momenta, np.array([float(row[1]) for row in rows]), largest=percent / 100)
    assert weights == pytest.approx([float(weight) for weight in _slowly(rows, Fraction(percent, 100))], abs=1e-9)
    rising = int((momenta > 0).sum())
    assert (weights >= 0).all()
    assert (weights <= percent / 100 + 1e-12).all()
    assert (weights[momenta <= 0] == 0).all()
    assert weights.sum() == pytest.approx(min(1.0, rising * percent / 100))


def _slowly(rows: list[tuple[int, int]], cap: Fraction) -> list[Fraction]:
    """The weights min(cap, λ·raw) with the λ that makes them add up to what there is, by trying how many are cut."""
    order = sorted(row[1] for row in rows)
    raw = [Fraction(max(row[0], 0)) * (order.index(row[1]) + 1) for row in rows]
    largest_first = sorted((value for value in raw if value), reverse=True)
    if len(largest_first) * cap <= 1:
        return [cap if value else Fraction(0) for value in raw]
    for cut in range(len(largest_first)):
        scale = (1 - cut * cap) / sum(largest_first[cut:])
        if largest_first[cut] * scale <= cap:
            return [min(cap, value * scale) for value in raw]
    raise AssertionError("unreachable: not all can be cut when they have room for 1")


def test_mood_by_hand_and_its_bounds() -> None:
    closes = [100.0, 101.0, 100.0, 101.0, 100.0, 101.0, 102.0]
    returns = [math.log(later / earlier) for earlier, later in pairwise(closes)]
    mean = sum(returns) / len(returns)
    spread = math.sqrt(sum((value - mean) ** 2 for value in returns) / len(returns))
    assert mood(closes) == pytest.approx(math.tanh(sum(returns[-5:]) / (spread * math.sqrt(5))))
    assert mood([100.0] * 10) == 0.0
    assert mood(closes[:6]) == 0.0


@given(st.lists(st.floats(0.01, 1e6), min_size=0, max_size=30))
def test_mood_stays_between_minus_one_and_one(closes: list[float]) -> None:
    assert -1.0 <= mood(closes) <= 1.0
