"""`POST /clients/onboard`: who may, what is made, and that it is made once and whole or not at all."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as platform
from django.db import IntegrityError, connection
from django.test import Client as Http
from pytest_django import Settings

from tests.brokers.lockbox import lockbox as lockbox
from tests.security.conftest import bearer, log_in, refused
from trading.audit.models import AuditEntry
from trading.brokers import accounts
from trading.brokers.models import BrokerAccount, PaperAccount
from trading.core.models import IdempotencyKey
from trading.tenants.models import Client, Parameters, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
BODY = {"name": "Alpha Desk", "username": "ann", "password": "canary-of-the-password"}
CREDENTIALS = {"api_key": "key-canary", "api_secret": "right-secret-of-the-lockbox-canary"}
FULL = {**BODY, "broker": "lockbox", "credentials": CREDENTIALS, "risk": {"max_order_size": "400.00"}}


@pytest.fixture
def http() -> Http:
    return Http(raise_request_exception=False, enforce_csrf_checks=True)


def send(http: Http, body: dict[str, Any], *, key: str | None = platform.ADMIN_API_KEY, once: str = "") -> Any:
    headers = {**({"X-Admin-Key": key} if key is not None else {}), **({"Idempotency-Key": once} if once else {})}
    return http.post("/clients/onboard", body, content_type="application/json", headers=headers)


def nothing_is_there() -> bool:
    return not (Client.objects.exists() or User.objects.exists() or BrokerAccount.objects.exists())


def test_a_client_with_all_that_it_named(http: Http, lockbox: ModuleType) -> None:
    answer = send(http, FULL)
    assert answer.status_code == 201
    body = answer.json()
    assert body == {"client_id": body["client_id"], "name": "Alpha Desk", "username": "ann", "broker": "lockbox"}
    owner = User.objects.get()
    assert (str(owner.client_id), owner.role, owner.is_staff, owner.is_superuser) == (
        body["client_id"], Role.OWNER, False, False,
    )  # fmt: skip
    assert owner.check_password(BODY["password"])
    assert Parameters.objects.get().max_order_size == Decimal(400)
    lockbox.OPENED.clear()
    accounts.open_session(owner.client_id, "lockbox")  # type: ignore[arg-type]  # an owner has a client
    assert lockbox.OPENED[0].api_key.get_secret_value() == "key-canary"
    assert "canary" not in answer.content.decode()


def test_the_owner_can_log_in_and_connect_later(http: Http) -> None:
    client_id = send(http, BODY).json()["client_id"]
    token = log_in(http, "ann", BODY["password"]).json()["access_token"]
    path = f"/clients/{client_id}/connect-broker"
    answer = http.post(path, {"broker": "paper"}, content_type="application/json", headers=bearer(token))
    assert (answer.status_code, answer.json()["status"]) == (200, "connected")
    assert PaperAccount.objects.get().cash == platform.QT_PAPER_CASH


def test_it_takes_the_admin_key_unless_everybody_may(http: Http, settings: Settings) -> None:
    refused(send(http, BODY, key=None), 401)
    refused(send(http, BODY, key="wrong"), 401)
    desk = Client.objects.create(name="Desk")
    for role in Role:
        user = User.objects.create_user(role, role=role, client=None if role == Role.OPERATOR else desk)
        refused(http.post("/clients/onboard", BODY, content_type="application/json", headers=bearer(user)), 403)
    assert Client.objects.count() == 1
    settings.ALLOW_SELF_ONBOARDING = True
    assert send(http, BODY, key=None).status_code == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": 7}, "name"),
        ({"username": ""}, "username"),
        ({"username": "an n"}, "username"),
        ({"username": "ann\u0430"}, "username"),
        ({"username": "-ann"}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"username": "TAKEN"}, "username"),
        ({"name": "taken"}, "name"),
        ({"password": "short"}, "password"),
        ({"password": "password1234"}, "password"),
        ({"password": "alphadesk-ann"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"password": 123456789012}, "password"),
        ({"broker": "papyrus"}, "broker"),
        ({"broker": None, "credentials": CREDENTIALS}, "broker"),
        ({"broker": "lockbox"}, "credentials"),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "port": "x"}}, "credentials"),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "host": "169.254.169.254"}}, "credentials"),
        ({"broker": "lockbox", "credentials": "x"}, "credentials"),
        ({"credentials": CREDENTIALS}, "broker"),
        ({"risk": {"max_order_size": "1000000"}}, "risk"),
        ({"risk": {"max_order_size": "NaN"}}, "risk"),
        ({"risk": {"more": 1}}, "risk"),
        ({"role": "operator"}, "role"),
        ({"is_superuser": True}, "is_superuser"),
        ({"client_id": "x"}, "client_id"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_made(http: Http, change: dict[str, Any], field: str) -> None:
    taken = Client.objects.create(name="Taken")
    User.objects.create_user("taken", client=taken, role=Role.TRADER)
    detail = refused(send(http, {**BODY, **change}), 422, "validation_error")
    assert {error["loc"][1] for error in detail["errors"]} == {field}
    assert "canary" not in str(detail)
    assert (Client.objects.count(), User.objects.count()) == (1, 1)
    assert not BrokerAccount.objects.exists()


def test_a_venue_that_refuses_or_is_away_leaves_nothing(http: Http, lockbox: ModuleType) -> None:
    wrong = {**FULL, "credentials": {"api_key": "key-canary", "api_secret": "wrong-canary"}}
    detail = refused(send(http, wrong), 502, "broker_error")
    assert set(detail) == {"type", "operation", "broker", "code", "message", "retryable", "context"}
    assert (detail["broker"], detail["code"], detail["retryable"]) == ("lockbox", "bad_credentials", False)
    assert "canary" not in str(detail)
    lockbox.FAULT.append("down")
    assert refused(send(http, FULL), 503, "broker_error")["retryable"] is True
    assert nothing_is_there()


def test_a_failure_at_the_very_end_leaves_nothing(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("trading.brokers.onboarding.record", fails)
    refused(send(http, FULL, once="k1"), 500)
    assert nothing_is_there()
    assert not IdempotencyKey.objects.exists()


def test_the_same_key_makes_one_client(http: Http) -> None:
    first = send(http, FULL, once="k1")
    again = send(http, FULL, once="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    refused(send(http, {**FULL, "name": "Other"}, once="k1"), 422, "idempotency_key_reused")
    refused(send(http, FULL, once="k2"), 422, "validation_error")
    assert Client.objects.count() == 1


def test_of_eight_at_once_one_is_made_and_all_are_answered_alike() -> None:
    def one(number: int) -> tuple[int, str]:
        try:
            answer = send(Http(raise_request_exception=False), FULL, once="k1")
            return answer.status_code, answer.json().get("client_id", answer.content.decode())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(one, range(8)))
    assert len(answers) == 1, answers
    assert next(iter(answers))[0] == 201
    assert Client.objects.count() == User.objects.count() == BrokerAccount.objects.count() == 1


def test_of_eight_for_one_name_one_gets_it() -> None:
    def one(number: int) -> int:
        try:
            return send(Http(raise_request_exception=False), {**BODY, "name": f"Desk {number}"}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert sorted(answers) == [201] + [422] * 7
    assert Client.objects.count() == User.objects.count() == 1


def test_names_that_differ_in_capitals_alone_are_one_name_to_the_database() -> None:
    """Whoever is second in the same instant has passed the look for such names."""
    desk = Client.objects.create(name="Desk")
    User.objects.create_user("ann", client=desk)
    with pytest.raises(IntegrityError, match="tenants_client_name_in_any_case"):
        Client.objects.create(name="DESK")
    with pytest.raises(IntegrityError, match="tenants_user_username_in_any_case"):
        User.objects.create_user("Ann", client=desk)


def test_it_is_audited_without_what_is_secret(http: Http) -> None:
    client_id = send(http, FULL).json()["client_id"]
    entry = AuditEntry.objects.get(action="client.onboarded")
    assert (str(entry.client_id), entry.actor) == (client_id, "admin_key")
    assert entry.data["broker"] == "lockbox"
    assert "canary" not in str(entry.data)


def test_the_kept_fingerprint_is_no_bare_hash_of_a_password(http: Http) -> None:
    send(http, BODY, once="k1")
    row = IdempotencyKey.objects.get()
    for text in (json.dumps(BODY), json.dumps(BODY, sort_keys=True)):
        assert row.fingerprint != hashlib.sha256(f"POST\n/clients/onboard\n{text}".encode()).hexdigest()
    assert "canary" not in str(row.body)
