"""Walk-forward: splits by hand, no bar of the future, efficiency."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.statistics import Split, summarise, walk_forward


def test_rolling_by_hand() -> None:
    """17 bars, 5 to fit, 3 to test, 2 between: three tests end with the last bar, bar 0 is left over."""
    assert list(walk_forward(17, train=5, test=3, purge=1, embargo=1)) == [
        Split(range(1, 6), range(8, 11)),
        Split(range(4, 9), range(11, 14)),
        Split(range(7, 12), range(14, 17)),
    ]


def test_anchored_by_hand() -> None:
    assert list(walk_forward(17, train=5, test=3, anchored=True, purge=2)) == [
        Split(range(6), range(8, 11)),
        Split(range(9), range(11, 14)),
        Split(range(12), range(14, 17)),
    ]


@given(
    st.integers(1, 60), st.integers(1, 40), st.integers(0, 10), st.integers(0, 10), st.integers(0, 200), st.booleans()
)
def test_no_training_bar_knows_its_test(
    train: int, test: int, purge: int, embargo: int, more: int, anchored: bool
) -> None:
    """Tests tile the end; a training bar's label, ``purge`` bars ahead, and the embargo end before the test."""
    bars = train + test + purge + embargo + more
    splits = list(walk_forward(bars, train=train, test=test, purge=purge, embargo=embargo, anchored=anchored))
    tested = [bar for split in splits for bar in split.test]
    assert tested == list(range(bars - len(splits) * test, bars))
    assert len(splits) == (bars - train - purge - embargo) // test
    for split in splits:
        assert split.train[-1] + purge + embargo < split.test[0]
        assert split.train[0] >= 0
        assert len(split.train) >= train if anchored else len(split.train) == train


@pytest.mark.parametrize(
    ("bars", "options", "says"),
    [
        (10, {"train": 0, "test": 1}, "at least 1"),
        (10, {"train": 1, "test": 0}, "at least 1"),
        (10, {"train": 1, "test": 1, "purge": -1}, "at least 0"),
        (10, {"train": 8, "test": 2, "embargo": 1}, "11"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(bars: int, options: dict, says: str) -> None:
    """Also when nobody has asked for the first split yet."""
    with pytest.raises(ValueError, match=says):
        walk_forward(bars, **options)


def test_efficiency_by_hand() -> None:
    """In sample .02 and .04 a bar, mean .03; out of sample (.01 + .02 - .03 + .04) / 4 = .01: a third is kept."""
    result = summarise(
        [
            (np.array([0.01, 0.03]), np.array([0.01, 0.02])),
            (np.array([0.03, 0.05]), np.array([-0.03, 0.04])),
        ]
    )
    assert result.efficiency == pytest.approx(1 / 3)
    assert result.in_sample_mean == pytest.approx([0.02, 0.04])
    assert result.out_of_sample_mean == pytest.approx([0.015, 0.005])
    assert result.in_sample_sharpe == pytest.approx([0.02 / math.sqrt(2e-4), 0.04 / math.sqrt(2e-4)])
    assert result.profitable_share == 1.0
    assert result.out_of_sample.periods == 4


def test_nothing_earned_in_sample_is_nothing_to_keep() -> None:
    result = summarise([(np.array([-0.01, 0.005]), np.array([0.02, 0.01]))])
    assert math.isnan(result.efficiency)
    with pytest.raises(ValueError, match="split"):
        summarise([])
