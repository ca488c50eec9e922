"""`Idempotency-Key`: one effect, one answer, whoever races, dies or comes again; and nobody else's answer."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test import Client as Http
from django.utils import timezone

from tests.security.conftest import JSON, bearer, refused, signed
from trading.core import idempotency
from trading.core.models import IdempotencyKey
from trading.jobs import services
from trading.jobs.models import JobRun
from trading.tenants.models import Client, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sample_jobs")]
TASK = "/internal/tasks/sample-one"
BODY = b'{"args": {"n": 7}}'


USED: set[int] = set()


def start(key: str | None, body: bytes = BODY, path: str = TASK) -> Any:
    """A signed task; each call is signed for another second, as a signature is good once."""
    moment = next(second for second in count(int(time.time()), -1) if second not in USED)
    USED.add(moment)
    headers = signed(path, body, at=moment)
    if key is not None:
        headers["Idempotency-Key"] = key
    return Http(raise_request_exception=False).post(path, body, content_type=JSON, headers=headers)


@contextmanager
def under_way(scope: str, path: str, key: str) -> Iterator[None]:
    """Another process that is in the middle of a request with this key."""
    place = f"{scope}:{hashlib.sha256(f'POST {path}'.encode()).hexdigest()[:32]}"
    parts = connection.settings_dict
    with psycopg.connect(
        host=parts["HOST"], port=parts["PORT"], user=parts["USER"], dbname=parts["NAME"], password=parts["PASSWORD"]
    ) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"idempotency:{place}:{key}"])
        yield


def test_the_same_request_again_is_answered_alike_and_does_nothing() -> None:
    first = start("k1")
    again = [start("k1") for _ in range(3)]
    assert first.status_code == 202
    assert "Idempotency-Replayed" not in first.headers
    for answer in again:
        assert (answer.status_code, answer.content) == (202, first.content), "byte for byte"
        assert answer["Idempotency-Replayed"] == "true"
        assert answer["X-Request-ID"] != first["X-Request-ID"]
    assert JobRun.objects.count() == 1


def test_without_a_key_each_counts() -> None:
    assert {start(None).status_code for _ in range(2)} == {202}
    assert JobRun.objects.count() == 2
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    "other", [b'{"args": {"n": 8}}', b'{"args":{"n":7}}', b"{}", b'{"args": {"n": 7}, "client_id": null}']
)
def test_another_body_under_the_key_is_refused(other: bytes) -> None:
    assert start("k1").status_code == 202
    refused(start("k1", other), 422, "idempotency_key_reused")
    assert JobRun.objects.count() == 1


def test_another_query_under_the_key_is_refused() -> None:
    assert start("k1").status_code == 202
    refused(start("k1", path=f"{TASK}?x=1"), 422, "idempotency_key_reused")


def test_on_another_path_it_is_another_key() -> None:
    assert start("k1").status_code == 202
    assert start("k1", path="/internal/tasks/sample-chain").status_code == 202
    assert JobRun.objects.count() == 2


def test_another_caller_s_key_is_another_key(desk: Client, ann: User) -> None:
    bob = User.objects.create_user("bob", client=desk, role=Role.TRADER)
    other = Client.objects.create(name="Other")
    eve = User.objects.create_user("eve", client=other, role=Role.OWNER)
    body = {"name": "mine", "config": {}}
    answers = {}
    for user in (ann, bob, eve):
        headers = {**bearer(user), "Idempotency-Key": "k1"}
        answers[user.username] = Http().post("/presets", body, content_type=JSON, headers=headers)
    assert not any("Idempotency-Replayed" in answer.headers for answer in answers.values())
    run = services.enqueue("sample-client", client_id=desk.id).run
    operator = User.objects.create_user("op", role=Role.OPERATOR)
    path = f"/jobs/runs/{run.id}/cancel"
    kept = Http().post(path, content_type=JSON, headers={**bearer(operator), "Idempotency-Key": "k2"})
    assert kept.status_code == 202
    refused(Http().post(path, content_type=JSON, headers={**bearer(eve), "Idempotency-Key": "k2"}), 404, "not_found")


def test_a_key_opens_no_door_that_has_been_closed_since(desk: Client, ann: User) -> None:
    run = services.enqueue("sample-client", client_id=desk.id).run
    operator = User.objects.create_user("op", role=Role.OPERATOR)
    path, headers = f"/jobs/runs/{run.id}/cancel", {**bearer(operator), "Idempotency-Key": "k"}
    assert Http().post(path, content_type=JSON, headers=headers).status_code == 202
    User.objects.filter(pk=operator.pk).update(role=Role.READ_ONLY, client=desk)
    refused(Http().post(path, content_type=JSON, headers=headers), 403, "forbidden")
    User.objects.filter(pk=operator.pk).update(is_active=False)
    refused(Http().post(path, content_type=JSON, headers=headers), 401)


def test_of_many_at_once_one_has_an_effect() -> None:
    barrier = threading.Barrier(12)
    answers: list[Any] = []

    def race(offset: int) -> None:
        headers = {**signed(TASK, BODY, at=time.time() - offset), "Idempotency-Key": "k1"}
        barrier.wait()
        answers.append(Http(raise_request_exception=False).post(TASK, BODY, content_type=JSON, headers=headers))
        connection.close()

    threads = [threading.Thread(target=race, args=(offset,)) for offset in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.content for answer in answers if answer.status_code == 202}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers if answer.status_code == 202) == 1
    assert JobRun.objects.count() == 1


def test_one_that_is_still_under_way_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE_SECONDS", 0.2)
    with under_way("internal", TASK, "k1"):
        answer = start("k1")
        refused(answer, 409, "idempotency_key_in_flight")
        assert answer["Retry-After"] == "1"
        assert start("k2").status_code == 202, "another key does not wait"
    assert start("k1").status_code == 202, "the other has given up: nothing is left of it"
    assert JobRun.objects.count() == 2


def test_an_error_leaves_no_key() -> None:
    refused(start("k1", b'{"args": {"n": "x"}}'), 422, "validation_error")
    assert start("k1").status_code == 202, "the request was mended, and may be sent under its key"
    assert JobRun.objects.count() == 1


def test_what_fails_half_way_leaves_neither_key_nor_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*args: object, **kwargs: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(IdempotencyKey.objects, "update_or_create", dies)
        refused(start("k1"), 500, "internal_error")
    assert not JobRun.objects.exists()
    assert start("k1").status_code == 202


def test_the_loss_of_redis_takes_nothing_away() -> None:
    first = start("k1")
    with redis.Redis.from_url(settings.REDIS_URL) as server:
        server.flushall()
    assert start("k1").content == first.content
    assert JobRun.objects.count() == 1


def test_after_a_week_it_is_a_new_key() -> None:
    first = start("k1")
    IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.KEPT + timedelta(minutes=1))
    assert start("k1").content == first.content
    IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.KEPT)
    assert start("k1", b'{"args": {"n": 8}}').status_code == 202
    assert start("k1", b'{"args": {"n": 8}}')["Idempotency-Replayed"] == "true"
    assert IdempotencyKey.objects.count() == 1
    assert JobRun.objects.count() == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "a b", "\xe4", "tab\there", "\u0661"])
def test_what_is_no_key(key: str) -> None:
    detail = refused(start(key.encode().decode("latin-1")), 422, "validation_error")
    assert detail["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert not JobRun.objects.exists()


def test_a_key_may_be_anything_printable() -> None:
    for key in ("x" * 128, "'; DROP TABLE job_runs; --".replace(" ", "_"), "%s%s", "{}", "a,b"):
        assert start(key).status_code == 202
        assert start(key)["Idempotency-Replayed"] == "true"


def test_tokens_are_not_kept_under_a_key(ann: User) -> None:
    given = {"username": "ann", "password": "a long enough password"}
    first, second = (
        Http().post("/auth/login", given, content_type=JSON, headers={"Idempotency-Key": "k1"}) for _ in range(2)
    )
    assert first.status_code == second.status_code == 200
    assert first.json()["refresh_token"] != second.json()["refresh_token"]
    assert not IdempotencyKey.objects.exists()


def test_the_kept_answer_is_what_was_sent() -> None:
    answer = start("k1")
    row = IdempotencyKey.objects.get()
    assert row.body is not None
    assert row.body.encode() == answer.content
    assert json.loads(row.body)["run_id"] == str(JobRun.objects.get().id)
