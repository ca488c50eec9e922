"""Each test has an id of its own: of tests with the same, pytest-xdist runs a single one."""

from collections import Counter

import pytest


def test_every_test_has_an_id_of_its_own(request: pytest.FixtureRequest) -> None:
    times = Counter(item.nodeid for item in request.session.items)
    assert [name for name, count in times.items() if count > 1] == []
