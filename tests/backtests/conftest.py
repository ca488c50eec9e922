"""Two clients, their users, and requests as they send them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Http

from trading.jobs.models import JobQueue
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

Send = Callable[..., Any]


@pytest.fixture(autouse=True)
def _artifacts(settings: Any, tmp_path: Path) -> None:
    settings.QT_ARTIFACTS_DIR = str(tmp_path / "artifacts")


@pytest.fixture
def queues(transactional_db: None) -> None:
    """A transactional test truncates the rows of the data migration."""
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)


@pytest.fixture
def alpha(db: None) -> Client:
    return Client.objects.create(name="Alpha")


@pytest.fixture
def beta(db: None) -> Client:
    return Client.objects.create(name="Beta")


def sender(client: Client | None, role: Role = Role.TRADER) -> Send:
    """Sends requests as a user of ``client``."""
    user = User.objects.create_user(f"{role}-{client}", client=client, role=role)
    http = Http(raise_request_exception=False, headers={"Authorization": f"Bearer {issue_access_token(user)}"})

    def send(method: str, path: str, body: Any = None, **headers: str) -> Any:
        return http.generic(
            method,
            path,
            http._encode_json({} if body is None else body, "application/json"),
            content_type="application/json",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return send


@pytest.fixture
def ann(alpha: Client) -> Send:
    return sender(alpha)


@pytest.fixture
def bob(beta: Client) -> Send:
    return sender(beta)
