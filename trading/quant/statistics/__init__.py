"""What a backtest's numbers are worth: arrays in, plain results out, seeds as arguments. The guide: docs/statistics.md.

Everything that draws is a test object with `replicates`, `replicate(start, stop)` and `conclude(rows)`; `evaluate` runs
one, `parts` yields its chunks for progress and cancelling, `assemble` puts chunks of several workers together. The
bytes do not depend on how the work was cut.
"""

from trading.quant import kernels  # noqa: F401  first of all: it says where machine code is kept
from trading.quant.statistics.blocks import block_length
from trading.quant.statistics.bootstrap import Bootstrap, BootstrapResult, Estimate, Interval
from trading.quant.statistics.overfitting import BlockSums, CrossValidation, OverfittingResult
from trading.quant.statistics.permutation import PermutationResult, PermutationTest
from trading.quant.statistics.promotion import Policy, Reason, Trials, Verdict, deflated_by, promotable
from trading.quant.statistics.replication import Part, Replicated, assemble, evaluate, part, parts, ranges
from trading.quant.statistics.sharpe import (
    Record,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    standard_error,
)
from trading.quant.statistics.superiority import SuperiorityResult, SuperiorityTest, joined_p_values
from trading.quant.statistics.trades import TradesMonteCarlo, TradesResult
from trading.quant.statistics.walkforward import Split, WalkForwardResult, summarise, walk_forward
from trading.quant.statistics.warming import warm

__all__ = [
    "BlockSums",
    "Bootstrap",
    "BootstrapResult",
    "CrossValidation",
    "Estimate",
    "Interval",
    "OverfittingResult",
    "Part",
    "PermutationResult",
    "PermutationTest",
    "Policy",
    "Reason",
    "Record",
    "Replicated",
    "Split",
    "SuperiorityResult",
    "SuperiorityTest",
    "TradesMonteCarlo",
    "TradesResult",
    "Trials",
    "Verdict",
    "WalkForwardResult",
    "assemble",
    "block_length",
    "deflated_by",
    "deflated_sharpe",
    "evaluate",
    "expected_maximum_sharpe",
    "joined_p_values",
    "minimum_track_record",
    "part",
    "parts",
    "probabilistic_sharpe",
    "promotable",
    "ranges",
    "standard_error",
    "summarise",
    "walk_forward",
    "warm",
]
