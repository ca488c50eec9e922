"""Reality check and SPA: replicates rebuilt, uniform p-values, order of the bounds, what studentising is for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quant.statistics.test_bootstrap import rebuilt
from trading.quant.statistics import SuperiorityTest, evaluate
from trading.quant.statistics.superiority import variance_of_mean


def hansen_variance(series: np.ndarray, mean_length: float) -> float:
    """Hansen (2005), section 3: g(0) + 2 sum k(i) g(i), k(i) = (n-i)/n (1-q)**i + i/n (1-q)**(n-i), g not circular."""
    bars, q = len(series), 1 / mean_length
    apart = series - series.mean()
    total = apart @ apart / bars
    for i in range(1, bars):
        kernel = (bars - i) / bars * (1 - q) ** i + i / bars * (1 - q) ** (bars - i)
        total += 2 * kernel * (apart[: bars - i] @ apart[i:]) / bars
    return float(total)


@pytest.mark.parametrize("mean_length", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("bars", [10, 101, 240])
def test_the_variance_is_hansens(mean_length: float, bars: int) -> None:
    values = np.random.default_rng(0).normal(0.1, 1, (bars, 70)).cumsum(axis=0) * 0.1
    expected = [hansen_variance(column, mean_length) for column in values.T]
    np.testing.assert_allclose(variance_of_mean(values, mean_length), expected, rtol=1e-9)


@pytest.mark.parametrize("mean_length", [1.0, 6.0])
def test_each_replicate_again(mean_length: float) -> None:
    """The definitions, on the returns that the blocks name."""
    excess = np.random.default_rng(1).normal(0.0, [0.02, 0.01, 0.05], (150, 3))
    excess += np.array([-0.01, 0.0005, -0.001]) - excess.mean(axis=0)  # surely worse, better, perhaps as good
    # The fourth lies between Hansen's threshold and one without its second logarithm.
    fourth = excess[:, 1] - 0.0005
    place = -1.6 * math.sqrt(2.0) * math.sqrt(hansen_variance(fourth, mean_length) / 150)
    excess = np.column_stack([excess, fourth + place])
    test = SuperiorityTest(excess, replicates=30, seed=4, block_length=mean_length)
    mean = excess.mean(axis=0)
    deviation = np.sqrt([hansen_variance(column, mean_length) for column in excess.T])
    surely_worse = mean < -deviation * math.sqrt(2 * math.log(math.log(150)) / 150)
    assert surely_worse.tolist() == [True, False, False, True]
    taken = [np.maximum(mean, 0), np.where(surely_worse, 0.0, mean), mean]
    for index, row in enumerate(test.replicate(0, 30)):
        drawn = np.array([rebuilt(column, mean_length, 4, index).mean() for column in excess.T])
        assert row[0] == pytest.approx(math.sqrt(150) * (drawn - mean).max(), rel=1e-9)
        for column, centre in enumerate(taken, start=1):
            value = max(0.0, (math.sqrt(150) * (drawn - centre) / deviation).max())
            assert row[column] == pytest.approx(value, rel=1e-9, abs=1e-12)
    result = evaluate(test)
    assert result.spa_statistic == pytest.approx(max(0.0, (math.sqrt(150) * mean / deviation).max()))
    assert result.reality_check_statistic == pytest.approx(math.sqrt(150) * mean.max())
    assert result.reality_check == (1 + (result.null[:, 0] >= result.reality_check_statistic).sum()) / 31


def test_p_values_are_uniform_where_all_are_as_good_as_the_benchmark() -> None:
    """The least favourable null: the upper p-value and the reality check reject a tenth at a tenth."""
    rng = np.random.default_rng(8)
    p_values = []
    for seed in range(400):
        excess = rng.normal(0, 0.01, (250, 8))
        result = evaluate(SuperiorityTest(excess, replicates=199, seed=seed, block_length=2.0))
        assert result.spa_lower <= result.spa_consistent <= result.spa_upper
        p_values.append((result.reality_check, result.spa_upper))
    steps = np.sort(p_values, axis=0)
    grid = np.arange(1, 401)[:, None] / 400
    gap = np.maximum(grid - steps, steps - grid + 1 / 400).max(axis=0)
    assert (gap < 1.95 / math.sqrt(400) + 1 / 200 + 0.03).all(), gap  # 99.9%, the p-value's grid, finite-sample bias


def test_hopeless_strategies_hide_a_good_one_from_the_reality_check_alone() -> None:
    """Hansen's point: poor and wild alternatives raise White's p-value; studentised and trimmed, they do not."""
    rng = np.random.default_rng(9)
    good = rng.normal(0.0012, 0.01, (1_000, 1))
    poor = rng.normal(-0.02, 0.10, (1_000, 200))
    result = evaluate(SuperiorityTest(np.hstack([poor, good]), seed=3, block_length=3.0))
    assert result.best == 200
    assert result.spa_consistent < 0.01
    assert result.reality_check > 0.5


def test_without_studentising_upper_is_the_reality_check() -> None:
    excess = np.random.default_rng(10).normal(0.0005, 0.01, (300, 12))
    result = evaluate(SuperiorityTest(excess, studentised=False, block_length=2.0))
    assert result.spa_upper == result.reality_check


def test_a_copy_of_the_benchmark_is_no_better() -> None:
    result = evaluate(SuperiorityTest(np.zeros((50, 2)), replicates=20, block_length=2.0))
    assert (result.reality_check, result.spa_consistent, result.spa_statistic) == (1.0, 1.0, 0.0)
    worse = np.random.default_rng(2).normal(-0.01, 0.01, (50, 2))
    assert evaluate(SuperiorityTest(worse, replicates=20, block_length=2.0)).spa_statistic == 0.0


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 30), st.floats(0.01, 100.0))
def test_invariances(seed: int, strategies: int, chunk: int, scale: float) -> None:
    """Chunks change no byte; scale and the order of the strategies change no p-value."""
    excess = np.random.default_rng(seed).normal(0.001, 0.01, (60, strategies))
    whole, cut = (
        evaluate(SuperiorityTest(excess, replicates=40, seed=seed, block_length=3.0), chunk=size)
        for size in (40, chunk)
    )
    assert whole.null.tobytes() == cut.null.tobytes()
    for other in (excess * scale, excess[:, ::-1]):
        again = evaluate(SuperiorityTest(other, replicates=40, seed=seed, block_length=3.0))
        for name in ("reality_check", "spa_lower", "spa_consistent", "spa_upper"):
            assert getattr(again, name) == getattr(whole, name)


def test_the_length_is_chosen_when_not_given() -> None:
    excess = np.random.default_rng(11).normal(0, 0.01, (400, 2))
    slow = np.convolve(np.random.default_rng(12).normal(0, 0.01, 419), np.ones(20) / 20, mode="valid")
    assert SuperiorityTest(excess)._plan.mean_length < 5
    assert SuperiorityTest(slow[:, None])._plan.mean_length > 10


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((9, 2), {}, "10 bars"),
        ((20,), {}, "shape"),
        ((20, 0), {}, "1 strategy"),
        ((20, 2), {"replicates": 0}, "replicate"),
        ((20, 2), {"seed": -1}, "seed"),
        ((20, 2), {"block_length": 0.1}, "at least 1"),
    ],
)
def test_bad_input_is_named(shape: tuple[int, ...], options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SuperiorityTest(np.zeros(shape), **options)
    with pytest.raises(ValueError, match="finite"):
        SuperiorityTest(np.full((20, 2), np.inf))
