"""Agreement with what arch and scipy said: recorded.json, written by record.py with other people's code."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.quant.statistics.series import pairings, returns, strategies
from trading.quant.statistics import (
    Bootstrap,
    PermutationTest,
    Record,
    SuperiorityTest,
    block_length,
    evaluate,
    normal,
)

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
REPLICATES = 20_000


def test_the_normal_distribution() -> None:
    for p, x in RECORDED["normal"]["quantile"].items():
        assert normal.quantile(float(p)) == pytest.approx(x, rel=1e-11, abs=1e-15)
    for x, p in RECORDED["normal"]["cdf"].items():
        assert normal.cdf(float(x)) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("name", list(RECORDED["moments"]))
def test_moments(name: str) -> None:
    record = Record.of(returns()[name])
    assert [record.skewness, record.kurtosis] == pytest.approx(RECORDED["moments"][name], rel=1e-10)


@pytest.mark.parametrize("name", list(RECORDED["block_length"]))
def test_block_lengths(name: str) -> None:
    """The same to ten digits; arch lets a length fall below one bar, which no block can be."""
    assert block_length(returns()[name]) == pytest.approx(max(RECORDED["block_length"][name], 1.0), rel=1e-10)


@pytest.mark.parametrize("name", list(RECORDED["bootstrap"]))
def test_bootstrap_distributions(name: str) -> None:
    """Standard errors within 5 of their own, quantiles within 5 of theirs, both sides being drawn 20,000 times."""
    estimates = evaluate(Bootstrap(returns()[name], replicates=REPLICATES, seed=3, block_length=5.0)).estimates
    for measure, (spread, *quantiles) in RECORDED["bootstrap"][name].items():
        draws = estimates[measure].draws
        assert draws.std(ddof=1) == pytest.approx(spread, rel=0.05), measure
        for level, value in zip((0.05, 0.25, 0.5, 0.75, 0.95), quantiles, strict=True):
            share = float(np.mean(draws <= value))
            assert abs(share - level) < 5 * math.sqrt(2 * level * (1 - level) / REPLICATES), (measure, level)


@pytest.mark.parametrize("name", list(RECORDED["superiority"]))
def test_superiority(name: str) -> None:
    """Hansen's statistic is never below 0, so that p is 1 where none beats the benchmark; arch leaves that out."""
    said = RECORDED["superiority"][name]
    found = {}
    for kind, studentised in (("plain", False), ("studentised", True)):
        test = SuperiorityTest(
            strategies()[name], replicates=REPLICATES, seed=3, block_length=5.0, studentised=studentised
        )
        result = evaluate(test)
        found["reality_check"] = result.reality_check
        for bound in ("lower", "consistent", "upper"):
            found[f"{kind}_{bound}"] = getattr(result, f"spa_{bound}")
    assert found.keys() == said.keys()
    none_better = strategies()[name].mean(axis=0).max() <= 0
    for key, p in said.items():
        if none_better and key != "reality_check":
            assert found[key] == 1.0 > p > 0.5
            continue
        assert abs(found[key] - p) < 5 * math.sqrt(2 * max(p * (1 - p), 1e-3) / REPLICATES), key


@pytest.mark.parametrize("name", list(RECORDED["permutation"]))
@pytest.mark.parametrize("statistic", ["mean", "sharpe"])
def test_permutations(name: str, statistic: str) -> None:
    """5,040 orders by scipy, 20,000 draws here."""
    positions, values = pairings()[name]
    test = PermutationTest(positions, values, statistic=statistic, replicates=REPLICATES, seed=3)
    p = RECORDED["permutation"][name][statistic]
    assert abs(evaluate(test).p_value - p) < 5 * math.sqrt(p * (1 - p) / REPLICATES) + 1 / REPLICATES
