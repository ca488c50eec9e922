"""What a strategy is: a rule from bars to targets, the same in a backtest and in the execution cycle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from trading.quant.bars import Bars
from trading.quant.kernels import Floats, frozen
from trading.quant.parameters import Parameters, checked
from trading.quant.signals import infinite_nb
from trading.quant.sweep import KernelRule

P = TypeVar("P", bound=Parameters)


class BrokenStrategy(ValueError):
    """The strategy cannot be used; the message says what to mend in its file."""


@dataclass(frozen=True, slots=True)
class Strategy(Generic[P]):
    """A rule.

    ``targets``: bars of T times and S symbols, and parameters → shape (T, S): row t says what to hold once bar t has
    closed, as a share of the full size that the sizing gives (1 long, -1 short, 0 flat, NaN no opinion or no change).
    Row t may depend on bars 0 to t and on nothing else: no clock, no file, no randomness. The engine fills it in bar
    t + 1; the execution cycle hands over the bars that there are and follows the last row. ``warm_up``: rows before the
    first opinion. ``kernel``: the same rule as a kernel of sweeps, if there is one.
    """

    parameters: type[P]
    targets: Callable[[Bars, P], Floats]
    warm_up: Callable[[P], int]
    kernel: Callable[[P], KernelRule] | None = None


def targets_of(name: str, strategy: Strategy[Any], bars: Bars, parameters: Mapping[str, Any]) -> Floats:
    """What the strategy called ``name`` says about ``bars``, shape (T, S), read-only.

    Raises ValueError for parameters out of their bounds, `BrokenStrategy` when it fails or answers something else.
    """
    given = checked(name, strategy.parameters, parameters)
    try:
        answer = strategy.targets(bars, given)
    except Exception as error:  # A user's own rule may raise anything; the run has to say that it was the rule.
        raise BrokenStrategy(f"strategy {name} failed on {len(bars)} bars: {type(error).__name__}: {error}") from error
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "fiub" or answer.shape != bars.close.shape:
        shape = getattr(answer, "shape", type(answer).__name__)
        raise BrokenStrategy(f"strategy {name} answered {shape}; it must be an array of numbers of {bars.close.shape}")
    said = frozen(answer)
    if infinite_nb(said.reshape(-1)):
        row = int(np.isinf(said).any(axis=1).argmax())
        raise BrokenStrategy(f"strategy {name} answered an infinite target at bar {row}")
    return said
