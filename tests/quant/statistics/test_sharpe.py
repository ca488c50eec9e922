"""Sharpe ratios judged: published examples, hand-made values, simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.statistics import (
    Record,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    standard_error,
)

PAPER = Record(sharpe=2.5 / math.sqrt(250), skewness=-3.0, kurtosis=10.0, periods=1250)


def test_the_deflated_ratio_of_its_own_paper() -> None:
    """Bailey and López de Prado (2014): 100 trials with an annual variance of 1/2, five years of days."""
    assert expected_maximum_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(PAPER, trials=100, variance=0.5 / 250) == pytest.approx(0.9004, abs=5e-5)


def test_fewer_trials_would_have_passed() -> None:
    """The same paper: with 46 trials instead of 100 the strategy would have reached 95%."""
    assert deflated_sharpe(PAPER, trials=46, variance=0.5 / 250) == pytest.approx(0.9505, abs=5e-5)


def test_the_probabilistic_ratio_by_hand() -> None:
    """S = 0.1, g3 = -0.5, g4 = 5, T = 401: factor 1 + .05 + .01 = 1.06, z = 0.1 * 20 / sqrt(1.06) = 1.94257..."""
    record = Record(0.1, -0.5, 5.0, 401)
    assert standard_error(record) == pytest.approx(math.sqrt(1.06) / 20, rel=1e-14)
    assert probabilistic_sharpe(record) == pytest.approx(
        0.5 * math.erfc(-2 / math.sqrt(1.06) / math.sqrt(2)), rel=1e-14
    )
    assert probabilistic_sharpe(record, 0.1) == 0.5


def test_the_length_needed_is_the_length_that_proves() -> None:
    """A record of exactly that length stands at the level; the lengths of Bailey and López de Prado's example."""
    record = Record(0.1, -0.5, 5.0, 401)
    length = minimum_track_record(record, 0.02, level=0.9)
    assert math.isclose((0.1 - 0.02) * math.sqrt(length - 1) / math.sqrt(1.06), 1.2815515655446004, rel_tol=1e-12)
    assert minimum_track_record(record, 0.1) == math.inf
    # Normal returns, an annual ratio of 2 against 1, at 95%: 2.73, 2.83 and 3.24 years of days, weeks and months.
    for a_year, years in ((252, 2.73), (52, 2.83), (12, 3.24)):
        example = Record(2 / math.sqrt(a_year), 0.0, 3.0, 100)
        assert minimum_track_record(example, 1 / math.sqrt(a_year)) / a_year == pytest.approx(years, abs=0.0075)


def test_the_moments_by_hand() -> None:
    """1, 2, 3, 10: mean 4, deviations -3, -2, -1, 6; m2 12.5, m3 45, m4 348.5."""
    record = Record.of(np.array([1.0, 2.0, 3.0, 10.0]))
    assert record.sharpe == pytest.approx(4 / math.sqrt(50 / 3), rel=1e-14)
    assert record.skewness == pytest.approx(45 / 12.5**1.5, rel=1e-14)
    assert record.kurtosis == pytest.approx(348.5 / 12.5**2, rel=1e-14)
    assert record.periods == 4


def test_nothing_risked_is_nothing_shown() -> None:
    for constant in (0.0, 0.1, -3e-5):
        record = Record.of(np.full(100, constant))
        assert (record.sharpe, record.skewness, record.kurtosis) == (0.0, 0.0, 3.0)
        assert probabilistic_sharpe(record) == 0.5


@pytest.mark.parametrize("bad", [[0.1], [0.1, math.nan], [0.1, math.inf], [[0.1, 0.2], [0.1, 0.2]]])
def test_what_is_no_record_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="track record"):
        Record.of(np.array(bad))


def test_impossible_moments_are_refused() -> None:
    """Skewness 5 with kurtosis 3 is no distribution."""
    with pytest.raises(ValueError, match="kurtosis"):
        standard_error(Record(0.5, 5.0, 3.0, 100))
    with pytest.raises(ValueError, match="level"):
        minimum_track_record(PAPER, level=0.4)
    for trials, variance in ((0, 0.1), (5, -0.1), (5, math.inf), (5, math.nan)):
        with pytest.raises(ValueError, match="trial"):
            expected_maximum_sharpe(trials, variance)


@pytest.mark.parametrize("trials", [5, 50, 1_000])
def test_the_expected_maximum_is_that_of_simulated_trials(trials: int) -> None:
    """Mean of the maximum of N normals; the formula is asymptotic, within 2% here."""
    rng = np.random.default_rng(3)
    simulated = rng.normal(0, 0.2, (20_000_000 // trials // 10, trials)).max(axis=1).mean()
    assert expected_maximum_sharpe(trials, 0.04) == pytest.approx(simulated, rel=0.03)
    assert expected_maximum_sharpe(1, 0.04) == 0.0


def test_the_error_is_that_of_simulated_records() -> None:
    """Skewed, fat-tailed returns (shifted, centred exponentials): the spread of 4,000 estimated ratios."""
    rng = np.random.default_rng(4)
    returns = 1.0 - rng.exponential(1.0, (4_000, 1_000)) + 0.3
    estimated = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    predicted = standard_error(Record(0.3, -2.0, 9.0, 1_000))
    assert estimated.std() == pytest.approx(predicted, rel=0.04)
    normal_error = standard_error(Record(0.3, 0.0, 3.0, 1_000))
    assert estimated.std() / normal_error > 1.2  # what ignoring skewness would miss


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=8, max_size=60).filter(lambda xs: np.std(xs) > 1e-4),
    st.floats(0.01, 100.0),
)
def test_scaling_returns_changes_nothing(returns: list[float], scale: float) -> None:
    """Leverage moves no ratio; reversing time moves none either."""
    values = np.array(returns)
    one, other, back = Record.of(values), Record.of(values * scale), Record.of(values[::-1])
    for name in ("sharpe", "skewness", "kurtosis"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6, abs=1e-6)
        assert getattr(back, name) == pytest.approx(getattr(one, name), rel=1e-6, abs=1e-6)


@given(st.integers(1, 10_000), st.floats(1e-6, 0.5))
def test_each_further_trial_costs(trials: int, variance: float) -> None:
    assert expected_maximum_sharpe(trials + 1, variance) > expected_maximum_sharpe(trials, variance)
