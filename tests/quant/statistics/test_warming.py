"""Warming leaves no kernel uncompiled, for arrays of the kinds that callers bring."""

import sys

import numpy as np
from numba.core.dispatcher import Dispatcher

from trading.quant import statistics
from trading.quant.statistics import Bootstrap, CrossValidation, PermutationTest, SuperiorityTest, TradesMonteCarlo


def compiled() -> dict[str, int]:
    """How many versions of each kernel of the package there are."""
    modules = [module for name, module in sys.modules.items() if name.startswith(statistics.__name__ + ".")]
    kernels = {name: it for module in modules for name, it in vars(module).items() if isinstance(it, Dispatcher)}
    return {name: len(kernel.signatures) for name, kernel in kernels.items()}


def test_nothing_is_left_to_compile() -> None:
    statistics.warm()
    before = compiled()
    assert len(before) >= 12
    rng = np.random.default_rng(0)
    frozen = rng.normal(0, 0.01, (400, 6))
    frozen.flags.writeable = False
    for returns in (frozen[:, 1], frozen[::-1, 2], np.asfortranarray(frozen)[:, 0]):
        for positions in (np.sign(returns), returns, frozen[:, 3]):
            statistics.evaluate(PermutationTest(positions, returns, replicates=2))
        statistics.evaluate(Bootstrap(returns, replicates=2))
        statistics.evaluate(Bootstrap(returns, replicates=2, measures=("mean",), block_length=1.0))
        statistics.evaluate(TradesMonteCarlo(returns, with_replacement=False, replicates=2))
    for matrix in (frozen, frozen[:, ::2], np.asfortranarray(frozen)):
        statistics.evaluate(PermutationTest(matrix, matrix, replicates=2))
        statistics.evaluate(CrossValidation(matrix, blocks=4))
        statistics.evaluate(SuperiorityTest(matrix, replicates=2))
    assert compiled() == before
