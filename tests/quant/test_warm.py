"""After `warm` nothing is left to compile."""

import sys

import pytest

from tests.quant.series import walk, walking_targets
from trading.backtests import registry
from trading.backtests.strategy import targets_of
from trading.quant import indicator, sweep
from trading.quant.costs import Costs, ParticipationRate, Stops
from trading.quant.engine import Account, simulate
from trading.quant.warm import warm


def signatures() -> dict[str, int]:
    """How many versions of each kernel there are in memory."""
    return {
        f"{name}.{attribute}": len(kernel.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith("trading.quant") and ".statistics" not in name
        for attribute, kernel in vars(module).items()
        if attribute.endswith("_nb") and hasattr(kernel, "signatures")
    }


@pytest.mark.parametrize("symbols", [1, 3])
def test_nothing_is_compiled_after_it(symbols):
    warm()
    before = signatures()
    assert before["trading.quant.simulation.simulate_nb"] == 1
    bars = walk(80, symbols)
    targets = walking_targets(80, symbols)
    simulate(bars, targets.tolist()).metrics()
    simulate(
        bars, targets.astype(int), stops=Stops(trailing=0.1), costs=Costs(5, 5, ParticipationRate()), lot_size=1
    ).metrics(periods_per_year=365)
    for name in indicator.names():
        indicator.compute(name, bars, {})
    for name in registry.names():
        strategy = registry.find(name).strategy
        targets_of(name, strategy, bars, {})
        if strategy.kernel:
            sweep.sweep(
                bars, [lambda seen: seen.close], kernels=[strategy.kernel(strategy.parameters())], account=Account()
            )
    assert signatures() == before
