"""What answers carry, who may read them from elsewhere, and that errors keep their form and tell nothing."""

import re
from typing import Any

import pytest
from django.conf import settings as configured
from django.http import HttpRequest
from django.test import Client as Http
from django.test import override_settings
from django.urls import path
from pytest_django import Settings

from config.urls import urlpatterns as real
from tests.security.conftest import JSON, bearer, refused
from trading.core.headers import ADMIN_POLICY, API_POLICY, PAGE_POLICY
from trading.tenants.models import Role, User

pytestmark = pytest.mark.django_db
ORIGIN = "https://desk.example"
ALL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def boom(request: HttpRequest) -> None:
    raise RuntimeError("secret detail of the inside")


urlpatterns = [path("admin/emergency-halt", boom), path("boom", boom), path("app/boom", boom), *real]


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("/health", API_POLICY),
        ("/jobs/runs", API_POLICY),
        ("/nope", API_POLICY),
        ("/api/schema", API_POLICY),
        ("/api/docs", PAGE_POLICY),
        ("/login", PAGE_POLICY),
        ("/app/nope", PAGE_POLICY),
        ("/admin/", ADMIN_POLICY),
    ],
)
def test_every_answer_carries_them(http: Http, url: str, policy: str) -> None:
    answer = http.get(url)
    assert answer["Content-Security-Policy"] == policy
    for name, value in ALL.items():
        assert answer[name] == value, name
    assert "camera=()" in answer["Permissions-Policy"]
    assert "no-store" in answer["Cache-Control"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer["X-Request-ID"])
    assert not {"server", "x-powered-by"} & {name.lower() for name in answer.headers}


def test_what_the_policies_allow() -> None:
    for policy in (API_POLICY, PAGE_POLICY, ADMIN_POLICY):
        assert policy.startswith("default-src 'none';")
        for word in ("http:", "https:", "*", "blob:"):
            assert word not in policy
        assert "frame-ancestors 'none'" in policy
        scripts = re.search(r"script-src ([^;]*)", policy)
        assert scripts is None or "unsafe-inline" not in scripts.group(1)
    assert "unsafe" not in API_POLICY + PAGE_POLICY
    assert ADMIN_POLICY.count("unsafe") == 2, "what the admin's theme needs, and no more: docs/security.md"


def test_no_page_has_a_script_or_an_event_handler_written_in_it(ann: User) -> None:
    browser = Http()
    browser.force_login(User.objects.create_superuser("root", password="x", role=Role.OPERATOR))
    for url in (
        "/login",
        "/app/",
        "/app/runs",
        "/admin/",
        "/admin/jobs/jobrun/",
        "/admin/tenants/user/add/",
        "/api/docs",
    ):
        page = browser.get(url).content.decode()
        for tag in re.findall(r"<script\b[^>]*>", page):
            assert "src=" in tag or "application/json" in tag, (url, tag)
        assert not re.search(r"<[a-z][^>]*\son(click|change|load|submit|error|input)=", page), url
        assert "javascript:" not in page, url
        for address in re.findall(r'(?:src|href|action)="(https?://[^"]*)"', page):
            assert address.startswith("http://127.0.0.1"), (url, address)


def test_the_docs_load_nothing_from_elsewhere(http: Http) -> None:
    page = http.get("/api/docs").content.decode()
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 5
    assert all(file.startswith(("/static/", "/api/docs?")) for file in files)
    for file in files:
        answer = http.get(file.replace("&amp;", "&"))
        assert answer.status_code == 200, file
        answer.close()
    assert "<style" not in page
    assert 'url: "/api/schema"' in http.get("/api/docs?script=").content.decode()


class TestCors:
    @pytest.fixture(autouse=True)
    def _listed(self, settings: Settings) -> None:
        settings.CORS_ALLOWED_ORIGINS = [ORIGIN]

    def preflight(self, http: Http, origin: str, url: str = "/jobs/runs", method: str = "GET") -> Any:
        return http.options(url, headers={"Origin": origin, "Access-Control-Request-Method": method})

    def test_a_listed_origin_may_read_the_api(self, http: Http, ann: User) -> None:
        asked = self.preflight(http, ORIGIN)
        assert asked["Access-Control-Allow-Origin"] == ORIGIN
        assert "authorization" in asked["Access-Control-Allow-Headers"]
        assert "idempotency-key" in asked["Access-Control-Allow-Headers"]
        answer = http.get("/jobs/runs", headers={**bearer(ann), "Origin": ORIGIN})
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        assert "retry-after" in answer["Access-Control-Expose-Headers"]

    @pytest.mark.parametrize(
        "origin",
        ["https://evil.example", "null", "*", "https://desk.example.evil.example", "http://desk.example",
         "https://desk.example:444", "https://DESK.example.", ""],
    )  # fmt: skip
    def test_no_other_may(self, http: Http, ann: User, origin: str) -> None:
        for answer in (
            self.preflight(http, origin),
            http.get("/jobs/runs", headers={**bearer(ann), "Origin": origin}),
        ):
            assert "Access-Control-Allow-Origin" not in answer.headers

    def test_with_nothing_listed_none_may(self, http: Http, settings: Settings) -> None:
        settings.CORS_ALLOWED_ORIGINS = []
        assert "Access-Control-Allow-Origin" not in self.preflight(http, ORIGIN).headers

    def test_cookies_are_never_sent_along_and_keys_not_asked_for(self, http: Http) -> None:
        asked = self.preflight(http, ORIGIN)
        assert "Access-Control-Allow-Credentials" not in asked.headers
        assert "x-admin" not in asked["Access-Control-Allow-Headers"]

    @pytest.mark.parametrize("url", ["/login", "/app/", "/admin/", "/logout", "/"])
    def test_pages_are_not_for_other_origins(self, http: Http, url: str) -> None:
        assert "Access-Control-Allow-Origin" not in http.get(url, headers={"Origin": ORIGIN}).headers

    def test_other_methods_are_not_offered(self, http: Http) -> None:
        assert set(self.preflight(http, ORIGIN)["Access-Control-Allow-Methods"].split(", ")) == {
            "GET", "POST", "DELETE", "OPTIONS",
        }  # fmt: skip


class TestErrors:
    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND"])
    def test_another_verb(self, http: Http, ann: User, method: str) -> None:
        refused(http.generic(method, "/jobs/runs", headers=bearer(ann)), 405, "method_not_allowed")
        refused(http.generic(method, "/jobs/runs"), 401, "not_authenticated")

    @pytest.mark.parametrize("override", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
    def test_no_header_changes_the_verb(self, http: Http, ann: User, override: str) -> None:
        assert http.get("/jobs/runs", headers={**bearer(ann), override: "POST"}).status_code == 200
        refused(http.post("/jobs/runs?_method=GET", headers={**bearer(ann), override: "GET"}), 405)

    @pytest.mark.parametrize(
        "kind",
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
         "application/json-patch+json", "text/json", ""],
    )  # fmt: skip
    def test_another_media_type(self, http: Http, kind: str) -> None:
        answer = http.generic("POST", "/auth/login", b'{"username":"a","password":"b"}', content_type=kind)
        refused(answer, 415, "unsupported_media_type")

    @pytest.mark.parametrize("accept", ["text/html", "application/xml", "text/csv"])
    def test_the_answer_is_json_whatever_is_asked_for(self, http: Http, accept: str) -> None:
        refused(http.get("/jobs/runs", headers={"Accept": accept}), 406, "not_acceptable")

    @override_settings(ROOT_URLCONF=__name__)
    def test_what_fails_inside_stays_there(self, http: Http) -> None:
        for url in ("/boom", "/admin/emergency-halt"):
            answer = http.get(url)
            refused(answer, 500, "internal_error")
            assert b"secret detail" not in answer.content
        page = http.get("/app/boom")
        assert page.status_code == 500
        assert b"secret detail" not in page.content

    def test_a_session_s_request_from_elsewhere_is_refused_in_json(self, http: Http, ann: User) -> None:
        http.force_login(ann)
        refused(http.post("/auth/logout", {}, content_type=JSON), 403, "forbidden")
        refused(http.post("/metrics", {}, content_type=JSON), 403, "forbidden")
        assert http.get("/jobs/runs").status_code == 200, "the session goes on"

    def test_debug_is_off_however_it_is_asked_for(self) -> None:
        assert configured.DEBUG is False


@pytest.mark.parametrize("name", ["bad_request", "forbidden", "not_found", "failed"])
def test_django_s_own_handlers_are_replaced(name: str) -> None:
    from config import urls

    handlers = {urls.handler400, urls.handler403, urls.handler404, urls.handler500}
    assert f"trading.core.errors.{name}" in handlers
