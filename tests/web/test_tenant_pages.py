"""The pages of onboarding, brokers and parameters: who may, what is said, and that nothing secret is on them."""

import re
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from django.test import Client as Browser
from pydantic import SecretStr
from pytest_django import Settings

from tests.brokers.lockbox import lockbox as lockbox
from trading.audit.models import AuditEntry
from trading.brokers.base import Credentials
from trading.brokers.models import BrokerAccount
from trading.tenants.models import Client, Parameters, Role, User
from trading.web.credentials import inputs, payload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lockbox")]
GOOD = {
    "api_key": "key-canary",
    "api_secret": "right-secret-of-the-lockbox-canary",
    "host": "lockbox.example",
    "port": "443",
}
NEW = {"name": "Alpha Desk", "username": "ann", "password": "canary-of-the-password", "again": "canary-of-the-password"}


@pytest.fixture
def desk() -> Client:
    return Client.objects.create(name="Desk")


def browser_of(role: Role, client: Client | None, **options: Any) -> Browser:
    user = User.objects.create_user(f"{role}-{client}", role=role, client=client)
    browser = Browser(**options)
    browser.force_login(user)
    return browser


@pytest.fixture
def owner(desk: Client) -> Browser:
    return browser_of(Role.OWNER, desk)


def text_of(answer: Any) -> str:
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    found: str = answer.content.decode()
    return found


class TestOnboarding:
    @pytest.fixture(autouse=True)
    def _open(self, settings: Settings) -> Iterator[None]:
        settings.ALLOW_SELF_ONBOARDING = True
        yield

    def test_a_client_is_opened_and_its_owner_logs_in(self) -> None:
        browser = Browser(enforce_csrf_checks=True)
        assert "/app/onboarding" in browser.get("/login").content.decode()
        page = browser.get("/app/onboarding")
        assert "Open a client" in text_of(page)
        assert browser.post("/app/onboarding", NEW).status_code == 403
        form = {**NEW, "csrfmiddlewaretoken": page.cookies["csrftoken"].value}
        answer = browser.post("/app/onboarding", form)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/app/brokers")
        login = {**form, "next": "/app/brokers"}
        assert browser.post("/login", login).headers["Location"] == "/app/brokers"
        assert "Brokers of Alpha Desk" in text_of(browser.get("/app/brokers"))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"again": "another-password-1"}, "The two passwords differ."),
            ({"password": "short", "again": "short"}, "too short"),
            ({"name": "Desk"}, "This name is taken."),
            ({"username": "a b"}, "Must be letters"),
            ({"username": "a\x00b"}, "Null characters"),
        ],
    )
    def test_what_is_wrong_is_said_beside_its_field(self, desk: Client, change: dict[str, str], said: str) -> None:
        answer = Browser().post("/app/onboarding", {**NEW, **change})
        assert answer.status_code == 422
        found = answer.content.decode()
        assert said in found
        assert "canary-of-the-password" not in found
        assert Client.objects.count() == 1

    def test_there_is_no_such_page_where_onboarding_takes_a_key(self, settings: Settings) -> None:
        settings.ALLOW_SELF_ONBOARDING = False
        assert Browser().get("/app/onboarding").status_code == 404
        assert Browser().post("/app/onboarding", NEW).status_code == 404
        assert "/app/onboarding" not in Browser().get("/login").content.decode()
        assert not Client.objects.exists()


class TestBrokers:
    def test_the_owner_connects_tries_again_and_disconnects(
        self, owner: Browser, desk: Client, lockbox: ModuleType
    ) -> None:
        page = text_of(owner.get("/app/brokers/lockbox"))
        assert page.count('type="password"') == 2
        assert 'value="lockbox.example"' in page
        answer = owner.post("/app/brokers/lockbox", GOOD)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/app/brokers")
        account = BrokerAccount.objects.get()
        assert (account.client_id, account.status) == (desk.id, "connected")
        listed = text_of(owner.get("/app/brokers"))
        assert account.key in listed
        assert "canary" not in listed
        assert "canary" not in text_of(owner.get("/app/brokers/lockbox")), "what is stored is not filled in"
        lockbox.FAULT.append("down")
        assert owner.post("/app/brokers/lockbox/test").status_code == 302
        listed = text_of(owner.get("/app/brokers"))
        assert "no route, by [hidden]" in listed
        assert "Failed" in listed
        assert owner.post("/app/brokers/lockbox/disconnect").status_code == 302
        assert not BrokerAccount.objects.exists()
        actions = AuditEntry.objects.filter(client_id=desk.id).order_by("sequence").values_list("action", flat=True)
        assert list(actions) == ["broker.connected", "broker.disconnected"]
        assert owner.post("/app/brokers/lockbox/disconnect").status_code == 404
        assert owner.post("/app/brokers/lockbox/test").status_code == 404

    @pytest.mark.parametrize(
        ("change", "status", "said"),
        [
            ({"api_secret": "wrong-secret-canary"}, 502, "bad_credentials"),
            ({"api_secret": ""}, 422, "Field required"),
            ({"api_secret": "x"}, 422, "at least 4 items"),
            ({"port": "x"}, 422, "Must be a whole number."),
            ({"port": "22"}, 422, "QT_BROKER_HOSTS"),
            ({"host": "169.254.169.254"}, 422, "QT_BROKER_HOSTS"),
        ],
    )
    def test_what_is_wrong_is_said_and_no_secret_is_given_back(
        self, owner: Browser, change: dict[str, str], status: int, said: str
    ) -> None:
        answer = owner.post("/app/brokers/lockbox", {**GOOD, **change})
        assert answer.status_code == status
        found = answer.content.decode()
        assert said in found
        assert "canary" not in found
        assert not BrokerAccount.objects.exists()

    def test_a_failure_names_its_cause_and_whether_it_may_pass(self, owner: Browser, lockbox: ModuleType) -> None:
        wrong = owner.post("/app/brokers/lockbox", {**GOOD, "api_secret": "wrong"})
        assert "would be refused again" in wrong.content.decode()
        lockbox.FAULT[:] = ["elsewhere"]
        assert 'id="e_host">not listed' in owner.post("/app/brokers/lockbox", GOOD).content.decode()
        lockbox.FAULT[:] = ["down"]
        found = owner.post("/app/brokers/lockbox", GOOD).content.decode()
        assert "This may pass" in found
        assert "<code>down</code>" in found

    def test_only_an_owner_connects(self, desk: Client) -> None:
        for role in (Role.TRADER, Role.READ_ONLY, Role.OPERATOR):
            browser = browser_of(role, None if role == Role.OPERATOR else desk)
            for path in ("lockbox", "lockbox/test", "lockbox/disconnect"):
                assert browser.post(f"/app/brokers/{path}", GOOD).status_code == 403, role
            shown = browser.get(f"/app/brokers?client={desk.id}").content.decode()
            assert "Brokers of Desk" in shown
            assert "Connect</a>" not in shown
        assert Browser().get("/app/brokers").status_code == 302
        assert not BrokerAccount.objects.exists()

    def test_an_unknown_broker_is_not_there(self, owner: Browser) -> None:
        assert owner.get("/app/brokers/papyrus").status_code == 404
        assert owner.post("/app/brokers/papyrus", {}).status_code == 404

    def test_paper_asks_for_nothing(self, owner: Browser, desk: Client) -> None:
        assert "Nothing is asked for." in text_of(owner.get("/app/brokers/paper"))
        assert owner.post("/app/brokers/paper", {}).status_code == 302
        assert BrokerAccount.objects.get().credentials == ""


class TestParameters:
    @pytest.fixture(autouse=True)
    def _platform(self, settings: Settings) -> None:
        settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(1000)
        settings.QUANTUM_TRADER_SYMBOLS = ["AAA", "BBB"]

    def test_a_change_is_a_version_and_holds(self, owner: Browser, desk: Client) -> None:
        page = text_of(owner.get("/app/parameters"))
        assert "at most 1000.00" in page
        answer = owner.post("/app/parameters", {"max_order_size": "400", "symbols": "BBB, AAA", "max_orders": "3"})
        assert answer.status_code == 302
        version = Parameters.objects.get()
        assert (version.max_order_size, version.symbols, version.max_orders) == (Decimal(400), ["AAA", "BBB"], 3)
        page = text_of(owner.get("/app/parameters"))
        assert re.search(r"<strong>400\.00</strong>", page)
        assert "Size of one order: 400.00" in page
        assert owner.post("/app/parameters", {}).status_code == 302
        assert Parameters.objects.first().max_order_size is None  # type: ignore[union-attr]

    def test_what_is_not_allowed_is_said_and_kept_in_the_form(self, owner: Browser) -> None:
        answer = owner.post("/app/parameters", {"max_order_size": "<b>", "max_daily_loss": "7"})
        assert answer.status_code == 422
        page = answer.content.decode()
        assert "must be a number" in page
        assert "&lt;b&gt;" in page
        assert 'value="7"' in page
        assert not Parameters.objects.exists()

    def test_who_may(self, desk: Client) -> None:
        other = Client.objects.create(name="Other")
        for role in (Role.TRADER, Role.READ_ONLY):
            browser = browser_of(role, desk)
            assert browser.post("/app/parameters", {"max_orders": "1"}).status_code == 403
            assert "Save as" not in text_of(browser.get("/app/parameters"))
            assert "Other" not in text_of(browser.get(f"/app/parameters?client={other.id}"))
        operator = browser_of(Role.OPERATOR, None)
        assert "Choose a client" in text_of(operator.get("/app/parameters"))
        assert operator.post("/app/parameters", {"max_orders": "1"}).status_code == 404
        answer = operator.post(f"/app/parameters?client={other.id}", {"max_orders": "1"})
        assert answer.headers["Location"] == f"/app/parameters?client={other.id}"
        assert Parameters.objects.get().client_id == other.id


def test_a_form_is_drawn_from_any_model() -> None:
    class Many(Credentials):
        secret: SecretStr
        host: str
        maybe: str | None = None
        port: int = 7
        wait: float = 0.5
        testnet: bool = False
        names: dict[str, str] = {}

    fields = {
        field.name: field for field in inputs(Many, given={"secret": "canary", "host": "h"}, errors={"host": "no"})
    }
    assert {name: field.kind for name, field in fields.items()} == {
        "secret": "secret",
        "host": "text",
        "maybe": "text",
        "port": "integer",
        "wait": "number",
        "testnet": "flag",
        "names": "json",
    }
    assert (fields["secret"].value, fields["host"].value, fields["port"].value) == ("", "h", "7")
    assert [field.name for field in fields.values() if field.is_required] == ["secret", "host"]
    given = {"secret": " s ", "host": " h ", "port": "4002", "wait": "1.5", "testnet": "on", "names": '{"YM": "CBOT"}'}
    found = payload(Many, given)
    assert found == {"secret": " s ", "host": "h", "port": 4002, "wait": 1.5, "testnet": True, "names": {"YM": "CBOT"}}
    assert payload(Many, {"host": "", "maybe": " "}) == {"testnet": False}
    assert Many.model_validate(found).port == 4002
