"""The permutation test: all orders by hand, uniform p-values under the null, the same bytes however it is cut."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.statistics import PermutationTest, evaluate

FIVE = np.array([0.03, -0.01, 0.02, -0.05, 0.011])


def ratio(x: np.ndarray) -> float:
    return float(x.mean() / x.std(ddof=1))


@pytest.mark.parametrize(
    "positions",
    [[1.0, 0.0, 1.0, 0.0], [0.5, -1.0, 2.0, 0.25], [1.0, 1.0, 1.0, -1.0], [0.0, 2.0, 2.0, 0.0, 0.0], [1, 0, 0, -1, 0]],
)
@pytest.mark.parametrize("statistic", ["mean", "sharpe"])
def test_the_null_is_that_of_all_orders(positions: list[float], statistic: str) -> None:
    """All orders of four or five bars: 24,000 draws hit each distinct value as often as they should, within 5 sigma."""
    held, returns = np.array(positions), FIVE[: len(positions)]
    measure = ratio if statistic == "sharpe" else (lambda x: float(x.mean()))
    exact = np.array([measure(held * np.array(order)) for order in itertools.permutations(returns)])
    result = evaluate(PermutationTest(held, returns, statistic=statistic, replicates=24_000, seed=5))
    assert result.observed == pytest.approx(measure(held * returns), rel=1e-12)
    for value in np.unique(exact.round(12)):
        share = np.isclose(exact, value, rtol=1e-9).mean()
        drawn = np.isclose(result.null, value, rtol=1e-9).mean()
        assert abs(drawn - share) < 5 * np.sqrt(share / 24_000)
    expected = (exact >= result.observed - 1e-12).mean()
    assert result.p_value == pytest.approx(expected, abs=5 * np.sqrt(0.25 / 24_000))


@pytest.mark.parametrize("counts", [(3, 4), (2, 2, 2), (3, 3, 3), (2, 4, 3), (2, 1, 1, 2), (1, 1, 1, 1, 1)])
def test_every_arrangement_is_as_likely(counts: tuple[int, ...]) -> None:
    """Chi-square over all of them, 40 draws each: the digits of the sum say which bar had which size."""
    held = np.repeat(np.arange(len(counts), dtype=float), counts)
    returns = float(len(counts)) ** np.arange(len(held))
    arrangements = math.factorial(len(held)) // math.prod(map(math.factorial, counts))
    test = PermutationTest(held, returns, statistic="mean", replicates=40 * arrangements, seed=12)
    codes, times = np.unique(np.rint(evaluate(test).null * len(held)).astype(int), return_counts=True)
    assert len(codes) == arrangements
    assert {tuple(sorted(np.base_repr(code, len(counts)).zfill(len(held)))) for code in codes} == {
        tuple("".join(str(size) * count for size, count in enumerate(counts)))
    }
    freedom = arrangements - 1
    assert abs(((times - 40) ** 2 / 40).sum() - freedom) < 4 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("bars", [9, 63, 64, 65, 1_003])
@pytest.mark.parametrize("sizes", [(0.0, 1.0), (-1.0, 0.0, 1.0), (0.25, 2.0, -3.0), (3.0, 1.0, 4.0, 1.5, 9.0, 2.0)])
def test_few_sizes_are_dealt_out_in_full(bars: int, sizes: tuple[float, ...]) -> None:
    """Each bar has each size as often as it should, and the sum over all bars of size times one is always the same."""
    held = np.resize(np.array(sizes), bars)
    flat = evaluate(PermutationTest(held, np.ones(bars), statistic="mean", replicates=300)).null
    np.testing.assert_allclose(flat, held.mean(), rtol=1e-12, atol=1e-15)
    share = np.mean(held == sizes[0])
    for bar in (0, bars // 2, bars - 1):
        lone = np.zeros(bars)
        lone[bar] = bars
        null = evaluate(PermutationTest(held, lone, statistic="mean", replicates=4_000, seed=bar)).null
        assert abs(np.isclose(null, sizes[0], atol=1e-9).mean() - share) < 5 * math.sqrt(share * (1 - share) / 4_000)


@pytest.mark.parametrize("counts", [(50, 81), (40, 40, 51), (20, 30, 40, 41)])
def test_few_sizes_are_summed_as_they_were_dealt(counts: tuple[int, ...]) -> None:
    """Each bar by itself tells what it was dealt; put together, that gives the sums of all."""
    held = np.repeat(np.arange(1.0, len(counts) + 1) ** 2, counts)
    returns = np.random.default_rng(7).normal(0, 0.01, len(held))
    dealt = np.array(
        [
            evaluate(PermutationTest(held, bar, statistic="mean", replicates=300, seed=3)).null * len(held)
            for bar in np.eye(len(held))
        ]
    )
    np.testing.assert_allclose(np.sort(dealt, axis=0), np.sort(held)[:, None] * np.ones(300), rtol=1e-12)
    earned = dealt * returns[:, None]
    means = evaluate(PermutationTest(held, returns, statistic="mean", replicates=300, seed=3)).null
    np.testing.assert_allclose(means, earned.mean(axis=0), rtol=1e-9, atol=1e-15)
    ratios = evaluate(PermutationTest(held, returns, replicates=300, seed=3)).null
    np.testing.assert_allclose(ratios, earned.mean(axis=0) / earned.std(axis=0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize("drawn", [1, 2, 19])
def test_few_bars_of_many(drawn: int) -> None:
    """Positions that are rare, or held nearly always: each bar is drawn as often as any other."""
    returns = 2.0 ** np.arange(20)
    held = np.zeros(20)
    held[:drawn] = 3.0
    null = evaluate(PermutationTest(held, returns, statistic="mean", replicates=20_000, seed=1)).null
    codes = np.rint(null * 20 / 3).astype(int)  # the binary digits say which bars were held
    assert {int(code).bit_count() for code in codes} == {drawn}
    times = np.array([np.count_nonzero(codes >> bar & 1) for bar in range(20)])
    share = drawn / 20
    assert np.abs(times - share * 20_000).max() < 5 * np.sqrt(share * (1 - share) * 20_000)


def test_ties_count_as_reaching() -> None:
    """One bar in ten held, all returns alike but for rounding: every order is as good, so p = 1."""
    held = np.zeros(10)
    held[3] = 1.0
    returns = np.full(10, 0.1) + np.arange(10) * 1e-17
    assert evaluate(PermutationTest(held, returns, statistic="mean", replicates=99)).p_value == 1.0


def test_the_p_value_is_never_zero() -> None:
    """A position that foresees every return, 99 permutations: (1 + 0) / (99 + 1)."""
    returns = np.random.default_rng(1).normal(0, 0.01, 500)
    assert evaluate(PermutationTest(np.sign(returns), returns, replicates=99)).p_value == 0.01


@pytest.mark.parametrize("symbols", [1, 3])
@pytest.mark.parametrize("levels", ["signs", "weights"])
def test_p_values_are_uniform_under_the_null(symbols: int, levels: str) -> None:
    """Kolmogorov-Smirnov over 400 noise strategies in a market that rises: exposure alone does not make them good."""
    rng = np.random.default_rng(11)
    p_values = []
    for seed in range(400):
        shape = (120, symbols)
        held = np.sign(rng.normal(0.3, 1, shape)) if levels == "signs" else rng.uniform(0, 1, shape)
        returns = rng.standard_t(4, shape) * 0.01 + 0.004
        p_values.append(evaluate(PermutationTest(held, returns, replicates=199, seed=seed)).p_value)
    steps = np.sort(p_values)
    gap = np.max(np.maximum(np.arange(1, 401) / 400 - steps, steps - np.arange(400) / 400))
    assert gap < 1.95 / np.sqrt(400) + 1 / 200  # 99.9%, and one step of the p-value's own grid


def test_timing_is_found_and_exposure_is_not() -> None:
    rng = np.random.default_rng(2)
    returns = rng.normal(0.002, 0.01, 2_000)
    knows = (returns + rng.normal(0, 0.05, 2_000) > 0).astype(float)
    assert evaluate(PermutationTest(knows, returns)).p_value < 0.01
    assert evaluate(PermutationTest(np.ones(2_000), returns)).p_value == 1.0
    assert evaluate(PermutationTest(1 - knows, returns, statistic="mean")).p_value > 0.95


def test_symbols_keep_their_dependence() -> None:
    """Two copies of one symbol held against each other earn nothing in any order."""
    rng = np.random.default_rng(3)
    returns, held = rng.normal(0, 0.01, 300), rng.normal(0, 1, 300)
    pair = PermutationTest(np.stack([held, -held], 1), np.stack([returns, returns], 1), statistic="mean", replicates=50)
    assert np.abs(evaluate(pair).null).max() < 1e-15


def test_one_symbol_is_the_same_in_either_form() -> None:
    """Where positions have many sizes; a few sizes of one symbol are drawn in another way."""
    rng = np.random.default_rng(4)
    held = rng.integers(-3, 4, 301) * (rng.random(301) < 0.7)
    returns = rng.normal(0, 0.01, 301)
    flat = evaluate(PermutationTest(held, returns, seed=9))
    padded = PermutationTest(np.stack([held, np.zeros(301)], 1), np.stack([returns, returns], 1), seed=9)
    np.testing.assert_allclose(evaluate(padded).null, flat.null, rtol=1e-9, atol=1e-15)


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 30), st.floats(0.01, 100))
def test_invariances(seed: int, bars: int, chunk: int, scale: float) -> None:
    """Chunks change no byte; leverage, the order of bars and the order of symbols change no p-value."""
    rng = np.random.default_rng(seed)
    held, returns = rng.integers(-1, 2, (bars, 2)).astype(float), rng.normal(0, 0.01, (bars, 2))
    whole = evaluate(PermutationTest(held, returns, replicates=60, seed=seed))
    cut = evaluate(PermutationTest(held, returns, replicates=60, seed=seed), chunk=chunk)
    assert cut.null.tobytes() == whole.null.tobytes()
    levered = evaluate(PermutationTest(held * scale, returns, replicates=60, seed=seed))
    swapped = evaluate(PermutationTest(held[:, ::-1], returns[:, ::-1], replicates=60, seed=seed))
    assert levered.p_value == whole.p_value == swapped.p_value


@pytest.mark.parametrize(
    ("positions", "returns", "options", "says"),
    [
        ([1.0, 2.0], [0.1], {}, "one shape"),
        ([1.0], [0.1], {}, "at least 2 bars"),
        ([1.0, np.nan], [0.1, 0.2], {}, "finite"),
        ([1.0, 2.0], [0.1, 0.2], {"replicates": 0}, "replicate"),
        ([1.0, 2.0], [0.1, 0.2], {"seed": -1}, "seed"),
        ([1.0, 2.0], [0.1, 0.2], {"statistic": "median"}, "median"),
    ],
)
def test_bad_input_is_named(positions: list[float], returns: list[float], options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PermutationTest(np.array(positions), np.array(returns), **options)
