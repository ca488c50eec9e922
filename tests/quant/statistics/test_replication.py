"""Chunks: progress, a stop between two, any order, any worker."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from trading.quant.statistics import (
    Bootstrap,
    CrossValidation,
    Part,
    PermutationTest,
    SuperiorityTest,
    assemble,
    evaluate,
    part,
    parts,
    ranges,
)

RNG = np.random.default_rng(0)
TEST = PermutationTest(RNG.normal(0, 1, 200), RNG.normal(0, 0.01, 200), replicates=100, seed=3)
BOOTSTRAP = Bootstrap(RNG.normal(0, 0.01, 200), replicates=100, seed=3)


def test_the_cut_covers_each_replicate_once() -> None:
    assert [list(one) for one in ranges(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(ranges(0, 3)) == []
    with pytest.raises(ValueError, match="chunk"):
        list(ranges(7, 0))


def test_parts_of_other_workers_join_by_index() -> None:
    """Computed last to first, and one of them twice by different cuts."""
    whole = assemble(parts(TEST, chunk=100))
    scattered = [part(TEST, range(60, 100)), part(TEST, range(7)), part(TEST, range(7, 60))]
    assert assemble(scattered).tobytes() == whole.tobytes()
    with ThreadPoolExecutor(3) as pool:
        assert evaluate(TEST, chunk=9, executor=pool).null.tobytes() == whole[:, 0].tobytes()


def test_forked_workers_compute_the_same_bytes() -> None:
    """Celery forks its workers; a kernel on several threads would die in them."""
    whole = [evaluate(test) for test in (TEST, BOOTSTRAP)]
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        spread = [evaluate(test, chunk=13, executor=pool) for test in (TEST, BOOTSTRAP)]
    assert spread[0].null.tobytes() == whole[0].null.tobytes()
    for name, estimate in spread[1].estimates.items():
        assert estimate.draws.tobytes() == whole[1].estimates[name].draws.tobytes()


def test_a_test_keeps_what_it_was_given() -> None:
    """Changing the arrays afterwards changes no result."""
    held, returns = RNG.normal(0, 1, 50), RNG.normal(0, 0.01, 50)
    made = PermutationTest(held, returns, replicates=20), Bootstrap(returns, replicates=20, block_length=2.0)
    before = [evaluate(test) for test in made]
    held[:] = returns[:] = 0.5
    after = [evaluate(test) for test in made]
    assert after[0].null.tobytes() == before[0].null.tobytes()
    assert after[0].observed == before[0].observed
    assert after[1].estimates["mean"].draws.tobytes() == before[1].estimates["mean"].draws.tobytes()


def test_the_layout_in_memory_changes_no_byte() -> None:
    matrix = RNG.normal(0, 0.01, (150, 3))
    for make in (SuperiorityTest, CrossValidation, lambda values: PermutationTest(values * 30, values)):
        rows = [
            make(values).replicate(0, 20)
            for values in (matrix, np.asfortranarray(matrix), matrix.repeat(2, axis=1)[:, ::2])
        ]
        assert rows[0].tobytes() == rows[1].tobytes() == rows[2].tobytes()


@pytest.mark.parametrize("kept", [[], [0, 1], [0, 2], [0, 1, 1, 2], [1, 2]])
def test_a_missing_or_repeated_part_is_refused(kept: list[int]) -> None:
    computed = list(parts(TEST, chunk=40))
    with pytest.raises(ValueError, match="replicate"):
        assemble([computed[i] for i in kept])


def test_a_part_that_lacks_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="replicate 0"):
        assemble([Part(0, 2, 2, np.zeros((1, 1)))])


def test_progress_is_reported_in_order_and_a_stop_is_heeded() -> None:
    seen: list[tuple[int, int, int]] = []
    evaluate(TEST, chunk=40, on_part=lambda one: seen.append((one.start, one.stop, one.total)))
    assert seen == [(0, 40, 100), (40, 80, 100), (80, 100, 100)]

    class StopNow(Exception):
        pass

    def stop_after_two(one: Part) -> None:
        if one.stop >= 80:
            raise StopNow

    with pytest.raises(StopNow):
        evaluate(TEST, chunk=40, on_part=stop_after_two)


def test_nothing_is_computed_ahead() -> None:
    """A generator that is dropped leaves the rest undone."""
    done = []

    class Counted:
        replicates = 100

        def replicate(self, start: int, stop: int) -> np.ndarray:
            done.append((start, stop))
            return np.zeros((stop - start, 1))

        def conclude(self, rows: np.ndarray) -> None:
            raise AssertionError("never reached")

    stream = parts(Counted(), chunk=10)
    next(stream), next(stream)
    stream.close()
    assert done == [(0, 10), (10, 20)]
