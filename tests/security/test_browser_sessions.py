"""Sessions of the pages and the admin: cookies, CSRF, rotation, the end, and where a login leads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.contrib.sessions.models import Session
from django.test import Client as Http
from django.utils import timezone

from runtime.secrets import CRITICAL
from tests.security.conftest import PASSWORD
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def browser() -> Http:
    return Http(enforce_csrf_checks=True)


def log_in(browser: Http, **form: str) -> int:
    page = browser.get("/login")
    form = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": page.cookies["csrftoken"].value, **form}
    return browser.post("/login", form).status_code


def test_the_cookies_are_for_this_site_and_not_for_scripts(browser: Http, ann: User) -> None:
    assert log_in(browser) == 302
    for name in ("sessionid", "csrftoken"):
        cookie = browser.cookies[name]
        assert cookie["httponly"], name
        assert cookie["samesite"] == "Lax", name
        assert cookie["path"] == "/", name
        assert not cookie["domain"], name
    assert int(browser.cookies["sessionid"]["max-age"]) == 12 * 3600


def test_a_login_has_a_new_session_and_a_new_csrf_token(browser: Http, ann: User) -> None:
    page = browser.get("/login")
    session = browser.session
    session["planted"] = "by an attacker"
    session.save()
    planted, before = session.session_key, page.cookies["csrftoken"].value
    assert log_in(browser) == 302
    assert browser.cookies["sessionid"].value != planted
    assert browser.cookies["csrftoken"].value != before
    other = Http()
    other.cookies["sessionid"] = planted
    assert other.get("/app/").status_code == 302, "the planted session is nobody's"
    assert not Session.objects.filter(session_key=planted).exists()


def test_another_user_s_login_leaves_nothing_of_the_one_before(browser: Http, ann: User, desk: Client) -> None:
    User.objects.create_user("bob", password=PASSWORD, client=desk, role=Role.TRADER)
    assert log_in(browser) == 302
    session = browser.session
    session["of"] = "ann"
    session.save()
    assert log_in(browser, username="bob") == 302
    assert "of" not in browser.session


def test_logging_out_ends_the_session_on_the_server(browser: Http, ann: User) -> None:
    log_in(browser)
    copied = browser.cookies["sessionid"].value
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout").status_code == 403, "a page elsewhere logs nobody out"
    token = browser.cookies["csrftoken"].value
    assert browser.post("/logout", {"csrfmiddlewaretoken": token}).status_code == 302
    thief = Http()
    thief.cookies["sessionid"] = copied
    assert thief.get("/app/").status_code == 302
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    "url", ["/login", "/app/runs/00000000-0000-7000-8000-000000000001/retry", "/logout", "/admin/jobs/jobqueue/"]
)
def test_no_form_is_taken_without_its_token(browser: Http, ann: User, url: str) -> None:
    browser.force_login(ann)
    assert browser.post(url, {}).status_code == 403
    browser.get("/login")
    assert browser.post(url, {"csrfmiddlewaretoken": "x" * 64}).status_code == 403


def test_a_token_from_another_origin_is_not_enough(browser: Http, ann: User) -> None:
    page = browser.get("/login")
    form = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": page.cookies["csrftoken"].value}
    assert browser.post("/login", form, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/login", form, headers={"Origin": "null"}).status_code == 403
    assert browser.post("/login", form, headers={"Origin": "http://testserver"}).status_code == 302


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
     "http:evil.example", "https:///evil.example", "javascript:alert(1)", "data:text/html,x", "//evil\\@testserver",
     "http://testserver@evil.example/", "\t//evil.example", "/\t/evil.example", "https://testserver.evil.example/",
     "\x00//evil.example", "ftp://testserver/"],
)  # fmt: skip
def test_a_login_leads_nowhere_else(browser: Http, ann: User, elsewhere: str) -> None:
    assert browser.get("/login", {"next": elsewhere}).status_code == 400
    assert log_in(browser, next=elsewhere) == 400
    assert "sessionid" not in browser.cookies, "and nobody has been logged in by it"
    admin = browser.get("/admin/login/", {"next": elsewhere})
    assert admin.status_code == 302
    assert admin["Location"].startswith("/login?next=")
    assert browser.get(admin["Location"]).status_code == 400


@pytest.mark.parametrize("inside", ["/app/runs", "/admin/jobs/jobrun/?state=failed", "/app/?client=x#y"])
def test_a_login_leads_back_inside(browser: Http, ann: User, inside: str) -> None:
    page = browser.get("/login", {"next": inside})
    form = {"username": "ann", "password": PASSWORD, "next": inside}
    form["csrfmiddlewaretoken"] = page.cookies["csrftoken"].value
    assert browser.post("/login", form)["Location"] == inside


def test_logging_out_leads_nowhere_else(ann: User) -> None:
    browser = Http()
    browser.force_login(ann)
    assert browser.post("/logout", {"next": "https://evil.example/"})["Location"] == "/login"


@pytest.mark.parametrize("path", ["/%2f/evil.example", "/%2f%2fevil.example/", "/\\evil.example"])
def test_no_path_redirects_elsewhere(browser: Http, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 404
    assert "Location" not in answer.headers


def test_a_session_ends_with_its_time_its_user_and_its_client(ann: User, desk: Client) -> None:
    browser = Http()
    browser.force_login(ann)
    assert browser.get("/app/").status_code == 200
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert browser.get("/app/").status_code == 302
    User.objects.filter(pk=ann.pk).update(is_active=True)
    Client.objects.filter(pk=desk.pk).update(is_active=False)
    assert browser.get("/app/").status_code == 302
    Client.objects.filter(pk=desk.pk).update(is_active=True)
    assert browser.get("/app/").status_code == 200
    Session.objects.update(expire_date=timezone.now())
    assert browser.get("/app/").status_code == 302


def test_sessions_hold_json_and_live_in_the_database() -> None:
    assert configured.SESSION_ENGINE == "trading.tenants.session_store", "Redis's loss logs nobody out"
    assert configured.SESSION_SERIALIZER.endswith("JSONSerializer"), "a pickle could run code"


def test_an_owner_is_no_operator(ann: User) -> None:
    browser = Http()
    browser.force_login(ann)
    answer = browser.get("/admin/")
    assert answer.status_code == 302
    User.objects.filter(pk=ann.pk).update(is_staff=True, is_superuser=True)
    assert browser.get("/admin/").status_code == 302, "it is the role that counts"


def test_production_takes_cookies_over_tls_alone_and_has_no_debugging(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings as s; import django; django.setup();"
        "from django.urls import resolve, Resolver404;"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME,"
        " s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.DEBUG, s.APP_ENV)\n"
        "try:\n    resolve('/__auth_debug'); print('there')\nexcept Resolver404:\n    print('absent')\n"
    )
    environment = {
        **os.environ,
        **{name: f"{number}-Zk3vQ9xT1mB7nH5cR8wL2yD6fJ4sA0pG" for number, name in enumerate(CRITICAL)},
        "DJANGO_SETTINGS_MODULE": "config.settings.production",
        "QT_DATA_DIR": str(tmp_path),
        "ENABLE_DEV_AUTH_BYPASS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split("\n")[:2] == [
        "True True __Host-sessionid __Host-csrftoken 31536000 True False production",
        "absent",
    ], done.stderr
