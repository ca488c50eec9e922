"""The races of `tests.risk.races` with fewer attempts, in threads; `make races` runs them in full, in processes."""

import pytest

from tests.execution.conftest import make_market
from tests.risk import races
from trading.jobs.models import JobQueue
from trading.risk.models import Guard

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _platform(transactional_db: None) -> None:
    JobQueue.objects.get_or_create(name="critical")
    Guard.objects.get_or_create(id=1)
    make_market({"AAA": (100, 100)})


def test_as_many_pass_as_the_limit_has_room_for() -> None:
    with races.in_threads(None, 8) as pool:
        found = races.reviews(pool, 800, capacity=37)
    assert (found["attempts"], found["accepted"], found["reserved"]) == (800, 37, 37)


def test_nobody_sends_after_a_halt_has_been_answered() -> None:
    cells = races.cells_for(4)
    with races.in_threads(cells, 4) as pool:
        found = races.halts(pool, cells, 40, senders=4)
    assert found["sent"] >= 40
    assert found["sends_after_the_answer"] == 0
