"""Every test here runs for every adapter, each on its own bench; those of failures for each that a venue can have."""

from collections.abc import Iterator

import pytest

from tests.conformance.bench import ADAPTERS, Bench, bench_of
from trading.brokers.base import Broker


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``bench`` is each adapter's; with ``fault`` beside it, each of its failures, or those of the marker ``needs``."""
    if "bench" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("needs")
    wanted = marker.args if marker else ()
    if "fault" in metafunc.fixturenames:
        pairs = [
            (name, fault)
            for name in ADAPTERS
            for fault in sorted(bench_of(name).faults)
            if not wanted or fault in wanted
        ]
        metafunc.parametrize(
            ("bench", "fault"), pairs, indirect=["bench"], ids=[f"{name}-{one}" for name, one in pairs]
        )
    else:
        names = [name for name in ADAPTERS if set(wanted) <= bench_of(name).faults]
        metafunc.parametrize("bench", names, indirect=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest, transactional_db: None, gateways_end: None) -> Iterator[Bench]:
    """A fresh venue."""
    made = bench_of(request.param)()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def broker(bench: Bench) -> Iterator[Broker]:
    """A session with it."""
    with bench.open() as session:
        yield session
