"""Other people's implementations, asked now: `make oracles`. Without them these tests are skipped."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("arch", reason="arch is installed by `make oracles`")

from arch.bootstrap import StationaryBootstrap, optimal_block_length
from scipy import stats

from tests.quant.statistics import record
from trading.quant.statistics import Bootstrap, PermutationTest, block_length, evaluate, normal
from trading.quant.statistics.superiority import variance_of_mean

pytestmark = pytest.mark.oracle


def test_the_record_is_what_the_libraries_still_say() -> None:
    """Compared as numbers: the last digit may differ between processors."""
    recorded = json.loads(record.FILE.read_text())

    def same(a: object, b: object) -> None:
        assert type(a) is type(b)
        if isinstance(a, dict) and isinstance(b, dict):
            assert a.keys() == b.keys()
            for key in a:
                same(a[key], b[key])
        elif isinstance(a, list) and isinstance(b, list):
            assert a == pytest.approx(b, rel=1e-9)
        else:
            assert a == pytest.approx(b, rel=1e-9)

    same(record.record(), recorded)


@pytest.mark.parametrize("bars", [40, 250, 2_000])
@pytest.mark.parametrize("weight", [-0.6, 0.0, 0.2, 0.8])
def test_block_lengths_of_fresh_series(bars: int, weight: float) -> None:
    rng = np.random.default_rng(bars)
    for _ in range(20):
        series = np.zeros(bars)
        for t, shock in enumerate(rng.standard_t(5, bars)):
            series[t] = weight * series[t - 1] + shock
        expected = float(optimal_block_length(series)["stationary"].iloc[0])
        assert block_length(series) == pytest.approx(max(expected, 1.0), rel=1e-10)


@pytest.mark.parametrize("length", [1.5, 8.0, 40.0])
def test_bootstrap_draws_have_archs_distribution(length: float) -> None:
    """Kolmogorov-Smirnov of 5,000 draws of each measure, on a series with momentum."""
    values = np.random.default_rng(1).standard_t(5, 400) * 0.01
    values[1:] += 0.4 * values[:-1]
    theirs = StationaryBootstrap(length, values, seed=5).apply(record.measured, 5_000)
    ours = evaluate(Bootstrap(values, replicates=5_000, seed=5, block_length=length)).estimates
    for i, name in enumerate(ours):
        assert stats.ks_2samp(ours[name].draws, theirs[:, i]).pvalue > 1e-4, name


def test_p_values_are_uniform_by_scipys_test() -> None:
    """Noise strategies in a rising, fat-tailed market."""
    rng = np.random.default_rng(2)
    p_values = []
    for seed in range(2_000):
        held, returns = rng.integers(-1, 2, 250).astype(float), rng.standard_t(4, 250) * 0.01 + 0.001
        p_values.append(evaluate(PermutationTest(held, returns, replicates=499, seed=seed)).p_value)
    continuous = np.array(p_values) - rng.uniform(0, 1 / 500, 2_000)  # spread over the steps of the grid
    assert stats.kstest(continuous, "uniform").pvalue > 1e-3


def test_the_normal_distribution_everywhere() -> None:
    for x in np.linspace(-37, 8, 901):
        assert normal.cdf(float(x)) == pytest.approx(float(stats.norm.cdf(x)), rel=1e-12)
    for p in np.logspace(-300, -1e-9, 400):
        assert normal.quantile(float(p)) == pytest.approx(float(stats.norm.ppf(p)), rel=1e-9, abs=1e-12)


def test_the_variance_is_that_of_archs_draws() -> None:
    values = np.random.default_rng(3).normal(0, 0.01, (300, 3)).cumsum(axis=0) * 0.1
    draws = StationaryBootstrap(6.0, values, seed=1).apply(lambda rows: rows.mean(axis=0), 20_000)
    expected = draws.var(axis=0) * 300
    np.testing.assert_allclose(variance_of_mean(values, 6.0), expected, rtol=5 * math.sqrt(2 / 20_000))
