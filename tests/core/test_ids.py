"""Identifiers grow."""

import time
from concurrent.futures import ThreadPoolExecutor

from trading.core.ids import uuid7


def test_each_is_greater_than_the_one_before_and_carries_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(5_000)]
    after = time.time_ns() // 1_000_000
    assert made == sorted(set(made))
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {"specified in RFC 4122"}
    assert before <= made[0].int >> 80 <= made[-1].int >> 80 <= after + 1


def test_threads_never_make_the_same() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [uuid7() for _ in range(500)], range(8)))
    assert len({one for batch in made for one in batch}) == 4_000
