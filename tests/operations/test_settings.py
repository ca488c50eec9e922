"""`/settings`: no secret is shown, what may change does so for every process at once, and each change is audited."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as platform
from django.db import connection
from django.test import Client as Http
from pytest_django import Settings

from tests.security.conftest import bearer, refused
from trading.audit.models import AuditEntry
from trading.core import dials
from trading.core.models import ChangedSetting
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = {"X-Admin-Token": platform.QT_ADMIN_TOKEN}
LOSS = "QT_MAX_DAILY_LOSS"


@pytest.fixture(autouse=True)
def _environment(settings: Settings) -> None:
    settings.QT_MAX_DAILY_LOSS = Decimal(500)


@pytest.fixture
def http() -> Http:
    return Http(raise_request_exception=False, enforce_csrf_checks=True)


def send(http: Http, body: Any, headers: dict[str, str] = TOKEN) -> Any:
    return http.post("/settings", body, content_type="application/json", headers=headers)


def test_what_holds_is_shown_and_no_secret_is(http: Http) -> None:
    reader = User.objects.create_user("r", client=Client.objects.create(name="Desk"), role=Role.READ_ONLY)
    answer = http.get("/settings", headers=bearer(reader))
    assert answer.status_code == 200
    body = answer.json()
    assert body["settings"][LOSS] == "500"
    assert body["settings"]["QT_EXECUTION_EXCHANGE"] == platform.QT_EXECUTION_EXCHANGE
    assert set(body["mutable"]) == set(dials.DIALS)
    text = answer.content.decode()
    secrets = [platform.SECRET_KEY, platform.JWT_SECRET, platform.CRON_SECRET, platform.ADMIN_API_KEY]
    for secret in [*secrets, platform.QT_ADMIN_TOKEN, *platform.ENCRYPTION_KEY, *platform.TASK_SIGNING_SECRET]:
        assert secret not in text
    for word in ("SECRET", "KEY", "TOKEN", "PASSWORD", "URL"):
        assert not any(word in name for name in body["settings"])


def test_who_may(http: Http) -> None:
    refused(http.get("/settings"), 401)
    refused(http.get("/settings", headers={"X-Cron-Secret": platform.CRON_SECRET}), 403)
    assert http.get("/settings", headers=TOKEN).status_code == 200
    desk = Client.objects.create(name="Desk")
    for role in Role:
        user = User.objects.create_user(role, client=None if role == Role.OPERATOR else desk, role=role)
        refused(send(http, {LOSS: "1"}, bearer(user)), 403)
    refused(send(http, {LOSS: "1"}, {}), 401)
    refused(send(http, {LOSS: "1"}, {"X-Admin-Token": "wrong"}), 401)
    refused(send(http, {LOSS: "1"}, {"X-Admin-Key": platform.ADMIN_API_KEY}), 403)
    assert not ChangedSetting.objects.exists()


def test_a_change_holds_in_another_process_without_a_restart(http: Http) -> None:
    """A process that has run since before the change reads a line, then asks again."""
    program = (
        "import sys, django; django.setup()\n"
        "from trading.core import dials\n"
        "for line in sys.stdin: print(dials.decimal('QT_MAX_DAILY_LOSS'), flush=True)\n"
    )
    database = connection.settings_dict["NAME"]
    code = f"from django.conf import settings; settings.DATABASES['default']['NAME'] = {database!r}\n{program}"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def asked() -> str:
            other.stdin.write("\n")  # type: ignore[union-attr]
            other.stdin.flush()  # type: ignore[union-attr]
            return other.stdout.readline().strip()  # type: ignore[union-attr]

        assert asked() == "500"
        answer = send(http, {LOSS: "250.50"})
        assert (answer.status_code, answer.json()["settings"][LOSS]) == (200, "250.50")
        assert asked() == "250.50"
        send(http, {LOSS: None})
        assert asked() == "500"
        other.stdin.close()


def test_each_change_is_audited_in_the_platform_s_log(http: Http) -> None:
    send(http, {LOSS: "250", "QT_EXECUTION_MAX_ORDERS": 3})
    send(http, {LOSS: "250"})
    told = AuditEntry.objects.filter(action="settings.changed").order_by("sequence")
    assert [(entry.subject, entry.actor, entry.client_id) for entry in told] == [
        ("setting:QT_EXECUTION_MAX_ORDERS", "admin_token", None),
        ("setting:QT_MAX_DAILY_LOSS", "admin_token", None),
    ]
    assert json.loads(json.dumps(told[1].data))["from"] == "500"
    shown = http.get("/settings", headers=TOKEN).json()["mutable"][LOSS]
    assert (shown["environment"], shown["changed_by"]) == ("500", "admin_token")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LOSS, "NaN"),
        (LOSS, "-1"),
        (LOSS, "-0"),
        (LOSS, True),
        (LOSS, "1.001"),
        (LOSS, "9" * 30),
        ("QT_EXECUTION_MAX_ORDERS", "3"),
        ("QT_EXECUTION_MAX_ORDERS", 1001),
        ("QT_EXECUTION_ALLOW_PARTIAL", "yes"),
        ("QT_MAX_PRICE_MOVE_PCT", "0"),
        ("SECRET_KEY", "x" * 50),
        ("QT_EXECUTION_EXCHANGE", "binance"),
        ("APP_ENV", "development"),
        ("ALLOW_SELF_ONBOARDING", True),
    ],
)
def test_what_is_wrong_is_named_and_nothing_changes(http: Http, name: str, value: Any) -> None:
    detail = refused(send(http, {"QT_MAX_GROSS_EXPOSURE": "5", name: value}), 422, "validation_error")
    assert [error["loc"] for error in detail["errors"]] == [["body", name]]
    assert not ChangedSetting.objects.exists()
