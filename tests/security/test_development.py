"""The development header and its three conditions, and the two routes that say who is there."""

import pytest
from django.conf import settings as configured
from django.test import Client as Http
from pytest_django import Settings

from tests.security.conftest import bearer, refused
from trading.core.peers import FORWARDED
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db
PATH = "/jobs/runs"
HEADER = {"X-Test-Mode-User": "ann"}


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.ENABLE_DEV_AUTH_BYPASS = True
    settings.APP_ENV = "development"


def test_with_all_three_it_works(http: Http, ann: User) -> None:
    assert http.get(PATH, headers=HEADER).status_code == 200
    assert http.get(PATH, headers=HEADER, REMOTE_ADDR="::1").status_code == 200
    assert http.get(PATH, headers=HEADER, REMOTE_ADDR="127.8.8.8").status_code == 200


def test_not_in_production(http: Http, ann: User, settings: Settings) -> None:
    settings.APP_ENV = "production"
    refused(http.get(PATH, headers=HEADER), 401)
    refused(http.get("/__auth_debug", headers=HEADER), 404, "not_found")
    refused(http.get("/__auth_debug", headers=bearer(ann)), 404, "not_found")
    refused(http.get("/__auth_debug", headers=bearer("x")), 404, "not_found")
    refused(http.post("/__auth_debug"), 404, "not_found")


def test_not_unless_it_is_switched_on(http: Http, ann: User, settings: Settings) -> None:
    settings.ENABLE_DEV_AUTH_BYPASS = False
    refused(http.get(PATH, headers=HEADER), 401)


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "192.168.1.1", "169.254.0.1", "::ffff:10.0.0.1", "fe80::1", "", "localhost", "0.0.0.0"]
)
def test_not_from_elsewhere(http: Http, ann: User, peer: str) -> None:
    refused(http.get(PATH, headers=HEADER, REMOTE_ADDR=peer), 401)


@pytest.mark.parametrize(
    "name", [*FORWARDED, "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Anything"]
)
@pytest.mark.parametrize("value", ["127.0.0.1", "for=127.0.0.1", ""])
def test_not_through_a_proxy(http: Http, ann: User, name: str, value: str) -> None:
    refused(http.get(PATH, headers={**HEADER, name: value}), 401)


def test_a_trusted_proxy_changes_nothing_about_that(http: Http, ann: User, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]
    refused(http.get(PATH, headers={**HEADER, "X-Forwarded-For": "127.0.0.1"}), 401)


@pytest.mark.parametrize("name", ["", "nobody", "ANN", "ann ", "1", "ann\x00", "*", "ann,ann"])
def test_for_nobody_but_the_one_who_is_named(http: Http, ann: User, name: str) -> None:
    refused(http.get(PATH, headers={"X-Test-Mode-User": name}), 401)


def test_a_bad_token_beside_it_is_refused(http: Http, ann: User) -> None:
    refused(http.get(PATH, headers={**HEADER, **bearer("a.b.c")}), 401)


def test_it_is_as_bound_as_its_user(http: Http, ann: User, desk: Client) -> None:
    User.objects.filter(pk=ann.pk).update(role=Role.READ_ONLY)
    run = "00000000-0000-7000-8000-000000000001"
    refused(http.post(f"/jobs/runs/{run}/cancel", headers=HEADER), 403, "forbidden")
    Client.objects.filter(pk=desk.pk).update(is_active=False)
    refused(http.get(PATH, headers=HEADER), 401)


def test_how_a_request_was_authenticated_is_said_without_a_secret(http: Http, ann: User) -> None:
    def asked(**headers: str) -> dict[str, object]:
        answer = http.get("/__auth_debug", headers={name.replace("_", "-"): value for name, value in headers.items()})
        text = answer.content.decode()
        for secret in (configured.CRON_SECRET, configured.ADMIN_API_KEY, *headers.values()):
            assert secret == "ann" or secret not in text
        found: dict[str, object] = answer.json()
        return found

    nobody = {"authenticated": False, "by": None, "user": None, "role": None, "client_id": None}
    somebody = {"authenticated": True, "user": "ann", "role": "owner", "client_id": str(ann.client_id)}
    assert asked() == nobody
    assert asked(**bearer(ann)) == {**somebody, "by": "jwt"}
    assert asked(X_Test_Mode_User="ann") == {**somebody, "by": "development"}
    assert asked(X_Cron_Secret=configured.CRON_SECRET)["by"] == "cron"
    assert asked(X_Admin_Key=configured.ADMIN_API_KEY)["by"] == "admin_key"
    http.force_login(ann)
    assert asked() == {**somebody, "by": "session"}


def test_what_answers_says_its_name_and_no_more(http: Http) -> None:
    assert http.get("/__whoami").json() == {"server": "quantum-trader", "version": configured.VERSION}
