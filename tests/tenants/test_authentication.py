"""Tokens, the scheduler's secret, the development header, the login and its lock-out."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client as Http
from pytest_django import Settings

from trading.tenants.models import Client, LoginFailures, Role, User
from trading.tenants.tokens import issue_access_token

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture
def desk() -> Client:
    return Client.objects.create(name="Desk")


@pytest.fixture
def ann(desk: Client) -> User:
    return User.objects.create_user("ann", password=PASSWORD, client=desk, role=Role.OWNER, external_id="ext|ann")


@pytest.fixture
def http() -> Http:
    return Http()


def claims(user: User, **changed: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    made = {"aud": settings.JWT_AUDIENCE, "sub": str(user.pk), "iat": now, "exp": now + timedelta(minutes=5)}
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def runs(http: Http, token: str | bytes) -> int:
    value = token.decode("latin-1") if isinstance(token, bytes) else token
    return http.get("/jobs/runs", headers={"Authorization": f"Bearer {value}"}).status_code


def test_our_token_and_the_external_issuer_s_are_accepted(http: Http, ann: User) -> None:
    assert runs(http, issue_access_token(ann)) == 200
    external = jwt.encode(claims(ann, sub="ext|ann"), settings.SUPABASE_JWT_SECRET, algorithm="HS256")
    assert runs(http, external) == 200
    crossed = jwt.encode(claims(ann, sub="ext|ann"), settings.JWT_SECRET, algorithm="HS256")
    assert runs(http, crossed) == 401, "an external id counts with the external secret alone"


def unsigned(ann: User) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value, default=lambda at: int(at.timestamp())).encode()).decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims(ann))}.".replace("=", "")


@pytest.mark.parametrize(
    "make",
    [
        lambda ann: jwt.encode(claims(ann, aud="someone-else"), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, aud=None), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, exp=None), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, sub=None), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, exp=int(time.time()) - 60), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, nbf=int(time.time()) + 600), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, sub="999999"), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann, sub="٣"), settings.JWT_SECRET, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann), "x" * 40, algorithm="HS256"),
        lambda ann: jwt.encode(claims(ann), "y" * 64, algorithm="HS384"),
        lambda ann: jwt.encode(claims(ann), settings.JWT_SECRET * 2, algorithm="HS512"),
        unsigned,
        lambda ann: "a.b.c",
        lambda ann: "x" * 5000,
        lambda ann: "",
    ],
)
def test_no_other_token_is(http: Http, ann: User, make: Callable[[User], str]) -> None:
    response = http.get("/jobs/runs", headers={"Authorization": f"Bearer {make(ann)}"})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json()["detail"]["type"] == "not_authenticated"


def test_a_deactivated_user_or_client_is_out_at_once(http: Http, ann: User, desk: Client) -> None:
    token = issue_access_token(ann)
    Client.objects.filter(id=desk.id).update(is_active=False)
    assert runs(http, token) == 401
    Client.objects.filter(id=desk.id).update(is_active=True)
    User.objects.filter(id=ann.pk).update(is_active=False)
    assert runs(http, token) == 401


def test_login_gives_a_token_that_works(http: Http, ann: User) -> None:
    answer = http.post("/auth/login", {"username": "ann", "password": PASSWORD}, content_type="application/json")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["client_id"]) == ("bearer", 3600, str(ann.client_id))
    assert runs(http, body["access_token"]) == 200


def test_the_sixth_wrong_password_locks_out_also_the_right_one(http: Http, ann: User) -> None:
    def try_with(password: str) -> int:
        given = {"username": "ANN" if password == "wrong" else "ann", "password": password}
        return http.post("/auth/login", given, content_type="application/json").status_code

    assert [try_with("wrong") for _ in range(6)] == [401] * 5 + [429]
    assert try_with(PASSWORD) == 429
    LoginFailures.objects.update(since=datetime.now(UTC) - timedelta(minutes=16))
    assert try_with(PASSWORD) == 200


def test_the_page_s_login_is_under_the_same_lock_out(http: Http, ann: User) -> None:
    for _ in range(6):
        http.post("/login", {"username": "ann", "password": "wrong"})
    page = http.post("/login", {"username": "ann", "password": PASSWORD})
    assert page.status_code == 200
    assert b"Too many failed logins" in page.content


def test_unknown_names_are_told_nothing_else(http: Http, ann: User) -> None:
    answers = {
        http.post("/auth/login", {"username": name, "password": "wrong"}, content_type="application/json").content
        for name in ("ann", "nobody")
    }
    assert len(answers) == 1


def test_cron_sees_all_with_the_secret_alone(http: Http, ann: User) -> None:
    assert http.get("/jobs/runs", headers={"X-Cron-Secret": settings.CRON_SECRET}).status_code == 200
    for wrong in ("", "x", settings.CRON_SECRET + "x", settings.CRON_SECRET[:-1]):
        assert http.get("/jobs/runs", headers={"X-Cron-Secret": wrong}).status_code == 401


class TestDevelopmentHeader:
    @pytest.fixture(autouse=True)
    def _on(self, settings: Settings) -> None:
        settings.ENABLE_DEV_AUTH_BYPASS = True
        settings.APP_ENV = "development"

    def test_it_works_from_this_machine(self, http: Http, ann: User) -> None:
        assert http.get("/jobs/runs", headers={"X-Test-Mode-User": "ann"}).status_code == 200

    @pytest.mark.parametrize(
        "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via", "X-Client-IP"]
    )
    @pytest.mark.parametrize("value", ["127.0.0.1", ""])
    def test_not_through_a_proxy(self, http: Http, ann: User, header: str, value: str) -> None:
        assert http.get("/jobs/runs", headers={"X-Test-Mode-User": "ann", header: value}).status_code == 401

    def test_not_from_elsewhere_and_not_for_the_deactivated(self, http: Http, ann: User, desk: Client) -> None:
        elsewhere = http.get("/jobs/runs", headers={"X-Test-Mode-User": "ann"}, REMOTE_ADDR="10.0.0.7")
        assert elsewhere.status_code == 401
        Client.objects.filter(id=desk.id).update(is_active=False)
        assert http.get("/jobs/runs", headers={"X-Test-Mode-User": "ann"}).status_code == 401

    def test_not_in_production_and_not_unless_switched_on(self, http: Http, ann: User, settings: Settings) -> None:
        settings.APP_ENV = "production"
        assert http.get("/jobs/runs", headers={"X-Test-Mode-User": "ann"}).status_code == 401
        assert http.get("/__auth_debug").status_code == 404
        settings.APP_ENV = "development"
        settings.ENABLE_DEV_AUTH_BYPASS = False
        assert http.get("/jobs/runs", headers={"X-Test-Mode-User": "ann"}).status_code == 401
