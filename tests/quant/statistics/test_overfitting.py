"""CSCV: every combination again with itertools, noise and a true winner, invariances."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.statistics import CrossValidation, evaluate
from trading.quant.statistics.overfitting import combination


def again(returns: np.ndarray, blocks: int, sharpe: bool) -> list[tuple[float, float, float]]:
    """Logit, in sample and out of sample performance of the chosen one, by the paper's words."""

    def measure(rows: np.ndarray) -> np.ndarray:
        return rows.mean(axis=0) / (rows.std(axis=0, ddof=1) if sharpe else 1.0)

    size = len(returns) // blocks
    pieces = np.split(returns[len(returns) - size * blocks :], blocks)
    found = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = measure(np.concatenate([pieces[i] for i in chosen]))
        outside = measure(np.concatenate([pieces[i] for i in range(blocks) if i not in chosen]))
        best = int(np.argmax(inside))
        rank = sum(other < outside[best] for other in outside) + 1
        share = rank / (returns.shape[1] + 1)
        found.append((math.log(share / (1 - share)), inside[best], outside[best]))
    return found


@pytest.mark.parametrize("performance", ["sharpe", "mean"])
@pytest.mark.parametrize(("bars", "strategies", "blocks"), [(24, 3, 4), (61, 7, 6), (100, 20, 10)])
def test_every_combination_again(bars: int, strategies: int, blocks: int, performance: str) -> None:
    returns = np.random.default_rng(bars).normal(0.001, 0.02, (bars, strategies))
    test = CrossValidation(returns, blocks=blocks, performance=performance)
    expected = np.array(again(returns, blocks, performance == "sharpe"))
    result = evaluate(test, chunk=7)
    np.testing.assert_allclose(test.replicate(0, test.replicates), expected, rtol=1e-9, atol=1e-14)
    assert result.pbo == (expected[:, 0] <= 0).mean()
    assert result.loss_probability == (expected[:, 2] < 0).mean()
    slope = np.polyfit(expected[:, 1], expected[:, 2], 1)[0]
    assert result.degradation == pytest.approx(slope, rel=1e-6)


def test_by_hand() -> None:
    """Two blocks, two strategies: each is best in one block and worst in the other. Rank 1 of 2: logit ln(1/2)."""
    returns = np.array([[0.01, -0.01], [0.03, -0.03], [-0.02, 0.02], [-0.04, 0.04]])
    result = evaluate(CrossValidation(returns, blocks=2, performance="mean"))
    assert result.pbo == 1.0
    assert result.logits == pytest.approx([math.log(0.5)] * 2)
    assert result.in_sample == pytest.approx([0.02, 0.03])
    assert result.out_of_sample == pytest.approx([-0.03, -0.02])
    assert result.degradation == pytest.approx(1.0)
    assert result.loss_probability == 1.0


def test_noise_is_a_coin_and_a_true_winner_is_found() -> None:
    """The best of noise ranks anywhere out of sample; one with a ratio of 2.5 a year over 8 years stands out."""
    rng = np.random.default_rng(6)
    noise = rng.normal(0, 0.01, (60, 512, 20))
    found = [evaluate(CrossValidation(one, blocks=8)).pbo for one in noise]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)
    strategies = rng.normal(0, 0.01, (2_016, 100))
    strategies[:, 17] += 0.01 * 2.5 / math.sqrt(252)
    assert evaluate(CrossValidation(strategies)).pbo < 0.05


def test_idle_strategies_and_copies_share_their_ranks() -> None:
    """Four idle ones: whichever is chosen ranks in the middle, (1 + 4) / 2 of 4, and has earned nothing."""
    result = evaluate(CrossValidation(np.zeros((40, 4)), blocks=4))
    assert set(result.logits) == {0.0}
    assert set(result.out_of_sample) == {0.0}
    assert result.pbo == 1.0
    assert math.isnan(result.degradation)
    constant = np.random.default_rng(0).normal(0.0, 0.01, (40, 3))
    constant[:, 1] = 0.013  # a gain that never varies shows no risk, so no ratio
    assert np.abs(evaluate(CrossValidation(constant, blocks=4)).in_sample).max() < 0.013 / 1e-12


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 40), st.floats(0.01, 100.0))
def test_invariances(seed: int, strategies: int, chunk: int, scale: float) -> None:
    """Chunks change no byte; leverage of all, and the order of the strategies, change nothing."""
    returns = np.random.default_rng(seed).normal(0, 0.01, (48, strategies))
    whole, cut = (evaluate(CrossValidation(returns, blocks=8), chunk=size) for size in (70, chunk))
    assert whole.logits.tobytes() == cut.logits.tobytes()
    assert whole.out_of_sample.tobytes() == cut.out_of_sample.tobytes()
    for other in (returns * scale, returns[:, ::-1]):
        result = evaluate(CrossValidation(other, blocks=8))
        np.testing.assert_array_equal(result.logits, whole.logits)
        np.testing.assert_allclose(result.out_of_sample, whole.out_of_sample, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("blocks", [2, 8, 16])
def test_combinations_are_numbered_in_order(blocks: int) -> None:
    every = list(itertools.combinations(range(blocks), blocks // 2))
    for rank in {0, 1, len(every) // 3, len(every) - 1}:
        assert tuple(combination(min(rank, len(every) - 1), blocks)) == every[min(rank, len(every) - 1)]


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((40, 1), {}, "2 strategies"),
        ((40,), {}, "2 strategies"),
        ((40, 3), {"blocks": 7}, "even"),
        ((40, 3), {"blocks": 22}, "even"),
        ((40, 3), {"blocks": 0}, "even"),
        ((30, 3), {"blocks": 16}, "too few"),
        ((40, 3), {"performance": "profit"}, "profit"),
    ],
)
def test_bad_input_is_named(shape: tuple[int, ...], options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CrossValidation(np.zeros(shape), **options)
    with pytest.raises(ValueError, match="finite"):
        CrossValidation(np.full((40, 3), np.nan))
