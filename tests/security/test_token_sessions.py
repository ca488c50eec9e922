"""Logins by token: refresh tokens are good once, and every way of ending a login ends it at once."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.forms import SetPasswordForm
from django.db import connection
from django.test import Client as Http
from django.utils import timezone

from tests.security.conftest import JSON, PASSWORD, bearer, log_in, refused
from tests.security.test_jwt import claims, sealed
from trading.tenants import sessions
from trading.tenants.models import Client, LoginSession, RefreshToken, Role, User

pytestmark = pytest.mark.django_db
PATH = "/jobs/runs"


def tokens_of(http: Http) -> dict[str, Any]:
    answer = log_in(http)
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    body: dict[str, Any] = answer.json()
    return body


def refresh(http: Http, token: Any) -> Any:
    return http.post("/auth/refresh", {"refresh_token": token}, content_type=JSON)


def works(http: Http, access: str) -> bool:
    status = http.get(PATH, headers=bearer(access)).status_code
    assert status in (200, 401)
    return status == 200


def test_refreshing_goes_on_without_the_password(http: Http, ann: User) -> None:
    first = tokens_of(http)
    assert (first["refresh_expires_in"], first["expires_in"]) == (604_800, 3600)
    second = refresh(http, first["refresh_token"])
    assert second.status_code == 200
    assert second["Cache-Control"] == "no-store"
    assert works(http, second.json()["access_token"])
    assert works(http, first["access_token"]), "an access token lives out its hour"
    third = refresh(http, second.json()["refresh_token"])
    assert third.status_code == 200
    assert LoginSession.objects.count() == 1


def test_the_table_holds_no_token(http: Http, ann: User) -> None:
    token = tokens_of(http)["refresh_token"]
    stored = RefreshToken.objects.values_list("digest", flat=True)
    assert token not in stored
    assert all(len(digest) == 64 for digest in stored)


def test_a_spent_refresh_token_ends_the_whole_login(http: Http, ann: User) -> None:
    stolen = tokens_of(http)
    other = tokens_of(http)
    owner = refresh(http, stolen["refresh_token"]).json()
    refused(refresh(http, stolen["refresh_token"]), 401, "invalid_refresh_token")
    assert not works(http, stolen["access_token"])
    assert not works(http, owner["access_token"])
    refused(refresh(http, owner["refresh_token"]), 401)
    assert LoginSession.objects.filter(ended_by="reuse").count() == 1
    assert works(http, other["access_token"]), "another login of the same user goes on"
    assert refresh(http, other["refresh_token"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_eight_that_refresh_at_once_one_gets_tokens(http: Http, ann: User) -> None:
    token = tokens_of(http)["refresh_token"]
    start = threading.Barrier(8)
    statuses: list[int] = []

    def race() -> None:
        start.wait()
        statuses.append(refresh(Http(), token).status_code)
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7
    assert LoginSession.objects.get().ended_by == "reuse"


@pytest.mark.parametrize("token", ["", "x", "x" * 200, "x" * 201, "a\x00b", "\ud800", None, 1, True, ["x"]])
def test_what_is_no_refresh_token(http: Http, ann: User, token: Any) -> None:
    refused(refresh(http, token), 401 if token in ("x", "x" * 200) else 422)


def test_an_access_token_is_no_refresh_token_nor_the_other_way_round(http: Http, ann: User) -> None:
    tokens = tokens_of(http)
    refused(refresh(http, tokens["access_token"][:200]), 401)
    assert not works(http, tokens["refresh_token"])


def test_a_refresh_token_and_a_login_have_an_end(ann: User) -> None:
    began = timezone.now()
    tokens = sessions.begin(ann, now=began)
    with pytest.raises(sessions.Refused):
        sessions.refresh(tokens.refresh, now=began + timedelta(days=7, seconds=1))
    now, latest = began, tokens
    while now - began < timedelta(days=29):
        now += timedelta(days=4)
        latest = sessions.refresh(latest.refresh, now=now) if now - began < sessions.LONGEST else latest
    assert latest.refresh_seconds == timedelta(days=2).total_seconds(), "the last does not outlive the login"
    with pytest.raises(sessions.Refused):
        sessions.refresh(latest.refresh, now=began + timedelta(days=30, seconds=1))


def test_logging_out_ends_this_login_alone(http: Http, ann: User) -> None:
    here, there = tokens_of(http), tokens_of(http)
    assert http.post("/auth/logout", content_type=JSON, headers=bearer(here["access_token"])).status_code == 204
    assert not works(http, here["access_token"])
    refused(refresh(http, here["refresh_token"]), 401)
    refused(http.post("/auth/logout", content_type=JSON, headers=bearer(here["access_token"])), 401)
    assert works(http, there["access_token"])


def test_logging_out_everywhere_ends_all_pages_and_external_tokens_included(http: Http, ann: User) -> None:
    here, there = tokens_of(http), tokens_of(http)
    external = sealed(claims(ann, sub="ext|ann"), settings.SUPABASE_JWT_SECRET)
    timeless = sealed(claims(ann, sub="ext|ann", iat=None), settings.SUPABASE_JWT_SECRET)
    browser = Http()
    browser.force_login(ann)
    for token in (external, timeless):
        assert works(http, token)
    assert browser.get("/app/").status_code == 200
    answer = http.post("/auth/logout", {"everywhere": True}, content_type=JSON, headers=bearer(here["access_token"]))
    assert answer.status_code == 204
    for token in (here["access_token"], there["access_token"], external, timeless):
        assert not works(http, token)
    refused(refresh(http, there["refresh_token"]), 401)
    assert browser.get("/app/").status_code == 302
    assert works(http, tokens_of(http)["access_token"]), "a new login is good"
    later = sealed(claims(ann, sub="ext|ann", iat=int(timezone.now().timestamp()) + 2), settings.SUPABASE_JWT_SECRET)
    assert works(http, later), "and so is a newer external token"


def test_an_external_token_logs_out_all_of_its_time(http: Http, ann: User) -> None:
    external = sealed(claims(ann, sub="ext|ann"), settings.SUPABASE_JWT_SECRET)
    assert http.post("/auth/logout", content_type=JSON, headers=bearer(external)).status_code == 204
    assert not works(http, external)


def test_another_user_s_logins_go_on(http: Http, ann: User, desk: Client) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD, client=desk, role=Role.READ_ONLY)
    token = log_in(http, "bob").json()["access_token"]
    sessions.end_all(ann.pk, now=timezone.now())
    assert works(http, token)
    assert http.post("/auth/logout", content_type=JSON, headers=bearer(token)).status_code == 204, (
        "a reader may end the own session"
    )
    assert bob.login_sessions.get().ended_by == "logout"


def test_a_new_password_ends_what_the_old_one_began(http: Http, ann: User) -> None:
    before = tokens_of(http)
    browser = Http()
    browser.force_login(ann)
    form = SetPasswordForm(ann, {"new_password1": "quite another phrase", "new_password2": "quite another phrase"})
    assert form.is_valid(), form.errors
    form.save()
    assert not works(http, before["access_token"])
    refused(refresh(http, before["refresh_token"]), 401)
    assert browser.get("/app/").status_code == 302
    assert log_in(http, password="quite another phrase").status_code == 200


def test_the_deactivated_are_out_at_once(http: Http, ann: User, desk: Client) -> None:
    tokens = tokens_of(http)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert not works(http, tokens["access_token"])
    refused(refresh(http, tokens["refresh_token"]), 401)
    User.objects.filter(pk=ann.pk).update(is_active=True)
    again = tokens_of(http)
    Client.objects.filter(pk=desk.pk).update(is_active=False)
    assert not works(http, again["access_token"])
    refused(refresh(http, again["refresh_token"]), 401)


def test_an_operator_logs_somebody_out_from_the_admin(http: Http, ann: User) -> None:
    token = tokens_of(http)["access_token"]
    root = User.objects.create_superuser("root", password=PASSWORD, role=Role.OPERATOR)
    browser = Http()
    browser.force_login(root)
    path = f"/admin/tenants/user/{ann.pk}/log_out_everywhere/"
    assert b"Log out everywhere" in browser.get(f"/admin/tenants/user/{ann.pk}/change/").content
    assert browser.get(path).status_code == 200
    assert works(http, token), "asking is not doing"
    assert browser.post(path, {"confirmed": "yes"}).status_code == 302
    assert not works(http, token)
    operator = User.objects.create_user("op", password=PASSWORD, role=Role.OPERATOR, is_staff=True)
    browser.force_login(operator)
    assert browser.post(path, {"confirmed": "yes"}).status_code == 403, "who may sign in is for superusers"


def test_old_logins_are_forgotten(ann: User) -> None:
    now = timezone.now()
    kept, ended, outlived = (sessions.begin(ann, now=now) for _ in range(3))
    rows = list(LoginSession.objects.order_by("id"))
    LoginSession.objects.filter(pk=rows[1].pk).update(ended_at=now - timedelta(days=8))
    LoginSession.objects.filter(pk=rows[2].pk).update(ends_at=now - timedelta(days=8))
    assert sessions.forget(now=now) == 4
    assert [row.pk for row in LoginSession.objects.all()] == [rows[0].pk]
    assert sessions.refresh(kept.refresh, now=now).user == ann
    for tokens in (ended, outlived):
        with pytest.raises(sessions.Refused):
            sessions.refresh(tokens.refresh, now=now)
