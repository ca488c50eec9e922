"""The pages of backtests: submitting, following, and what a run left; seen by its client alone."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Browser
from pytest_django.live_server_helper import LiveServer

from tests.backtests.test_runs import BODY
from tests.browser import chromium
from tests.jobs.conftest import Hands
from trading.backtests import services
from trading.backtests.models import Run
from trading.tenants.models import Client, Role, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]


def browser_of(client: Client | None, role: Role = Role.TRADER) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user(f"{role}-{client}", client=client, role=role))
    return browser


def submitted(browser: Browser, body: dict[str, Any] = BODY) -> str:
    answer = browser.post("/app/backtests", {"config": json.dumps(body)})
    assert answer.status_code == 302, answer.content
    return str(answer.headers["Location"])


def test_a_configuration_is_submitted_followed_and_shown(alpha: Client) -> None:
    browser = browser_of(alpha)
    assert "No backtest has been submitted yet" in browser.get("/app/backtests").content.decode()
    page = submitted(browser)
    waiting = browser.get(page).content.decode()
    assert "hx-get" in waiting
    Hands().work_off()
    shown = browser.get(page)
    text = shown.content.decode()
    for words in ("Sharpe ratio a year", "Monthly returns", "Permutation test", "manifest.json", "What it cost"):
        assert words in text
    assert "hx-get" not in text
    assert "unsafe-inline" not in shown["Content-Security-Policy"]
    assert "style=" not in text
    assert "dual_sma" in browser.get("/app/backtests").content.decode()
    again = browser.post("/app/backtests", {"config": json.dumps(BODY)}, follow=True)
    assert "submitted before" in again.content.decode()
    artifact = text.split('href="/runs/')[1].split('"')[0]
    answer = browser.get(f"/runs/{artifact}")
    assert (answer.status_code, len(b"".join(answer.streaming_content)) > 0) == (200, True)


def test_what_changes_is_asked_for_alone(alpha: Client) -> None:
    browser = browser_of(alpha)
    page = submitted(browser)
    poll = browser.get(page).content.decode().split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    assert browser.get(poll, headers={"HX-Request": "true"}).status_code == 204
    Hands().work_off()
    part = browser.get(poll, headers={"HX-Request": "true"})
    assert (part.status_code, b"<html" in part.content) == (200, False)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "must be a JSON object"),
        (json.dumps({**BODY, "symbol": "<script>alert(1)</script>"}), "&lt;script&gt;"),
        (json.dumps({**BODY, "strategy": {"name": "nope"}}), "no strategy is called"),
        ('{"a": "\\u0000"}', "NUL"),
    ],
)
def test_what_cannot_be_run_is_said_beside_what_was_sent(alpha: Client, config: str, words: str) -> None:
    answer = browser_of(alpha).post("/app/backtests", {"config": config})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert "<script>alert" not in answer.content.decode()
    assert not Run.objects.exists()


def test_another_clients_backtest_is_not_found_and_readers_submit_nothing(alpha: Client, beta: Client) -> None:
    page = submitted(browser_of(alpha))
    assert browser_of(beta).get(page).status_code == 404
    reader, operator = browser_of(alpha, Role.READ_ONLY), browser_of(None, Role.OPERATOR)
    for browser in (reader, operator):
        assert browser.get(page).status_code == 200
        assert "Run it" not in browser.get("/app/backtests").content.decode()
        assert browser.post("/app/backtests", {"config": json.dumps(BODY)}).status_code in (403, 404)
    assert Run.objects.count() == 1


def test_a_changed_tearsheet_is_not_shown(alpha: Client) -> None:
    browser = browser_of(alpha)
    page = submitted(browser)
    Hands().work_off()
    path = services.store().folder(alpha.id, Run.objects.get().id) / "tearsheet.html"
    path.write_bytes(path.read_bytes().replace(b"Sharpe", b"<script>"))
    text = browser.get(page).content.decode()
    assert "verify_run" in text
    assert "What it cost" not in text


@pytest.mark.browser
@pytest.mark.skipif(chromium.find() is None, reason=chromium.MISSING)
def test_the_pages_render_and_nothing_is_refused(live_server: LiveServer, alpha: Client, tmp_path: Path) -> None:
    browser = browser_of(alpha)
    page = submitted(browser, {**BODY, "validation": {"permutation": {}, "bootstrap": {}, "walk_forward": {}}})
    Hands().work_off()
    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    sheet = f"/runs/{page.rpartition('/')[2]}/artifacts/tearsheet.html"
    with chromium.logged_in(live_server.url, cookie) as address:
        for path, words in (("/app/backtests", "Backtests"), (page, "Monthly returns"), (sheet, "Monthly returns")):
            text, console = chromium.run(f"{address}{path}", "--dump-dom")
            assert words in text
            assert console == [], path
        if folder := os.environ.get("QT_TEST_PICTURES"):
            chromium.picture(f"{address}{page}", Path(folder) / "backtest.png", size=(1280, 2600))
            chromium.picture(f"{address}/app/backtests", Path(folder) / "backtests.png", size=(1280, 900), dark=True)
