"""Limits that many processes share: never exceeded, taken over from what the venue says, and denied when unreadable."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection

from trading.brokers.base import BrokerUnavailable
from trading.brokers.throttle import Budget

pytestmark = pytest.mark.django_db(transaction=True)
HOURLY = Budget("test:orders", limit=20, seconds=3600, broker="test")


def taken(budget: Budget, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            budget.take(1, operation="place", patience=0)
        except BrokerUnavailable:
            continue
        count += 1
    connection.close()
    return count


def test_many_who_take_at_once_get_half_of_the_window_and_what_is_refilled() -> None:
    """In any window the venue may count, half was there and half comes in: the limit and not one more."""
    budget = Budget("test:fast", limit=100, seconds=2, broker="test")
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: taken(budget, 150), range(8)))
    passed = time.monotonic() - began
    assert 50 <= sum(counts) <= 50 + passed * 25 + 1


def test_what_is_not_there_is_waited_for_or_refused_with_how_long_it_takes() -> None:
    for _ in range(10):
        HOURLY.take(1, operation="place")
    with pytest.raises(BrokerUnavailable) as denied:
        HOURLY.take(1, operation="place")
    assert (denied.value.code, denied.value.operation) == ("throttled", "place")
    assert denied.value.retry_after == pytest.approx(360, abs=5)  # one of ten in half an hour's half: 3600 / 10
    waits: list[float] = []

    def skip(seconds: float) -> None:
        waits.append(seconds)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE broker_budgets SET refilled_at = refilled_at - make_interval(secs => %s)", [seconds])

    HOURLY.take(1, operation="place", patience=400, sleep=skip)
    assert sum(waits) == pytest.approx(360, abs=5)


def test_what_the_venue_says_counts() -> None:
    HOURLY.take(1, operation="read")
    HOURLY.reported(used=19)  # of 20
    HOURLY.take(1, operation="read")
    with pytest.raises(BrokerUnavailable):
        HOURLY.take(1, operation="read")


def test_a_venue_that_wants_to_be_left_alone_is_left_alone_by_all() -> None:
    HOURLY.block(90)
    HOURLY.block(30)  # the longer one holds
    with pytest.raises(BrokerUnavailable) as denied:
        HOURLY.take(1, operation="read")
    assert denied.value.retry_after == pytest.approx(90, abs=5)
    Budget("test:other", limit=20, seconds=3600, broker="test").take(1, operation="read")


def test_limits_that_cannot_be_read_deny() -> None:
    def away(execute: Callable[..., Any], *args: Any) -> Any:
        raise OperationalError("the server is gone")

    with connection.execute_wrapper(away), pytest.raises(BrokerUnavailable, match="cannot be read"):
        HOURLY.take(1, operation="place")
