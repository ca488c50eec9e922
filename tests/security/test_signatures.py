"""Signed tasks: what was changed, sent again, sent late or signed with a key of before is refused, each by its name."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import OperationalError, connection
from django.test import Client as Http
from pytest_django import Settings

from tests.security.conftest import JSON, bearer, refused, signed
from trading.jobs import signatures
from trading.jobs.models import JobRun, TaskSignature
from trading.tenants.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sample_jobs")]
TASK = "/internal/tasks/sample-one"
BODY = b'{"args": {"n": 7}}'


def post(headers: dict[str, str], body: bytes = BODY, path: str = TASK, **more: Any) -> Any:
    return Http(raise_request_exception=False).post(path, body, content_type=JSON, headers=headers, **more)


def rejected(answer: Any, status: int = 401, type_: str = "invalid_signature") -> None:
    refused(answer, status, type_)
    if status == 401:
        assert answer["WWW-Authenticate"] == "HMAC-SHA256"
    assert not JobRun.objects.exists()


def test_a_good_one_starts_the_job() -> None:
    answer = post(signed(TASK, BODY))
    assert answer.status_code == 202
    assert JobRun.objects.get().args["n"] == 7


def test_the_example_of_the_docs_has_this_signature() -> None:
    """By OpenSSL: printf '1700000000\\nPOST\\n/internal/tasks/a\\n{}' | openssl dgst -sha256 -hmac key."""
    made = signatures.sign("key", timestamp=1_700_000_000, method="POST", path="/internal/tasks/a", body=b"{}")
    assert made == "dffaa045b2c24264ba3574cbc964c30c390131205431068c5560b1cfac2d21c3"


@pytest.mark.parametrize(("seconds", "status"), [(-300, 202), (300, 202), (-301, 401), (301, 401), (-86_400, 401)])
def test_it_is_good_for_five_minutes_either_way(monkeypatch: pytest.MonkeyPatch, seconds: int, status: int) -> None:
    now = int(time.time())
    monkeypatch.setattr(signatures, "time", SimpleNamespace(time=lambda: float(now)))
    answer = post(signed(TASK, BODY, at=now + seconds))
    if status == 401:
        rejected(answer)
    assert answer.status_code == status


def test_a_replay_is_a_conflict_also_after_a_failure_of_the_cache() -> None:
    headers = signed(TASK, BODY)
    assert post(headers).status_code == 202
    for _ in range(2):
        refused(post(headers), 409, "replayed")
    assert JobRun.objects.count() == 1


def test_of_many_replays_at_once_one_is_taken() -> None:
    headers = signed(TASK, BODY)
    barrier = threading.Barrier(10)
    statuses: list[int] = []

    def race() -> None:
        barrier.wait()
        statuses.append(post(headers).status_code)
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202] + [409] * 9
    assert JobRun.objects.count() == 1


def test_a_refused_request_does_not_spend_its_signature() -> None:
    bad = b'{"args": {"n": "x"}}'
    headers = signed(TASK, bad)
    refused(post(headers, bad), 422)
    refused(post(headers, bad), 422)
    assert not TaskSignature.objects.exists()


CHANGED: dict[str, Any] = {
    "body": lambda: post(signed(TASK, BODY), b'{"args": {"n": 8}}'),
    "a space in the body": lambda: post(signed(TASK, BODY), BODY + b" "),
    "no body": lambda: post(signed(TASK, BODY), b""),
    "path": lambda: post(signed(TASK, BODY), path="/internal/tasks/sample-chain"),
    "query added": lambda: post(signed(TASK, BODY), path=f"{TASK}?x=1"),
    "query taken away": lambda: post(signed(f"{TASK}?x=1", BODY)),
    "method signed was another": lambda: post(signed(TASK, BODY, method="GET")),
    "timestamp": lambda: post({**signed(TASK, BODY), "X-Task-Timestamp": str(int(time.time()) - 1)}),
    "another secret": lambda: post(signed(TASK, BODY, secret="x" * 40)),
    "an empty secret": lambda: post(signed(TASK, BODY, secret="")),
    "all secrets as one": lambda: post(signed(TASK, BODY, secret=",".join(configured.TASK_SIGNING_SECRET))),
    "CRON_SECRET": lambda: post(signed(TASK, BODY, secret=configured.CRON_SECRET)),
}


@pytest.mark.parametrize("send", CHANGED.values(), ids=CHANGED.keys())
def test_what_was_changed_is_refused(send: Any) -> None:
    rejected(send())


@pytest.mark.parametrize("name", ["X-Task-Timestamp", "X-Task-Signature"])
def test_a_missing_header(name: str) -> None:
    rejected(post({key: value for key, value in signed(TASK, BODY).items() if key != name}))
    rejected(post({}))


@pytest.mark.parametrize(
    "timestamp",
    ["", "x", "1e9", "-1", "+1700000000", " 1", "\u0661" * 10, "9" * 13, "9" * 400, "1700000000.5", "NaN", "0x65"],
)
def test_a_timestamp_that_is_none(timestamp: str) -> None:
    headers = signed(TASK, BODY)
    rejected(post({**headers, "X-Task-Timestamp": timestamp.encode().decode("latin-1")}))


OTHERWISE: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "shorter": lambda text: text[:-1],
    "longer": lambda text: text + "0",
    "half": lambda text: text[:32],
    "named": lambda text: f"sha256={text}",
    "twice": lambda text: f"{text},{text}",
    "as a number": lambda text: f"0x{text}",
    "empty": lambda text: "",
    "not ASCII": lambda text: "\xe4" * 64,
}


@pytest.mark.parametrize("make", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_signature_in_another_form(make: Callable[[str], str]) -> None:
    headers = signed(TASK, BODY)
    rejected(post({**headers, "X-Task-Signature": make(headers["X-Task-Signature"])}))


def test_old_and_new_secrets_are_good_during_a_rotation_and_the_old_not_after(settings: Settings) -> None:
    new, old = configured.TASK_SIGNING_SECRET
    assert post(signed(TASK, BODY, secret=old)).status_code == 202
    assert post(signed(TASK, BODY, secret=new)).status_code == 202
    JobRun.objects.all().delete()
    settings.TASK_SIGNING_SECRET = [new]
    rejected(post(signed(TASK, BODY, secret=old, at=time.time() - 2)))


@pytest.mark.parametrize("blank", [[], [""], ["", " "]])
def test_a_blank_secret_signs_nothing(settings: Settings, blank: list[str]) -> None:
    settings.TASK_SIGNING_SECRET = blank
    for secret in ("", " "):
        rejected(post(signed(TASK, BODY, secret=secret)))


def test_with_the_record_of_signatures_away_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(signatures, "execute", away)
    rejected(post(signed(TASK, BODY)), 503, "unavailable")


def test_other_credentials_start_no_task(ann: User) -> None:
    for headers in (bearer(ann), {"X-Cron-Secret": configured.CRON_SECRET}, {"X-Admin-Key": configured.ADMIN_API_KEY}):
        rejected(post(headers))


def test_an_unknown_job_is_404_for_the_signer_and_401_for_others() -> None:
    path = "/internal/tasks/no-such-job"
    refused(post(signed(path, BODY), path=path), 404)
    rejected(post({}, path=path))
