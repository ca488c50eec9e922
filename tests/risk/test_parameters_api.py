"""`/clients/{id}/agent/parameters`."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as platform
from django.test import Client as Http
from pytest_django import Settings

from tests.security.conftest import bearer, refused
from trading.audit.models import AuditEntry
from trading.core import dials
from trading.tenants.models import Client, Parameters, Role, User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _platform(settings: Settings) -> None:
    settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(1000)
    settings.QT_MAX_GROSS_EXPOSURE = Decimal(0)
    settings.QUANTUM_TRADER_SYMBOLS = ["AAA", "BBB"]


@pytest.fixture
def http() -> Http:
    return Http(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def desk() -> Client:
    return Client.objects.create(name="Desk")


def user(desk: Client, role: str) -> User:
    return User.objects.create_user(f"user {role}", client=None if role == Role.OPERATOR else desk, role=role)


def send(http: Http, client: Any, who: User, body: Any) -> Any:
    path = f"/clients/{getattr(client, 'id', client)}/agent/parameters"
    return http.post(path, body, content_type="application/json", headers=bearer(who))


def look(http: Http, client: Any, who: User) -> Any:
    return http.get(f"/clients/{getattr(client, 'id', client)}/agent/parameters", headers=bearer(who))


def test_what_is_changed_is_shown_and_holds(http: Http, desk: Client) -> None:
    owner = user(desk, Role.OWNER)
    before = look(http, desk, owner).json()
    assert (before["version"], before["own"]["risk"]["max_order_size"]) == (0, None)
    assert before["in_force"]["risk"] == before["platform"]["risk"]
    assert before["platform"]["risk"]["max_gross_exposure"] is None, "no limit"
    answer = send(http, desk, owner, {"risk": {"max_order_size": "400"}, "strategy": {"symbols": ["BBB"]}})
    assert answer.status_code == 200
    after = answer.json()
    assert (after["version"], after["changed_by"]) == (1, owner.username)
    assert after["own"]["risk"]["max_order_size"] == after["in_force"]["risk"]["max_order_size"] == "400.00"
    assert after["in_force"]["strategy"]["symbols"] == ["BBB"]
    assert after["platform"]["risk"]["max_order_size"] == "1000.00"
    dials.change({"QT_MAX_NOTIONAL_PER_TRADE": "300"}, by="ops")
    assert look(http, desk, user(desk, Role.READ_ONLY)).json()["in_force"]["risk"]["max_order_size"] == "300.00"
    assert send(http, desk, owner, {}).json()["version"] == 1


def test_who_may(http: Http, desk: Client) -> None:
    other = Client.objects.create(name="Other")
    owner = user(desk, Role.OWNER)
    body = {"risk": {"max_order_size": "400"}}
    for client in (other, uuid4()):
        refused(look(http, client, owner), 404)
        refused(send(http, client, owner, body), 404)
    for role in (Role.TRADER, Role.READ_ONLY):
        refused(send(http, desk, user(desk, role), body), 403)
    refused(http.get(f"/clients/{desk.id}/agent/parameters"), 401)
    refused(http.get(f"/clients/{desk.id}/agent/parameters", headers={"X-Admin-Token": platform.QT_ADMIN_TOKEN}), 403)
    assert not Parameters.objects.exists()
    assert send(http, desk, user(desk, Role.OPERATOR), body).status_code == 200


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"risk": {"max_order_size": "1000.01"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "0"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "NaN"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "Infinity"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "1e3"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": True}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "٣"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "-0"}}, ["risk", "max_order_size"]),
        ({"risk": {"max_order_size": "9" * 40}}, ["risk", "max_order_size"]),
        ({"strategy": {"symbols": ["CCC"]}}, ["strategy", "symbols"]),
        ({"strategy": {"symbols": []}}, ["strategy", "symbols"]),
        ({"strategy": {"max_orders": 1.5}}, ["strategy", "max_orders"]),
        ({"strategy": {"max_orders": 10**6}}, ["strategy", "max_orders"]),
        ({"strategy": {"cash_buffer": "-1"}}, ["strategy", "cash_buffer"]),
        ({"risk": {"max_net_worth": "1"}}, ["risk", "max_net_worth"]),
        ({"risk": []}, ["risk"]),
        ({"mode": "autonomous"}, ["mode"]),
    ],
)
def test_what_is_wrong_is_named(http: Http, desk: Client, body: Any, loc: list[str]) -> None:
    detail = refused(send(http, desk, user(desk, Role.OWNER), body), 422, "validation_error")
    assert any(error["loc"][: len(loc) + 1] == ["body", *loc] for error in detail["errors"]), detail
    assert not Parameters.objects.exists()


def test_each_change_is_audited_with_what_it_was(http: Http, desk: Client) -> None:
    owner = user(desk, Role.OWNER)
    send(http, desk, owner, {"risk": {"max_order_size": "400"}})
    send(http, desk, owner, {"risk": {"max_order_size": "400"}})
    send(http, desk, owner, {"risk": {"max_order_size": None}})
    told = list(AuditEntry.objects.filter(client_id=desk.id).order_by("sequence").values_list("action", "data"))
    assert told == [
        ("parameters.changed", {"max_order_size": {"from": None, "to": "400"}}),
        ("parameters.changed", {"max_order_size": {"from": "400", "to": None}}),
    ]
