"""How a numerical kernel is compiled: before its second use, on disk, and to the same bits on every machine."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import llvmlite.binding as llvm
import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

F = TypeVar("F", bound=Callable[..., object])


def cache_folder(sources: Path) -> Path:
    """Where the machine code of the kernels under ``sources`` is kept: one folder for each state of the source, each
    numba and each kind of processor.

    numba looks only at the file of a kernel, not at the files of the kernels that it calls, and would go on with the
    old code of those; so a change anywhere starts a new folder. `NUMBA_CACHE_DIR` may name its parent.
    """
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    digest = hashlib.sha256(f"{numba.__version__}\n{processor}\n".encode())
    for file in sorted(sources.rglob("*.py")):
        digest.update(file.relative_to(sources).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    parent = os.environ.get("NUMBA_CACHE_DIR")
    return (Path(parent) if parent else sources / "__pycache__") / f"kernels-{digest.hexdigest()[:16]}"


FOLDER = cache_folder(Path(__file__).parent)
numba.config.CACHE_DIR = str(FOLDER)  # type: ignore[attr-defined]


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
