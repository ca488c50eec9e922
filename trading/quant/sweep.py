"""Many parameter sets of one rule over the same bars, of which only the figures are kept."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from trading.quant.bars import Bars
from trading.quant.engine import Account, is_lean, simulate_account
from trading.quant.indicators.zscore import zscore
from trading.quant.kernels import Floats, frozen
from trading.quant.lean import REVERSION, sweep_nb
from trading.quant.performance import COLUMNS
from trading.quant.records import FILL, TRADE


@dataclass(frozen=True, slots=True)
class KernelRule:
    """A rule that the sweep can run by itself, in `trading.quant.lean`: which one, and the numbers of one parameter
    set."""

    rule: int
    numbers: tuple[float, ...]


def sweep(
    bars: Bars,
    rules: Sequence[Callable[[Bars], Floats]],
    *,
    kernels: Sequence[KernelRule] = (),
    account: Account | None = None,
    periods_per_year: float = 252.0,
    risk_free: float = 0.0,
    minimum_return: float = 0.0,
    threads: int = 1,
) -> Floats:
    """The figures of each rule, shape (N, len(COLUMNS)), row by row as `Result.metrics` has them; `metrics_of` names a
    row.

    ``rules``: from bars to targets, one for each parameter set. ``kernels``: the same parameter sets as kernels, in
    the same order, if there are such; they are used where one symbol without missing bars is traded at the next open
    by a fixed fraction, without stops, borrowing or participation, and give the same bits several times sooner. No
    path is kept: the memory does not grow with N, but for the table.
    """
    account = account or Account()
    table = np.full((len(rules), len(COLUMNS)), np.nan)
    done = np.zeros(len(rules), bool)
    if len(kernels) == len(rules) > 0 and is_lean(bars, account) and len({item.rule for item in kernels}) == 1:
        numbers = frozen([item.numbers for item in kernels])
        scores = np.empty((0, 0))
        if kernels[0].rule == REVERSION:
            windows, inverse = np.unique(numbers[:, 3], return_inverse=True)
            scores = np.array([zscore(bars.close[:, 0], int(window)) for window in windows])
            numbers = frozen(np.column_stack([numbers[:, :3], inverse]))
        multipliers, lots = account.lots(1)
        constant = (
            frozen(bars.open[:, 0]),
            frozen(bars.high[:, 0]),
            frozen(bars.low[:, 0]),
            frozen(bars.close[:, 0]),
            frozen(scores),
            float(account.sizing.scale(bars, bars.close)[0, 0]),
            float(multipliers[0]),
            float(lots[0]),
            account.terms(),
            float(periods_per_year),
            float(risk_free),
            float(minimum_return),
            np.empty(0, FILL),
            np.empty(0, TRADE),
        )

        def part(rows: slice) -> None:
            sweep_nb(kernels[0].rule, numbers[rows], *constant, table[rows])

        cuts = np.linspace(0, len(rules), threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:  # the kernel holds no lock of Python
            list(pool.map(part, map(slice, cuts[:-1], cuts[1:])))
        done = ~np.isnan(table[:, 0])
    for number in np.flatnonzero(~done).tolist():
        result = simulate_account(bars, rules[number](bars), account)
        table[number] = result.figures(
            periods_per_year=periods_per_year, risk_free=risk_free, minimum_return=minimum_return
        )
    return table
