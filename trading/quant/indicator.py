"""What an indicator is, and how one is found: by its file's name in `trading.quant.indicators`."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from trading.quant import indicators
from trading.quant.bars import Bars
from trading.quant.kernels import Floats, frozen
from trading.quant.parameters import Parameters, checked

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class Indicator(Generic[P]):
    """``compute``: bars of shape (T, S) → named columns of the same shape. ``warm_up``: rows of NaN before the first
    value.

    A symbol's missing bars are left out: its windows count the bars that it has, and its values are NaN where it has
    none.
    """

    parameters: type[P]
    compute: Callable[[Bars, P], dict[str, Floats]]
    warm_up: Callable[[P], int]


class UnknownIndicator(LookupError):
    """No indicator has that name."""


@cache
def names() -> tuple[str, ...]:
    """The names of all indicators."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(indicators.__path__)))


def find(name: str) -> Indicator[Any]:
    """The indicator called ``name``; raises `UnknownIndicator`."""
    if name not in names():
        raise UnknownIndicator(f"no indicator is called {name!r}; there are: {', '.join(names())}")
    found: Indicator[Any] = importlib.import_module(f"{indicators.__name__}.{name}").INDICATOR
    return found


def compute(name: str, bars: Bars, parameters: Mapping[str, Any]) -> dict[str, Floats]:
    """The columns of the indicator called ``name``; raises `UnknownIndicator`, or ValueError for parameters out of
    bounds."""
    indicator = find(name)
    return indicator.compute(bars, checked(name, indicator.parameters, parameters))


def by_column(kernel: Callable[..., None], inputs: Sequence[Floats], *parameters: float) -> Floats:
    """Run a kernel of 1-D arrays over each column of ``inputs`` (shape (T,) or (T, S)), leaving missing bars out.

    The kernel takes a column of each input, ``parameters``, and the array that it fills, shape (t,) for the t bars
    that the column has. Result: the shape of the inputs.
    """
    shape = inputs[0].shape
    tables = [values.reshape(shape[0], -1) for values in inputs]
    result = np.empty(tables[0].shape)
    for column in range(result.shape[1]):
        values = [frozen(table[:, column]) for table in tables]
        there: npt.NDArray[np.bool_] | slice = slice(None)
        if shape[0] and any(np.isnan(array.min()) for array in values):  # the least is NaN where any is
            missing: npt.NDArray[np.bool_] = np.logical_or.reduce([np.isnan(array) for array in values])
            there = ~missing
            values = [frozen(array[there]) for array in values]
        # Made here, since numpy asks for large pages, which cost a tenth of what small ones do when first written to.
        answer = np.empty(values[0].shape[0])
        if answer.shape[0]:
            kernel(*values, *parameters, answer)
        if result.shape[1] == 1 and answer.shape[0] == shape[0]:
            return answer.reshape(shape)
        result[:, column] = np.nan
        result[there, column] = answer
    return result.reshape(shape)
