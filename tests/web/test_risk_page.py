"""The page of the guard: what it shows to whom, and its switches."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client as Browser
from pytest_django import Settings

from tests.execution.conftest import Venue, buy, intend, make_market
from trading.execution import services as execution
from trading.execution.limits_in_use import limits_in_use
from trading.jobs.models import JobQueue
from trading.risk.models import CancelOutcome, Guard, Halt, HaltedOrder
from trading.risk.switches import set_switches
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal


@pytest.fixture(autouse=True)
def _platform(transactional_db: None, settings: Settings) -> None:
    JobQueue.objects.get_or_create(name="critical")
    Guard.objects.get_or_create(id=1)
    make_market({"AAA": (100, 100)})
    settings.QT_MAX_GROSS_EXPOSURE = D(1000)
    settings.QT_MAX_NET_DELTA = D(0)


@pytest.fixture
def desk() -> Client:
    client = Client.objects.create(name="Desk")
    for planned in (buy("4"), buy("2")):
        (order,) = intend(client, planned)
        execution.submit(order, Venue(), hold=execution.in_transaction)
    intend(client, buy("3"))
    return client


def browser_of(role: Role, client: Client | None = None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user(f"{role}", role=role, client=client))
    return browser


def text_of(answer: Any) -> str:
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    found: str = answer.content.decode()
    return found


def test_the_use_of_each_limit(desk: Client, settings: Settings) -> None:
    """Six are held and three reserved, at 100 each; each fill has cost 0.50."""
    used = {one.name: (one.used, one.share) for one in limits_in_use(desk.id)}
    assert used["QT_MAX_GROSS_EXPOSURE"] == (900, 90)
    assert used["QT_MAX_NET_DELTA"] == (900, None)
    assert used["QT_MAX_OPEN_LEGS"] == (1, 5)
    assert used["QT_MAX_NOTIONAL_PER_TRADE"] == (None, None)
    assert used["QT_BREAKER_LOSSES"] == (0, 0)
    settings.RISK_LIMITS = (*settings.RISK_LIMITS, "QT_MAX_NOTHING")
    assert "no module" in limits_in_use(desk.id)[-1].problem
    meanings = {one.name: one.meaning for one in limits_in_use(desk.id)}
    assert meanings["QT_MARKET_HOURS"] == "Nothing is traded while the market is closed."  # as its module says
    assert meanings["QT_MAX_NOTHING"] == ""
    settings.QT_MARKET_HOURS = "sometimes"
    assert all("must look like" in one.problem for one in limits_in_use(desk.id))


def test_money_has_two_decimals_and_a_count_has_none(desk: Client) -> None:
    (order,) = intend(desk, buy("0.00070569"))
    execution.submit(order, Venue(), hold=execution.in_transaction)
    page = text_of(browser_of(Role.READ_ONLY, desk).get("/app/risk"))
    cells = {row.split("<", 1)[0]: row for row in page.split('<th scope="row">')[1:]}
    assert '<td class="n">900.07</td>' in cells["Net delta"]
    assert '<td class="n">1</td>' in cells["Symbols held"]


def test_a_client_sees_its_own_limits_and_no_switch(desk: Client) -> None:
    other = Client.objects.create(name="Other Desk")
    browser = browser_of(Role.READ_ONLY, desk)
    page = text_of(browser.get("/app/risk"))
    assert "Risk of Desk" in page
    assert 'value="90" aria-label="Share used: Gross exposure"' in page
    for path in ("/app/", "/app/risk", "/app/parameters"):  # one limit, one name, with its setting where it is shown
        assert "Size of one order" in text_of(browser.get(path))
    assert "<code>QT_MAX_NOTIONAL_PER_TRADE</code>" in page
    assert "Other Desk" not in page
    assert "risk/switch" not in page
    assert browser.get(f"/app/risk?client={other.id}").content.count(b"Other Desk") == 0
    assert browser_of(Role.OWNER, desk).post("/app/risk/switch", {"action": "kill"}).status_code == 403
    assert not Guard.objects.get().kills


def test_an_operator_halts_by_its_word_and_sees_what_was_cancelled(desk: Client) -> None:
    browser = browser_of(Role.OPERATOR)
    page = text_of(browser.get("/app/risk"))
    assert "Halt everything" in page
    assert "Desk" in page
    answer = browser.post("/app/risk/switch", {"action": "halt", "reason": "drill", "word": "stop"}, follow=True)
    assert "type HALT" in text_of(answer)
    assert not Guard.objects.get().halted
    answer = browser.post("/app/risk/switch", {"action": "halt", "reason": "drill", "word": "halt"}, follow=True)
    assert "The guard is halted now." in text_of(answer)
    halt = Halt.objects.get()
    assert (halt.reason, halt.by) == ("drill", "operator")
    for number, outcome in enumerate((CancelOutcome.CONFIRMED, CancelOutcome.CONFIRMED, CancelOutcome.NOT_CONFIRMED)):
        HaltedOrder.objects.create(
            halt=halt, client=desk, broker="mock", order=f"qt-{number}", symbol="AAA", outcome=outcome, why="down"
        )
    page = text_of(browser.get("/app/risk"))
    assert "<dt>Cancels confirmed</dt><dd>2</dd>" in page
    assert "<dt>Not confirmed</dt><dd>1</dd>" in page
    assert "qt-2" in page
    assert "qt-1" not in page
    browser.post("/app/risk/switch", {"action": "lift"})
    assert not Guard.objects.get().halted


@pytest.mark.parametrize(
    ("action", "kill_switch"), [("kill", True), ("revive", False), ("return", None), ("reset", None)]
)
def test_the_other_switches(desk: Client, action: str, kill_switch: bool | None) -> None:
    set_switches(kill_switch=not kill_switch)
    browser_of(Role.OPERATOR).post("/app/risk/switch", {"action": action})
    assert Guard.objects.get().kill_switch is kill_switch


def test_what_is_pasted_beside_a_switch_does_not_keep_it_from_turning(desk: Client) -> None:
    browser = browser_of(Role.OPERATOR)
    answer = browser.post("/app/risk/switch", {"action": "halt", "reason": "fat\x00 finger ", "word": "halt"})
    assert answer.status_code == 302
    assert (Guard.objects.get().halted, Halt.objects.get().reason) == (True, "fat finger")
    assert browser.get("/app/risk?after=%00").status_code == 200


def test_a_switch_that_does_not_exist_turns_nothing(desk: Client) -> None:
    assert browser_of(Role.OPERATOR).post("/app/risk/switch", {"action": "everything"}).status_code == 404


def test_without_its_row_the_page_says_so(desk: Client) -> None:
    Guard.objects.all().delete()
    assert "State unreadable" in text_of(browser_of(Role.OPERATOR).get("/app/risk"))
