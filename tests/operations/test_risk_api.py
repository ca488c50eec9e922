"""`/risk`, `/risk/kill-switch`, `/risk/reset` and `/admin/emergency-halt`."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as platform
from django.db import connection
from django.test import Client as Http
from pytest_django import Settings

from tests.execution.conftest import Venue, buy, intend, make_market, sell
from tests.security.conftest import bearer, refused
from trading.audit.models import AuditEntry
from trading.core import dials
from trading.core.scope import platform_scope
from trading.execution import services as execution
from trading.execution.models import Fill, OrderState
from trading.jobs.models import JobQueue, JobRun
from trading.operations import risk_api
from trading.risk import services as risk
from trading.risk.models import CancelOutcome, Guard, Halt, HaltedOrder, RiskAccount
from trading.tenants.models import Client, User

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal
TOKEN = {"X-Admin-Token": platform.QT_ADMIN_TOKEN}
KEY = {"X-Admin-Key": platform.ADMIN_API_KEY}
HALT = "/admin/emergency-halt"


@pytest.fixture(autouse=True)
def _platform(transactional_db: None, settings: Settings) -> None:
    JobQueue.objects.get_or_create(name="critical")
    Guard.objects.get_or_create(id=1)
    settings.QUANTUM_TRADER_SYMBOLS = ["AAA"]
    make_market({"AAA": (80, 100)})


@pytest.fixture
def http() -> Http:
    return Http(raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def desk() -> Client:
    return Client.objects.create(name="Desk")


def post(http: Http, path: str, body: Any, headers: dict[str, str]) -> Any:
    return http.post(path, body, content_type="application/json", headers=headers)


def switch(http: Http, enabled: Any, **headers: str) -> Any:
    return post(http, "/risk/kill-switch", {"enabled": enabled}, {**TOKEN, **headers})


def halt(http: Http, enabled: Any, reason: str = "drill", **headers: str) -> Any:
    return post(http, HALT, {"enabled": enabled, "reason": reason}, {**KEY, **headers})


def actions(client: Client | None) -> list[str]:
    chain = AuditEntry.objects.filter(client=client).order_by("id")
    return [entry.action for entry in chain if not entry.action.startswith(("order.", "run.", "risk.refused", "job."))]


def test_the_snapshot(http: Http, desk: Client, settings: Settings) -> None:
    settings.QT_MAX_GROSS_EXPOSURE = D(0)
    dials.change({"QT_MAX_DAILY_LOSS": "300"}, by="ops")
    told = http.get("/risk", headers=TOKEN).json()
    assert (told["kill_switch"], told["emergency_halt"], told["autonomous_enabled"]) == (False, False, True)
    assert told["limits"]["QT_MAX_DAILY_LOSS"] == "300"
    assert told["limits"]["QT_MAX_GROSS_EXPOSURE"] is None, "no limit"
    assert told["limits"]["QT_BREAKER_LOSS"] == "500"
    assert told["limits"]["QT_MARKET_HOURS"] is None
    assert set(platform.RISK_LIMITS) <= set(told["limits"])
    assert told["overrides"]["settings"] == {"QT_MAX_DAILY_LOSS": "300"}
    assert told["overrides"]["kill_switch"] is None
    # 25 % around the close before, 80.
    assert told["price_bounds"] == {"AAA": {"previous_close": "80", "lowest": "60", "highest": "100", "last": "100"}}
    assert told["trades"]["today"]["trades"] == 0


@pytest.mark.parametrize(("configured", "turned", "on"), [
    (False, None, False), (False, True, True), (False, False, False),
    (True, None, True), (True, True, True), (True, False, False),
])  # fmt: skip
def test_the_kill_switch_overrides_the_environment_until_it_is_given_back(
    http: Http, desk: Client, settings: Settings, configured: bool, turned: bool | None, on: bool
) -> None:
    settings.QT_KILL_SWITCH = configured
    told = switch(http, turned).json()
    assert (told["kill_switch"], told["overrides"]["kill_switch"]) == (on, turned)
    assert told["overrides"]["kill_switch_configured"] == configured
    (order,) = intend(desk, buy("1"))
    assert order.state == (OrderState.REFUSED if on else OrderState.INTENDED)
    if on:
        assert order.reason.startswith("kill_switch")
    told = switch(http, None).json()
    assert (told["kill_switch"], told["overrides"]["kill_switch"]) == (configured, None)


def test_a_kill_switch_that_is_on_stops_what_was_approved_before(http: Http, desk: Client) -> None:
    (order,) = intend(desk, buy("1"))
    switch(http, True)
    venue = Venue()
    assert execution.submit(order, venue, hold=execution.in_transaction).state == OrderState.WITHDRAWN
    assert venue.submissions == []


def test_each_turn_is_told_to_the_platform_and_to_every_client(http: Http, desk: Client) -> None:
    other = Client.objects.create(name="Other")
    switch(http, True)
    switch(http, None)
    halt(http, True)
    halt(http, False)
    post(http, "/risk/reset", {}, TOKEN)
    expected = ["kill_switch.enabled", "kill_switch.returned", "halt.enabled", "halt.lifted", "risk.reset"]
    for chain in (None, desk, other):
        assert actions(chain) == expected
    told = AuditEntry.objects.get(client=desk, action="halt.enabled")
    assert (told.actor, told.data) == ("admin_key", {"reason": "drill", "by": "admin_key"})


def test_a_reset_forgets_losses_breakers_and_the_override_but_no_halt(
    http: Http, desk: Client, settings: Settings
) -> None:
    settings.QT_MAX_DAILY_LOSS = D(100)
    settings.QT_MAX_PRICE_MOVE_PCT = D(90)
    for planned in (buy("5"), sell("5", price="50")):
        (order,) = intend(desk, planned)
        execution.submit(order, Venue(price=planned.price), hold=execution.in_transaction)
    now = datetime.now(UTC)
    Fill.objects.update(time=now)  # the venue of the tests books at a time of its own
    RiskAccount.objects.filter(client=desk).update(tripped_at=now)
    (order,) = intend(desk, buy("1"))
    assert order.reason.startswith("QT_MAX_DAILY_LOSS")
    told = http.get("/risk", headers=TOKEN).json()
    assert (told["trades"]["today"]["trades"], told["trades"]["today"]["realised_pnl"]) == (2, "-251.00")
    assert told["trades"]["today"]["losses"] == 1
    assert [row["client_id"] for row in told["overrides"]["circuit_breakers"]] == [str(desk.id)]
    switch(http, True)
    halt(http, True)
    told = post(http, "/risk/reset", {}, TOKEN).json()
    assert (told["kill_switch"], told["overrides"]["kill_switch"]) == (False, None)
    assert told["trades"]["today"]["trades"] == 0
    assert told["overrides"]["circuit_breakers"] == []
    assert told["emergency_halt"], "a reset lifts no halt"
    halt(http, False)
    (order,) = intend(desk, buy("1"))
    assert order.state == OrderState.INTENDED, order.reason


def test_a_halt_and_its_end(http: Http, desk: Client) -> None:
    assert http.get(HALT, headers=KEY).json() == {
        "enabled": False, "reason": "", "by": "", "since": None, "settled_at": None, "lifted_at": None,
        "lifted_by": "", "cancels": None,
    }  # fmt: skip
    told = halt(http, True, "the model has gone mad").json()
    assert (told["enabled"], told["reason"], told["by"]) == (True, "the model has gone mad", "admin_key")
    assert told["since"] <= told["settled_at"]
    assert told["cancels"]["run_id"] == str(JobRun.objects.get(job="emergency-cancel").id)
    by_person = intend(desk, buy("1"))[0]
    assert by_person.reason.startswith("emergency_halt")
    told = halt(http, False).json()
    assert (told["enabled"], told["lifted_by"]) == (False, "admin_key")
    assert http.get(HALT, headers=KEY).json() == told
    assert intend(desk, buy("1"))[0].state == OrderState.INTENDED


def test_while_an_order_is_being_sent_a_halt_holds_but_is_not_answered(
    http: Http, desk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(risk_api, "PATIENCE", timedelta(seconds=0.2))
    inside, may_go = threading.Event(), threading.Event()

    @platform_scope()
    def send() -> None:
        with closing(connection), risk.sending():
            inside.set()
            may_go.wait(10)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        assert inside.wait(10)
        detail = refused(halt(http, True), 503, "still_sending")
        assert detail["retryable"] is True
        assert Guard.objects.get().halted
        assert http.get(HALT, headers=KEY).json()["settled_at"] is None
        may_go.set()
        sending.result(10)
    assert halt(http, True).json()["settled_at"] is not None
    assert Halt.objects.count() == 1


def test_the_same_key_has_no_second_effect(http: Http, desk: Client) -> None:
    once = {"Idempotency-Key": "lift-1"}
    halt(http, True)
    first = halt(http, False, **once)
    halt(http, True, "again")
    again = halt(http, False, **once)
    assert (again.status_code, again.json()) == (200, first.json())
    assert Guard.objects.get().halted, "an old request to lift a halt lifts no later one"
    refused(halt(http, True, **once), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/risk/kill-switch", {}),
        ("/risk/kill-switch", {"enabled": "true"}),
        ("/risk/kill-switch", {"enabled": 1}),
        ("/risk/kill-switch", {"enabled": True, "other": 1}),
        ("/risk/kill-switch", []),
        ("/risk/reset", {"all": True}),
        (HALT, {}),
        (HALT, {"enabled": None}),
        (HALT, {"enabled": "yes"}),
        (HALT, {"enabled": True, "reason": 7}),
        (HALT, {"enabled": True, "reason": "x" * 201}),
        (HALT, {"enabled": True, "reason": "a\u0000b"}),
    ],
)
def test_what_is_wrong_turns_nothing(http: Http, path: str, body: Any) -> None:
    before = Guard.objects.values().get()
    refused(post(http, path, body, KEY if path == HALT else TOKEN), 422, "validation_error")
    assert Guard.objects.values().get() == before


def test_a_key_that_is_none_turns_nothing(http: Http) -> None:
    refused(switch(http, True, **{"Idempotency-Key": "two words"}), 422, "validation_error")
    assert Guard.objects.get().kill_switch is None


def test_who_may(http: Http, desk: Client) -> None:
    operator = bearer(User.objects.create_user("op", role="operator"))
    for path, ours, others in (("/risk", TOKEN, KEY), (HALT, KEY, TOKEN)):
        refused(http.get(path), 401)
        refused(http.get(path, headers=dict.fromkeys(ours, "wrong")), 401)
        refused(http.get(path, headers=others), 403)
        refused(http.get(path, headers=operator), 403)
        assert "you are asking as operator" in http.get(path, headers=operator).json()["detail"]["message"]
        assert "send a token" in http.get(path).json()["detail"]["message"]
        assert http.get(path, headers=ours).status_code == 200


def test_without_its_row_the_guard_says_so_and_a_halt_still_holds(http: Http, desk: Client) -> None:
    Guard.objects.all().delete()
    refused(http.get("/risk", headers=TOKEN), 503, "state_unreadable")
    refused(http.get(HALT, headers=KEY), 503, "state_unreadable")
    assert halt(http, True).json()["enabled"] is True
    assert intend(desk, buy("1"))[0].reason.startswith("emergency_halt")


def test_metrics_tell_of_the_guard(http: Http, desk: Client, settings: Settings) -> None:
    settings.QT_KILL_SWITCH = True
    intend(desk, buy("1"))
    RiskAccount.objects.update(tripped_at=datetime.now(UTC))
    halt(http, True)
    HaltedOrder.objects.create(
        halt=Halt.objects.get(), client=desk, broker="mock", order="x", outcome=CancelOutcome.CONFIRMED
    )
    told = http.get("/metrics", headers=TOKEN).content.decode()
    for line in (
        "risk_kill_switch 1.0",
        'risk_refusals{limit="kill_switch"} 1.0',
        "risk_breakers_open 1.0",
        'risk_halt_orders{outcome="confirmed"} 1.0',
        'risk_halt_orders{outcome="not_confirmed"} 0.0',
    ):
        assert line in told
