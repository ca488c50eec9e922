"""Monte Carlo of trades: all orders by hand, what each kind leaves as it is, the same bytes however it is cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.quant.statistics import TradesMonteCarlo, evaluate

THREE = np.array([0.10, -0.20, 0.05])


def path(trades: tuple[float, ...]) -> tuple[float, float]:
    """Final equity and drawdown."""
    equity = top = 1.0
    fall = 0.0
    for trade in trades:
        equity *= 1 + trade
        top = max(top, equity)
        fall = max(fall, 1 - equity / top)
    return equity, fall


@pytest.mark.parametrize("with_replacement", [False, True])
def test_all_sequences_of_three_trades(with_replacement: bool) -> None:
    """6 orders, or 27 sequences: each outcome is drawn as often as it should be, within 5 sigma of 30,000."""
    every = list(itertools.product(THREE, repeat=3) if with_replacement else itertools.permutations(THREE))
    exact = np.array([path(one) for one in every])
    result = evaluate(TradesMonteCarlo(THREE, with_replacement, replicates=30_000, seed=1))
    drawn = np.stack([result.final_equity.draws, result.drawdown.draws], axis=1)
    for outcome in np.unique(exact.round(12), axis=0):
        share = np.isclose(exact, outcome, rtol=0, atol=1e-10).all(axis=1).mean()
        found = np.isclose(drawn, outcome, rtol=0, atol=1e-10).all(axis=1).mean()
        assert abs(found - share) < 5 * np.sqrt(share / 30_000)
    assert (result.final_equity.observed, result.drawdown.observed) == pytest.approx(path(tuple(THREE)))


def test_another_order_changes_the_path_alone() -> None:
    trades = np.random.default_rng(0).normal(0.004, 0.03, 250)
    shuffled = evaluate(TradesMonteCarlo(trades, with_replacement=False, seed=2))
    assert set(shuffled.final_equity.draws) == {shuffled.final_equity.observed}
    assert shuffled.drawdown.draws.std() > 0.01
    assert shuffled.probability_of_loss() == float(shuffled.final_equity.observed < 1)
    redrawn = evaluate(TradesMonteCarlo(trades, with_replacement=True, seed=2))
    assert redrawn.final_equity.draws.std() > 0.1
    log_end = np.log(redrawn.final_equity.draws)
    assert log_end.mean() == pytest.approx(np.log1p(trades).sum(), abs=5 * log_end.std() / np.sqrt(1_000))
    assert log_end.std() == pytest.approx(np.log1p(trades).std() * np.sqrt(250), rel=0.12)


def test_a_kind_order_is_told_apart() -> None:
    """Losses spread evenly among gains fall less than nearly every other order; losses first fall most."""
    kind, cruel = np.tile([0.02, -0.01], 100), np.r_[np.full(100, -0.01), np.full(100, 0.02)]
    assert evaluate(TradesMonteCarlo(kind, with_replacement=False)).drawdown_rank > 0.99
    hard = evaluate(TradesMonteCarlo(cruel, with_replacement=False))
    assert hard.drawdown_rank < 0.01
    assert hard.probability_of_drawdown(0.5) < 0.01 < hard.probability_of_drawdown(0.01)


@given(st.integers(0, 2**64 - 1), st.integers(2, 60), st.integers(1, 20), st.booleans())
def test_chunks_change_no_byte(seed: int, count: int, chunk: int, with_replacement: bool) -> None:
    trades = np.random.default_rng(seed).uniform(-0.3, 0.4, count)
    test = TradesMonteCarlo(trades, with_replacement, replicates=50, seed=seed)
    whole, cut = evaluate(test), evaluate(test, chunk=chunk)
    assert whole.drawdown.draws.tobytes() == cut.drawdown.draws.tobytes()
    assert whole.final_equity.draws.tobytes() == cut.final_equity.draws.tobytes()
    floor = 1 - np.prod(1 + np.minimum(trades, 0)) if not with_replacement else 1 - (1 + min(trades.min(), 0)) ** count
    assert whole.drawdown.draws.max() <= floor + 1e-9


@pytest.mark.parametrize(
    ("trades", "options", "says"),
    [
        ([0.1], {}, "2 trades"),
        ([0.1, np.inf], {}, "2 trades"),
        ([0.1, -1.0], {}, "all equity"),
        ([0.1, 0.2], {"replicates": 0}, "replicate"),
        ([0.1, 0.2], {"seed": -3}, "seed"),
    ],
)
def test_bad_input_is_named(trades: list[float], options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TradesMonteCarlo(np.array(trades), with_replacement=True, **options)
