"""Whatever a caller sends, a line of the log stays one line, and no secret is in it."""

import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog
from django.conf import settings as configured
from django.test import Client as Http

from tests.security.conftest import JSON, PASSWORD, bearer
from trading.core import logs
from trading.tenants.models import User
from trading.tenants.tokens import issue_access_token

pytestmark = pytest.mark.django_db
FORGED = "x\r\n2026-01-01 [info] auth.login user=root\x1b[2J\x1b]0;pwned\x07\u2028\u0085\x7f"


@dataclass
class Log:
    """What has been written, as production's JSON or as a terminal has it."""

    as_json: bool
    stream: io.StringIO

    def lines(self) -> list[str]:
        found = [line for line in self.stream.getvalue().split("\n") if line]
        if self.as_json:
            assert all(isinstance(json.loads(line), dict) for line in found)
        return found


@pytest.fixture(params=[True, False], ids=["json", "console"])
def written(request: pytest.FixtureRequest) -> Iterator[Log]:
    root = logging.getLogger()
    before = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]  # pytest has others
    logs.configure(level="INFO", as_json=request.param)
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream := io.StringIO())
    yield Log(request.param, stream)
    logs.configure(level=configured.LOG_LEVEL, as_json=False)
    root.handlers[:] = before


def check(found: list[str], count: int) -> None:
    assert len(found) == count, found
    for line in found:
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line), line
        assert not line.startswith("2026-01-01 [info]")


def test_a_value_and_a_message_stay_on_one_line(written: Log) -> None:
    structlog.get_logger("quantum.test").info("seen", path=FORGED, nested={"a": [FORGED]})
    structlog.get_logger("quantum.test").info(FORGED)
    logging.getLogger("quantum.other").warning("of the standard library: %s", FORGED)
    check(written.lines(), 3)


def test_a_traceback_forges_no_line(written: Log) -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        structlog.get_logger("quantum.test").exception("failed")
    found = written.lines()
    assert len(found) >= 1
    for line in found:
        assert not line.startswith("2026-01-01"), line
        assert "\x1b" not in line
        assert "\r" not in line


@pytest.mark.parametrize(
    "path",
    ["/nope%0d%0a2026-01-01%20[info]%20x", "/jobs/runs/%1b[2J", "/jobs/runs?job=%0a2026", "/%e2%80%a8x", "/%c2%85"],
)
def test_a_path_does_not(written: Log, http: Http, path: str) -> None:
    http.get(path)
    check(written.lines(), 1)


@pytest.mark.parametrize(
    "header", ["X-Request-ID", "User-Agent", "X-Forwarded-For", "Referer", "Origin", "X-Test-Mode-User"]
)
def test_a_header_does_not(written: Log, http: Http, header: str) -> None:
    http.get("/jobs/runs", headers={header: FORGED})
    check(written.lines(), 1)


def test_a_user_name_does_not(written: Log, http: Http, ann: User) -> None:
    http.post("/auth/login", {"username": FORGED.replace("\x00", ""), "password": "x"}, content_type=JSON)
    found = written.lines()
    check(found, len(found))
    assert found


def test_no_secret_of_a_request_is_logged(written: Log, http: Http, ann: User) -> None:
    token = issue_access_token(ann)
    login = http.post("/auth/login", {"username": "ann", "password": PASSWORD}, content_type=JSON).json()
    http.post("/auth/refresh", {"refresh_token": login["refresh_token"]}, content_type=JSON)
    http.get(f"/jobs/runs?token={token}", headers=bearer(token))
    http.get("/jobs/runs", headers=bearer(token + "x"))
    for name, value in (("X-Cron-Secret", "CRON_SECRET"), ("X-Admin-Key", "ADMIN_API_KEY")):
        http.get("/jobs/runs", headers={name: getattr(configured, value)})
        http.get("/jobs/runs", headers={name: getattr(configured, value) + "x"})
    structlog.get_logger("quantum.test").info(f"token {token} and Bearer abc.def", authorization=token, note=token)
    text = "\n".join(written.lines())
    assert text
    keys = (configured.CRON_SECRET, configured.ADMIN_API_KEY)
    for secret in (PASSWORD, token, login["access_token"], login["refresh_token"], *keys):
        assert secret not in text
