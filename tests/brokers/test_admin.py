"""Operators see that credentials are set, try sessions, delete them and change settings; no secret is shown."""

from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

import pytest
from django.test import Client as Browser
from pytest_django import Settings

from tests.brokers.lockbox import lockbox as lockbox
from trading.audit.models import AuditEntry
from trading.brokers import accounts
from trading.brokers.models import BrokerAccount
from trading.core import dials
from trading.core.models import ChangedSetting
from trading.tenants import parameters
from trading.tenants.models import Client, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
GOOD = {"api_key": "key-canary", "api_secret": "right-secret-of-the-lockbox-canary"}
ACCOUNTS = "/admin/brokers/brokeraccount/"
SETTINGS = "/admin/core/changedsetting/"


@pytest.fixture
def operator() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user("op", role=Role.OPERATOR, is_staff=True))
    return browser


@pytest.fixture
def account() -> BrokerAccount:
    return accounts.store(Client.objects.create(name="Desk").id, "lockbox", GOOD, now=NOW)


def test_an_account_is_shown_without_what_opens_it(operator: Browser, account: BrokerAccount) -> None:
    for path in (ACCOUNTS, f"{ACCOUNTS}{account.pk}/change/"):
        page = operator.get(path)
        assert page.status_code == 200
        text = page.content.decode()
        assert f"set, under key {account.key}" in text
        assert account.credentials not in text
        assert account.credentials.rpartition(".")[2][:20] not in text
        assert "canary" not in text


def test_an_operator_tries_a_session_and_deletes(
    operator: Browser, account: BrokerAccount, lockbox: ModuleType
) -> None:
    path = f"{ACCOUNTS}{account.pk}/"
    assert "Open a session at the venue now?" in operator.get(f"{path}test/").content.decode()
    assert operator.post(f"{path}test/", {"confirmed": "yes"}).status_code == 302
    lockbox.FAULT.append("down")
    operator.post(f"{path}test/", {"confirmed": "yes"})
    account.refresh_from_db()
    assert (account.status, account.last_error) == ("failed", "no route, by [hidden]")
    operator.post(f"{path}forget/", {"confirmed": "yes"})
    assert not BrokerAccount.objects.exists()
    entry = AuditEntry.objects.get(action="broker.disconnected")
    assert (entry.client_id, entry.actor) == (account.client_id, "operator:op")


def test_nobody_writes_credentials_here(operator: Browser, account: BrokerAccount) -> None:
    assert operator.get(f"{ACCOUNTS}add/").status_code == 403
    before = account.credentials
    operator.post(f"{ACCOUNTS}{account.pk}/change/", {"credentials": "x", "broker": "paper"})
    account.refresh_from_db()
    assert (account.credentials, account.broker) == (before, "lockbox")
    owner = Browser()
    owner.force_login(User.objects.create_user("own", role=Role.OWNER, client_id=account.client_id))
    assert owner.get(ACCOUNTS).status_code == 302


def test_parameters_are_listed_and_not_changed(operator: Browser) -> None:
    desk = Client.objects.create(name="Desk")
    parameters.change(desk.id, {"max_orders": 3}, by="ann")
    assert "ann" in operator.get("/admin/tenants/parameters/").content.decode()
    assert operator.get("/admin/tenants/parameters/add/").status_code == 403


def test_a_setting_is_changed_and_given_back(operator: Browser, settings: Settings) -> None:
    settings.QT_MAX_DAILY_LOSS = Decimal(500)
    answer = operator.post(f"{SETTINGS}add/", {"name": "QT_MAX_DAILY_LOSS", "value": "250.5"})
    assert answer.status_code == 302, answer.content
    assert dials.decimal("QT_MAX_DAILY_LOSS") == Decimal("250.5")
    assert ChangedSetting.objects.get().changed_by == "op"
    operator.post(f"{SETTINGS}add/", {"name": "QT_EXECUTION_ALLOW_PARTIAL", "value": "False"})
    assert dials.values()["QT_EXECUTION_ALLOW_PARTIAL"] is False
    operator.post(f"{SETTINGS}QT_5FMAX_5FDAILY_5FLOSS/change/", {"value": "100"})
    assert dials.decimal("QT_MAX_DAILY_LOSS") == 100
    assert "500" in operator.get(SETTINGS).content.decode()
    operator.post(f"{SETTINGS}QT_5FMAX_5FDAILY_5FLOSS/delete/", {"post": "yes"})
    assert dials.decimal("QT_MAX_DAILY_LOSS") == 500
    subjects = AuditEntry.objects.filter(action="settings.changed").values_list("subject", "actor")
    assert list(subjects).count(("setting:QT_MAX_DAILY_LOSS", "operator:op")) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QT_MAX_DAILY_LOSS", "NaN"),
        ("QT_MAX_DAILY_LOSS", "-1"),
        ("QT_EXECUTION_ALLOW_PARTIAL", "maybe"),
        ("SECRET_KEY", "x"),
    ],
)
def test_a_wrong_value_is_said_beside_its_field(operator: Browser, name: str, value: str) -> None:
    answer = operator.post(f"{SETTINGS}add/", {"name": name, "value": value})
    assert answer.status_code == 200
    assert not ChangedSetting.objects.exists()
