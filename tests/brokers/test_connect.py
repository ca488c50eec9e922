"""`POST /clients/{id}/connect-broker`: tried, stored sealed, never echoed; the owner's alone."""

from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as platform
from django.test import Client as Http

from tests.brokers.lockbox import lockbox as lockbox
from tests.security.conftest import bearer, refused
from trading.audit.models import AuditEntry
from trading.brokers.models import BrokerAccount
from trading.tenants.models import Client, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
CREDENTIALS = {"api_key": "key-canary", "api_secret": "right-secret-of-the-lockbox-canary"}
BODY = {"broker": "lockbox", "credentials": CREDENTIALS}


@pytest.fixture
def http() -> Http:
    return Http(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def desk() -> Client:
    return Client.objects.create(name="Desk")


@pytest.fixture
def owner(desk: Client) -> User:
    return User.objects.create_user("ann", client=desk, role=Role.OWNER)


def send(http: Http, client: Any, body: Any, headers: dict[str, str], **more: str) -> Any:
    path = f"/clients/{getattr(client, 'id', client)}/connect-broker"
    return http.post(path, body, content_type="application/json", headers={**headers, **more})


def test_the_owner_connects_and_sees_nothing_of_it_again(http: Http, desk: Client, owner: User) -> None:
    answer = send(http, desk, BODY, bearer(owner))
    assert answer.status_code == 200
    assert set(answer.json()) == {"broker", "status", "connected_at", "tested_at"}
    assert "canary" not in answer.content.decode()
    account = BrokerAccount.objects.get()
    assert (account.client_id, account.broker, account.status) == (desk.id, "lockbox", "connected")
    entry = AuditEntry.objects.get(action="broker.connected")
    assert (entry.client_id, entry.actor, entry.subject) == (desk.id, f"user:{owner.pk}", "broker:lockbox")
    assert "canary" not in str(entry.data)


def test_only_the_owner_of_that_client_may(http: Http, desk: Client, owner: User) -> None:
    other = Client.objects.create(name="Other")
    refused(send(http, other, BODY, bearer(owner)), 404)
    assert refused(send(http, other, BODY, bearer(owner)), 404) == refused(
        send(http, uuid4(), BODY, bearer(owner)), 404
    )
    for role in (Role.TRADER, Role.READ_ONLY):
        refused(send(http, desk, BODY, bearer(User.objects.create_user(role, client=desk, role=role))), 403)
    refused(send(http, desk, BODY, bearer(User.objects.create_user("op", role=Role.OPERATOR))), 403)
    refused(send(http, desk, BODY, {}), 401)
    for name, secret in (("X-Admin-Key", platform.ADMIN_API_KEY), ("X-Cron-Secret", platform.CRON_SECRET)):
        refused(send(http, desk, BODY, {name: secret}), 403)
    assert not BrokerAccount.objects.exists()


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["broker"]),
        ({"broker": "papyrus"}, ["broker"]),
        ({"broker": "../paper"}, ["broker"]),
        ({"broker": "lockbox"}, ["credentials", "api_key"]),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "api_key": 7}}, ["credentials", "api_key"]),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "more": "canary"}}, ["credentials", "more"]),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "host": "127.0.0.1"}}, ["credentials", "host"]),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "port": 22}}, ["credentials", "host"]),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "host": "0x7f.1"}}, ["credentials", "host"]),
        ({"broker": "lockbox", "credentials": {**CREDENTIALS, "host": "::ffff:127.0.0.1"}}, ["credentials", "host"]),
        ({"broker": "lockbox", "credentials": []}, ["credentials"]),
        ({"broker": "paper", "credentials": {"api_key": "x"}}, ["credentials", "api_key"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(http: Http, desk: Client, owner: User, body: Any, loc: list[str]) -> None:
    detail = refused(send(http, desk, body, bearer(owner)), 422, "validation_error")
    assert ["body", *loc] in [error["loc"] for error in detail["errors"]]
    assert "canary" not in str(detail)
    assert not BrokerAccount.objects.exists()


def test_a_failed_try_leaves_what_was_there(http: Http, desk: Client, owner: User, lockbox: ModuleType) -> None:
    send(http, desk, BODY, bearer(owner))
    before = BrokerAccount.objects.get()
    wrong = {**BODY, "credentials": {"api_key": "key-canary", "api_secret": "wrong-canary"}}
    detail = refused(send(http, desk, wrong, bearer(owner)), 502, "broker_error")
    assert "canary" not in str(detail)
    lockbox.FAULT.append("down")
    assert refused(send(http, desk, BODY, bearer(owner)), 503, "broker_error")["retryable"] is True
    after = BrokerAccount.objects.get()
    assert (after.credentials, after.status) == (before.credentials, before.status)


def test_the_same_key_tries_the_venue_once(http: Http, desk: Client, owner: User, lockbox: ModuleType) -> None:
    key = {"Idempotency-Key": "k1"}
    first = send(http, desk, BODY, bearer(owner), **key)
    again = send(http, desk, BODY, bearer(owner), **key)
    assert first.json() == again.json()
    assert len(lockbox.OPENED) == 1
    other = {**BODY, "credentials": {**CREDENTIALS, "api_key": "key-other"}}
    refused(send(http, desk, other, bearer(owner), **key), 422, "idempotency_key_reused")


def test_a_host_that_an_adapter_s_own_process_refuses_is_named_too(
    http: Http, desk: Client, owner: User, lockbox: ModuleType
) -> None:
    lockbox.FAULT.append("elsewhere")
    detail = refused(send(http, desk, BODY, bearer(owner)), 422, "validation_error")
    assert detail["errors"] == [{"loc": ["body", "credentials", "host"], "message": "not listed"}]
    assert not BrokerAccount.objects.exists()
