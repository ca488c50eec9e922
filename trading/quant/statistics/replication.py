"""Long computations as chunks: progress after each, a stop between two, and the same bytes however they were cut.

A test that draws replicates says how many there are and computes any range of them; what a range holds does not depend
on the other ranges. So a chunk can be computed by any worker, and chunks are put together by index.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")

CHUNK = 250


class Replicated(Protocol[Result_co]):
    """A computation over ``replicates`` independent rows."""

    @property
    def replicates(self) -> int:
        """How many rows there are."""

    def replicate(self, start: int, stop: int) -> Floats:
        """Rows ``start`` ... ``stop - 1``; shape (stop - start, columns). A function of its arguments alone."""

    def conclude(self, rows: Floats) -> Result_co:
        """The result, from all rows in the order of their index."""


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Rows ``start`` ... ``stop - 1`` of ``total``."""

    start: int
    stop: int
    total: int
    rows: Floats


def ranges(total: int, chunk: int = CHUNK) -> Iterator[range]:
    """0 ... total - 1 cut into ranges of ``chunk``, the last one shorter. Raises ValueError for a chunk below 1."""
    if chunk < 1:
        raise ValueError(f"a chunk holds at least one replicate, not {chunk}")
    for start in range(0, total, chunk):
        yield range(start, min(start + chunk, total))


def parts(test: Replicated[object], *, chunk: int = CHUNK) -> Iterator[Part]:
    """Compute chunk after chunk; stop asking and no more is computed."""
    for indices in ranges(test.replicates, chunk):
        yield part(test, indices)


def part(test: Replicated[object], indices: range) -> Part:
    """One chunk. A worker that is given a range calls this."""
    rows = test.replicate(indices.start, indices.stop)
    return Part(indices.start, indices.stop, test.replicates, rows)


def assemble(computed: Iterable[Part]) -> Floats:
    """All rows by index, whatever order the parts come in. Raises ValueError when some are missing or come twice."""
    ordered = sorted(computed, key=lambda one: one.start)
    expected = 0
    for one in ordered:
        if one.start != expected or one.rows.shape[0] != one.stop - one.start:
            raise ValueError(f"the parts do not join at replicate {expected}: each must be computed once")
        expected = one.stop
    if not ordered or expected != ordered[0].total:
        raise ValueError(f"the parts end at replicate {expected}: compute the missing ones")
    return np.concatenate([one.rows for one in ordered])


def evaluate(
    test: Replicated[Result],
    *,
    chunk: int = CHUNK,
    executor: Executor | None = None,
    on_part: Callable[[Part], None] | None = None,
) -> Result:
    """Compute everything and conclude.

    ``on_part`` is called with each part in the order of the index; what it raises ends the computation, so it is the
    place to report progress and to look whether to stop. ``executor`` spreads the chunks: the kernels release the
    interpreter's lock, so a thread pool serves. The result does not depend on either, nor on ``chunk``.
    """
    todo = list(ranges(test.replicates, chunk))
    computed = executor.map(partial(part, test), todo) if executor else map(partial(part, test), todo)
    done = []
    for one in computed:
        if on_part is not None:
            on_part(one)
        done.append(one)
    return test.conclude(assemble(done))


def p_value(null: Floats, observed: float) -> float:
    """(1 + how many of the null reach what was observed) / (1 + size of the null); never 0.

    Source: Phipson and Smyth (2010), "Permutation p-values should never be zero", Statistical Applications in
    Genetics and Molecular Biology 9(1). Differences of the size of rounding count as reaching it, so that a replicate
    which repeats the observed order counts.
    """
    slack = 1e-10 * max(abs(observed), float(np.max(np.abs(null), initial=0.0)))
    reached = int(np.count_nonzero(null >= observed - slack))
    return (1 + reached) / (1 + len(null))
