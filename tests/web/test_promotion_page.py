"""Promotion from the pages: the verdict with what to do next, the button with its confirmation, and taking it back."""

import json
import os
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Browser
from pytest_django.live_server_helper import LiveServer

from tests.backtests.test_page import browser_of
from tests.backtests.test_promotions import GOOD, LEAKING, store, wave
from tests.browser import chromium
from tests.jobs.conftest import Hands
from trading.backtests import services
from trading.backtests.models import Promotion, Run
from trading.jobs.models import JobQueue
from trading.tenants.models import Client, Role

pytestmark = pytest.mark.django_db(transaction=True)
HALVES = {**GOOD, "strategy": {"name": "dual_sma", "params": {"fast": 3, "slow": 12}}}


@pytest.fixture(autouse=True)
def _platform(transactional_db: None, settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.QT_ARTIFACTS_DIR = str(tmp_path / "artifacts")
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    store("WAVE", wave())
    yield


@pytest.fixture
def alpha(transactional_db: None) -> Client:
    return Client.objects.create(name="Alpha")


@pytest.fixture
def beta(transactional_db: None) -> Client:
    return Client.objects.create(name="Beta")


@pytest.fixture
def owner(alpha: Client) -> Browser:
    return browser_of(alpha, Role.OWNER)


def run_of(browser: Browser, body: dict[str, Any] = HALVES) -> str:
    """The page of a finished run."""
    answer = browser.post("/app/backtests", {"config": json.dumps(body)})
    assert answer.status_code == 302, answer.content
    Hands().work_off()
    return str(answer["Location"])


def text_of(browser: Browser, page: str) -> str:
    answer = browser.get(page)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_a_good_run_goes_to_paper_then_live_and_is_withdrawn(alpha: Client, owner: Browser) -> None:
    page = run_of(owner)
    text = text_of(owner, page)
    for words in ("Nothing speaks against letting it trade on paper", "Deflated Sharpe ratio", "as the only one tried"):
        assert words in text
    assert "Strategies that trade" not in text_of(owner, "/app/backtests")
    done = owner.post(f"{page}/promote", {"level": "paper"}, follow=True)
    text = unescape(done.content.decode())
    assert "dual_sma may trade on paper" in text
    assert "Follow on paper" in text
    assert "Yes, let it trade live with real money" in text
    promotion = Promotion.objects.get()
    listed = text_of(owner, "/app/backtests")
    assert "Followed by each cycle." in listed
    assert f"/app/parity?promotion={promotion.id}" in listed
    assert "dual_sma on paper" in text_of(owner, f"/app/parity?promotion={promotion.id}")
    assert "may trade live" in owner.post(f"{page}/promote", {"level": "live"}, follow=True).content.decode()
    assert "Waits: cycles trade at" in text_of(owner, "/app/backtests")
    url = f"/app/promotions/{promotion.id}/demote"
    assert "Say why" in owner.post(url, {"reason": " "}, follow=True).content.decode()
    assert "is withdrawn, live too" in owner.post(url, {"reason": "no touch"}, follow=True).content.decode()
    assert "withdrawn already" in owner.post(url, {"reason": "again"}, follow=True).content.decode()
    assert {one.demoted_because for one in Promotion.objects.all()} == {"no touch"}
    assert "Strategies that trade" not in text_of(owner, "/app/backtests")


def test_a_pruned_run_is_named_without_a_link(alpha: Client, owner: Browser) -> None:
    page = run_of(owner)
    owner.post(f"{page}/promote", {"level": "paper"})
    assert f'href="{page}"' in text_of(owner, "/app/parity")
    assert services.prune(alpha.id, keep=0) == 1
    text = text_of(owner, "/app/parity")
    assert f"Run {page[-64:][:12]} (pruned since), promoted" in text
    assert page not in text


def test_each_reason_comes_with_what_to_do_next(owner: Browser) -> None:
    page = run_of(owner, {**HALVES, "validation": {"lookahead": False}})
    run_of(owner, {**HALVES, "execution": {"fee_bps": 1}})
    text = text_of(owner, page)
    for words in (
        "no permutation test was made",
        "Submit it again with a permutation test.",
        "has not stood the look-ahead check",
        "submit its runs as one sweep",
        "Submit a sweep of this configuration whose grid holds these parameters.",
        "as the best of 2 tried here",
    ):
        assert words in text
    assert "Promote to paper" not in text
    refused = unescape(owner.post(f"{page}/promote", {"level": "paper"}, follow=True).content.decode())
    assert "It cannot be promoted: dual_sma has not stood the look-ahead check" in refused
    again = json.loads(text.split('aria-label="Configuration" hidden>')[1].split("</textarea>")[0])
    assert again["validation"]["lookahead"] is True
    assert "permutation_missing" not in text
    other = text_of(owner, run_of(owner, again))
    assert "no permutation test was made" not in other
    assert not Promotion.objects.exists()


def test_a_leaking_strategy_is_named(owner: Browser, settings: Any, tmp_path: Path) -> None:
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    (tmp_path / "oracle.py").write_text(LEAKING)
    text = text_of(owner, run_of(owner, {**GOOD, "strategy": {"name": "oracle"}}))
    assert "oracle reads bars that have not happened yet" in text
    assert "Have the strategy use bars up to its own alone" in text
    run_of(owner)
    rows = owner.get("/app/backtests").content.decode().split("<tbody>")[1].split("</tr>")
    assert ["looks ahead" in row for row in rows if "badge" in row] == [False, True]
    (tmp_path / "oracle.py").unlink()  # and pages stand when its file is gone
    leaking = Run.objects.get(config__strategy__name="oracle")
    assert "the code has changed" in text_of(owner, f"/app/backtests/{leaking.run_hash}")


def test_what_no_cycle_can_follow_is_said_before(owner: Browser) -> None:
    text = text_of(owner, run_of(owner, {**HALVES, "risk": {"stop_loss": 0.5}}))
    assert "A cycle could not follow it: dual_sma was tested with stops" in text


def test_a_sweep_leads_to_its_best_run_and_that_to_paper(owner: Browser) -> None:
    base = {name: value for name, value in HALVES.items() if name != "validation"}
    sweep = {"config": base, "parameters": {"fast": [2, 3, 4], "slow": [10, 12]}, "blocks": 8}
    page = str(owner.post("/app/sweeps", {"config": json.dumps(sweep)})["Location"])
    assert "May the best one trade?" not in text_of(owner, page)  # not yet
    Hands().work_off()
    text = text_of(owner, page)
    assert "Run the best by itself, with a permutation test" in text
    best = text.split('aria-label="Configuration" hidden>')[1].split("</textarea>")[0]
    run = str(owner.post("/app/backtests", {"config": best})["Location"])
    assert "is being tested by itself" in text_of(owner, page)
    Hands().work_off()
    text = text_of(owner, page)
    assert run in text
    assert "as the best of 6 tried here" in text
    assert "worst of the sweeps that held it" in text


def test_who_may_not_promote_reads_who_may(alpha: Client, beta: Client, owner: Browser) -> None:
    page = run_of(owner)
    owner.post(f"{page}/promote", {"level": "paper"})
    url = f"/app/promotions/{Promotion.objects.get().id}/demote"
    for browser in (browser_of(alpha), browser_of(alpha, Role.READ_ONLY), browser_of(None, Role.OPERATOR)):
        text = text_of(browser, page)
        assert "An owner of Alpha decides that." in text
        assert "Withdraw" not in text + text_of(browser, "/app/backtests")
        assert browser.post(f"{page}/promote", {"level": "live"}).status_code == 403
        assert browser.post(url, {"reason": "x"}).status_code == 403
    other = browser_of(beta, Role.OWNER)
    assert other.post(f"{page}/promote", {"level": "live"}).status_code == 404
    assert other.post(url, {"reason": "x"}).status_code == 404
    assert Promotion.objects.get().demoted_at is None
    assert "Say where" in owner.post(f"{page}/promote", {"level": "moon"}, follow=True).content.decode()


def test_changed_artifacts_are_said_and_prove_nothing(alpha: Client, owner: Browser) -> None:
    page = run_of(owner)
    path = services.store().folder(alpha.id, Run.objects.get().id) / "validation.json"
    path.write_bytes(path.read_bytes().replace(b"true", b"null", 1))
    text = text_of(owner, page)
    assert "What is stored is not what the run left" in text
    assert "Promote to" not in text
    refused = owner.post(f"{page}/promote", {"level": "paper"}, follow=True)
    assert "It cannot be promoted" in refused.content.decode()


@pytest.mark.browser
@pytest.mark.skipif(chromium.find() is None, reason=chromium.MISSING)
def test_the_pages_render_and_nothing_is_refused(live_server: LiveServer, owner: Browser) -> None:
    pages = {"good": run_of(owner)}
    owner.post(f"{pages['good']}/promote", {"level": "paper"})
    pages["refused"] = run_of(owner, {**HALVES, "execution": {"fee_bps": 1}, "validation": {"bootstrap": {}}})
    sweep = {"config": {**HALVES, "validation": {}}, "parameters": {"fast": [2, 3, 4], "slow": [10, 12]}, "blocks": 8}
    pages["sweep"] = str(owner.post("/app/sweeps", {"config": json.dumps(sweep)})["Location"])
    Hands().work_off()
    pages["list"] = "/app/backtests"
    with chromium.logged_in(live_server.url, f"sessionid={owner.cookies['sessionid'].value}") as address:
        for name, path in pages.items():
            text, console = chromium.run(f"{address}{path}", "--dump-dom")
            assert "trade" in text
            assert console == [], path
            if folder := os.environ.get("QT_TEST_PICTURES"):
                for width in (1280, 390):
                    for dark in (False, True):
                        file = Path(folder) / f"{name}-{width}{'-dark' if dark else ''}.png"
                        chromium.picture(f"{address}{path}", file, size=(width, 1500), dark=dark)
