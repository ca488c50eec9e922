"""The life of a run as events: complete, in order, and replayed from wherever a reader was cut off."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from django.test import AsyncClient

from tests.backtests.conftest import Send
from tests.backtests.test_runs import BODY, STEPS, submitted
from tests.jobs.conftest import Hands
from trading.backtests import events
from trading.jobs import events as job_events
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]


@pytest.fixture
def hands() -> Hands:
    return Hands()


def stream(client: Client, run_hash: str, last: str = "", path: str = "runs") -> tuple[int, list[dict[str, Any]]]:
    """What an EventSource of the client's user hears until the stream ends."""
    user = User.objects.filter(client=client).first() or User.objects.create_user(
        "eve", client=client, role=Role.READ_ONLY
    )
    headers = {"Authorization": f"Bearer {issue_access_token(user)}", **({"Last-Event-ID": last} if last else {})}

    async def heard() -> tuple[int, bytes]:
        answer = await AsyncClient().get(f"/{path}/{run_hash}/events", headers=headers)
        if not answer.streaming:
            return answer.status_code, b""
        found = b"".join([part async for part in answer])
        answer.close()
        return answer.status_code, found

    status, content = asyncio.run(heard())
    blocks = [block for block in content.decode().split("\n\n") if block and not block.startswith(":")]
    return status, [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_life_of_a_run_is_told_and_replayed(alpha: Client, ann: Send, hands: Hands) -> None:
    run_hash = submitted(ann)
    hands.work_off()
    status, told = stream(alpha, run_hash)
    assert status == 200
    assert [event["event"] for event in told] == ["queued", *["started", "finished"] * 5, "end"]
    steps = [json.loads(event["data"])["step"] for event in told if event["event"] == "finished"]
    assert tuple(steps) == STEPS
    end = json.loads(told[-1]["data"])
    assert (end["status"], len(end["manifest_hash"])) == ("succeeded", 64)
    for place, event in enumerate(told[:-1]):
        assert stream(alpha, run_hash, event["id"]) == (200, told[place + 1 :])
    assert stream(alpha, run_hash, told[-1]["id"]) == (204, [])
    assert stream(alpha, run_hash, "nonsense") == (200, told)


def test_what_a_retry_adds_comes_after_what_was_told(ann: Send, hands: Hands, alpha: Client) -> None:
    run_hash = submitted(ann)
    job_id = ann("GET", f"/runs/{run_hash}").json()["job_run_id"]
    hands.run(UUID(job_id))
    ann("POST", f"/jobs/runs/{job_id}/cancel")
    _, told = stream(alpha, run_hash)
    assert [event["event"] for event in told] == ["queued", "started", "finished", "end"]
    assert json.loads(told[-1]["data"])["status"] == "cancelled"
    ann("POST", "/runs", BODY)
    hands.work_off()
    _, rest = stream(alpha, run_hash, told[-1]["id"])
    assert [event["event"] for event in rest] == [*["started", "finished"] * 4, "end"]


def test_another_clients_events_are_not_found(ann: Send, beta: Client) -> None:
    run_hash = submitted(ann)
    assert stream(beta, run_hash) == (404, [])
    assert stream(beta, run_hash, "1.1") == (404, [])


def test_past_a_number_of_streams_no_more_is_opened(ann: Send, alpha: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    run_hash = submitted(ann)
    monkeypatch.setattr(job_events, "MOST_STREAMS", 0)
    assert stream(alpha, run_hash)[0] == 429


def test_progress_is_told_without_a_place_in_the_order(
    ann: Send, hands: Hands, alpha: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_hash = submitted(ann)
    hands.work_off()
    whole = events.look
    seen: list[Any] = []

    def going_on(watched: events.Watched) -> events.Seen | None:
        found = whole(watched)
        assert found is not None
        seen.append(found)
        if len(seen) > 2:
            return found
        progress = {"step": "validate", "done": len(seen), "total": 4, "note": ""}
        return events.Seen(found.events[:-1], progress, ended=False)

    monkeypatch.setattr(events, "look", going_on)
    monkeypatch.setattr(job_events, "POLL_SECONDS", 0.01)
    _, told = stream(alpha, run_hash)
    progress = [event for event in told if event["event"] == "progress"]
    assert progress
    assert all("id" not in event for event in progress)
    assert told[-1]["event"] == "end"
