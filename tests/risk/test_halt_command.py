"""`manage.py emergency_halt`."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from trading.jobs.models import JobQueue
from trading.risk import switches
from trading.risk.models import Guard, Halt

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _platform(transactional_db: None) -> None:
    JobQueue.objects.get_or_create(name="critical")
    Guard.objects.get_or_create(id=1)


def told(*options: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("emergency_halt", *options, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_it_halts_shows_and_lifts() -> None:
    assert told()["enabled"] is False
    halted = told("--on", "--reason", "drill")
    assert (halted["enabled"], halted["reason"]) == (True, "drill")
    assert Guard.objects.get().halted
    assert told()["enabled"] is True
    assert told("--off")["enabled"] is False
    assert Halt.objects.get().lifted_at is not None


def test_its_status_says_when_an_order_is_still_being_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def still(patience: timedelta) -> None:
        raise switches.StillSending("an order is not answered yet")

    monkeypatch.setattr(switches, "_wait_for_senders", still)
    with pytest.raises(SystemExit) as ended:
        told("--on")
    assert ended.value.code == 1
    assert Guard.objects.get().halted
