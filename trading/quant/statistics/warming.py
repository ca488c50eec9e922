"""Compiled code before it is needed: a worker that starts calls `warm`, and its first run waits for no compiler."""

import numpy as np

from trading.quant.statistics.bootstrap import Bootstrap
from trading.quant.statistics.overfitting import CrossValidation
from trading.quant.statistics.permutation import PermutationTest
from trading.quant.statistics.replication import evaluate
from trading.quant.statistics.superiority import SuperiorityTest
from trading.quant.statistics.trades import TradesMonteCarlo


def warm() -> None:
    """Run each kernel once, on forty bars; numba compiles it, or reads it from its cache on disk."""
    returns = 0.01 * np.cos(np.arange(40.0))
    signs, weights = np.sign(returns), returns * 30.0
    several = np.stack([returns, -returns], axis=1)
    evaluate(PermutationTest(signs, returns, replicates=1))
    evaluate(PermutationTest(weights, returns, replicates=1))
    evaluate(PermutationTest(several, several, replicates=1))
    evaluate(Bootstrap(returns, replicates=1, measures=("mean",)))
    evaluate(Bootstrap(returns, replicates=1))
    evaluate(TradesMonteCarlo(returns, with_replacement=True, replicates=1))
    evaluate(CrossValidation(several, blocks=2))
    evaluate(SuperiorityTest(several, replicates=1))
