"""What attackers and bad luck send to the API: each gets its 4xx in the one form, and leaves nothing behind."""

import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client as Http

from trading.jobs.models import JobRun
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

JSON = "application/json"
TASK = "/internal/tasks/sample-chain"


@pytest.fixture
def http() -> Http:
    return Http(raise_request_exception=False)


@pytest.fixture
def owner(client_a: Client) -> User:
    return User.objects.create_user("ann", password="a long password", client=client_a, role=Role.OWNER)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed(path: str, body: bytes) -> dict[str, str]:
    """As the contract words it, written out here rather than taken from the code."""
    timestamp = str(int(time.time()))
    message = f"{timestamp}\nPOST\n{path}\n".encode() + body
    digest = hmac.new(settings.TASK_SIGNING_SECRET[0].encode(), message, hashlib.sha256).hexdigest()
    return {"X-Task-Timestamp": timestamp, "X-Task-Signature": digest}


def refused(response: Any, status: int) -> dict[str, Any]:
    """The detail of an answer in the contract's form."""
    assert response.status_code == status, response.content[:300]
    assert response["Content-Type"].startswith(JSON)
    detail: dict[str, Any] = json.loads(response.content)["detail"]
    assert detail["type"]
    assert detail["message"]
    return detail


@pytest.mark.parametrize("since", ["1960-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"])
def test_a_time_before_the_ids_began_is_no_failure(http: Http, owner: User, since: str) -> None:
    response = http.get("/jobs/runs", {"since": since}, headers=bearer(issue_access_token(owner)))
    assert response.status_code in (200, 422)


@pytest.mark.parametrize("cursor", ["x", "\x00", "\N{ARABIC-INDIC DIGIT ONE}" * 32, "0" * 5000])
def test_a_bad_cursor_is_refused(http: Http, owner: User, cursor: str) -> None:
    response = http.get("/jobs/runs", {"cursor": cursor}, headers=bearer(issue_access_token(owner)))
    assert refused(response, 422)["errors"][0]["loc"] == ["query", "cursor"]


def test_a_key_given_twice_that_no_answer_can_hold_is_refused(http: Http, client_a: Client) -> None:
    body = b'{"\\ud800": 1, "\\ud800": 2}'
    assert refused(http.post("/auth/login", body, content_type=JSON), 422)["type"] == "validation_error"


def test_a_large_body_is_refused_before_it_is_read(http: Http, owner: User) -> None:
    body = json.dumps({"username": "ann", "password": "a long password", "more": "x" * 70_000})
    refused(http.post("/auth/login", body, content_type=JSON), 413)


@pytest.mark.parametrize("path", ["/nope", "/jobs/runs/", "/jobs/runs/not-an-id", "/auth/login/"])
def test_a_path_that_leads_nowhere_answers_in_json(http: Http, owner: User, path: str) -> None:
    assert refused(http.get(path, headers=bearer(issue_access_token(owner))), 404)["type"] == "not_found"


@pytest.mark.parametrize("secret", ["JWT_SECRET", "SUPABASE_JWT_SECRET"])
@pytest.mark.parametrize("subject", ["a\x00b", "0", "9" * 18, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_token_of_nobody_is_refused(http: Http, owner: User, secret: str, subject: str) -> None:
    claims = {"sub": subject, "aud": settings.JWT_AUDIENCE, "exp": int(time.time()) + 60}
    token = jwt.encode(claims, getattr(settings, secret), algorithm="HS256")
    refused(http.get("/jobs/runs", headers=bearer(token)), 401)


def test_a_token_for_three_centuries_is_refused(http: Http, owner: User) -> None:
    claims = {"sub": str(owner.pk), "aud": settings.JWT_AUDIENCE, "exp": int(time.time()) + 300 * 365 * 86_400}
    token = jwt.encode(claims, settings.JWT_SECRET, algorithm="HS256")
    refused(http.get("/jobs/runs", headers=bearer(token)), 401)


def test_a_session_ends_with_its_client(http: Http, owner: User, client_a: Client) -> None:
    http.force_login(owner)
    assert http.get("/jobs/runs").status_code == 200
    Client.objects.filter(pk=client_a.pk).update(is_active=False)
    assert http.get("/jobs/runs").status_code in (401, 403)


def test_a_signature_that_an_idempotent_answer_used_is_spent(http: Http) -> None:
    first = http.post(TASK, b"{}", content_type=JSON, headers={**signed(TASK, b"{}"), "Idempotency-Key": "k"})
    assert first.status_code == 202
    time.sleep(1.1)  # another second, so another signature of the same request
    headers = signed(TASK, b"{}")
    again = http.post(TASK, b"{}", content_type=JSON, headers={**headers, "Idempotency-Key": "k"})
    assert again.status_code == 202
    assert again.json()["run_id"] == first.json()["run_id"]
    refused(http.post(TASK, b"{}", content_type=JSON, headers=headers), 409)
    assert JobRun.objects.count() == 1


def test_a_signed_task_for_a_client_that_does_not_exist_is_refused(http: Http) -> None:
    path = "/internal/tasks/sample-client"
    body = b'{"client_id": "00000000-0000-0000-0000-000000000001"}'
    refused(http.post(path, body, content_type=JSON, headers=signed(path, body)), 422)
    assert not JobRun.objects.exists()
