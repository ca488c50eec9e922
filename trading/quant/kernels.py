"""How a numerical kernel is compiled: ahead of its second use, on disk, and to the same bits on every machine."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile ``function`` with numba and keep the machine code on disk.

    No ``fastmath``: sums keep their order, so that the same input gives the same bytes. Division by zero gives inf or
    nan as in numpy. Kernels hold no Python lock while they run. They expect what `frozen` returns, so that each is
    compiled once.
    """
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def frozen(values: npt.ArrayLike) -> Floats:
    """``values`` as a C-contiguous, read-only float64 array; copied only when it is not one already."""
    array = np.ascontiguousarray(values, dtype=np.float64).view()
    array.flags.writeable = False
    return array
