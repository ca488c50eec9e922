"""Two clients, a user of each role, and ways to send requests as they would."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client as Http

from tests.jobs import sample
from trading.jobs.models import JobQueue
from trading.jobs.registry import registry
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

PASSWORD = "a long enough password"
JSON = "application/json"


@pytest.fixture
def http() -> Http:
    """What a program sends with: errors come back as answers, and CSRF is enforced as in a deployment."""
    return Http(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def desk(db: None) -> Client:
    return Client.objects.create(name="Desk")


@pytest.fixture
def ann(desk: Client) -> User:
    """An owner."""
    return User.objects.create_user("ann", password=PASSWORD, client=desk, role=Role.OWNER, external_id="ext|ann")


def bearer(token: Any) -> dict[str, str]:
    """The header of a token, or of a user's new one."""
    return {"Authorization": f"Bearer {issue_access_token(token) if isinstance(token, User) else token}"}


def refused(response: Any, status: int, type_: str | None = None) -> dict[str, Any]:
    """The detail of an answer that has ``status`` and the contract's form."""
    assert response.status_code == status, response.content[:300]
    assert response["Content-Type"].startswith(JSON)
    detail: dict[str, Any] = json.loads(response.content)["detail"]
    assert detail["type"]
    assert detail["message"]
    assert "Traceback" not in response.content.decode()
    if status == 401:
        assert response["WWW-Authenticate"]
    if status == 429:
        assert int(response["Retry-After"]) > 0
    assert type_ is None or detail["type"] == type_
    return detail


def log_in(http: Http, username: str = "ann", password: str = PASSWORD, **extra: Any) -> HttpResponse:
    """Ask for tokens."""
    return http.post("/auth/login", {"username": username, "password": password}, content_type=JSON, **extra)


@pytest.fixture
def sample_jobs(db: None) -> Iterator[None]:
    """The jobs of the ledger's tests."""
    for job in sample.JOBS:
        registry.add(job)
    JobQueue.objects.bulk_create(
        [JobQueue(name=name) for name in ("critical", "default", "bulk")], ignore_conflicts=True
    )
    yield
    for job in sample.JOBS:
        registry.remove(job.slug)


def signed(
    path: str, body: bytes, *, method: str = "POST", secret: str | None = None, at: float | None = None
) -> dict[str, str]:
    """The headers of a signed request, as the contract words them, written here rather than taken from the code."""
    timestamp = str(int(time.time() if at is None else at))
    message = f"{timestamp}\n{method}\n{path}\n".encode() + body
    key = settings.TASK_SIGNING_SECRET[0] if secret is None else secret
    return {
        "X-Task-Timestamp": timestamp,
        "X-Task-Signature": hmac.new(key.encode(), message, hashlib.sha256).hexdigest(),
    }
