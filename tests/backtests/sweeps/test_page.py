"""The pages of sweeps: starting one, following it, and what it left; seen by its client alone."""

import json
import os
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.backtests.sweeps.test_sweeps import BODY
from tests.backtests.test_page import browser_of
from tests.browser import chromium
from tests.jobs.conftest import Hands
from trading.backtests.models import Run
from trading.tenants.models import Client, Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queues")]


def test_a_sweep_is_started_followed_and_shown(alpha: Client, beta: Client) -> None:
    browser = browser_of(alpha)
    assert "No sweep has been submitted yet" in browser.get("/app/sweeps").content.decode()
    answer = browser.post("/app/sweeps", {"config": json.dumps(BODY)})
    assert answer.status_code == 302, answer.content
    page = str(answer.headers["Location"])
    assert "hx-get" in browser.get(page).content.decode()
    Hands().work_off()
    shown = browser.get(page)
    text = shown.content.decode()
    for words in ("Best point", "Deflated Sharpe ratio", "Probability of overfitting", "Reality check", "heatmap.html"):
        assert words in text
    assert 'class="chosen"' in text
    assert "hx-get" not in text
    assert "style=" not in text
    assert "unsafe-inline" not in shown["Content-Security-Policy"]
    assert "dual_sma" in browser.get("/app/sweeps").content.decode()
    assert "submitted before" in browser.post("/app/sweeps", {"config": json.dumps(BODY)}, follow=True).content.decode()
    best = Run.objects.get().metrics["best"]["config"]
    alone = browser.post("/app/backtests", {"config": json.dumps(best)})
    assert alone.status_code == 302
    other = browser_of(beta)
    assert other.get(page).status_code == 404
    assert "dual_sma on" not in other.get("/app/sweeps").content.decode()
    assert browser.get(page.replace("/sweeps/", "/backtests/")).status_code == 404


def test_a_sweep_without_a_best_point_has_a_page_too(alpha: Client) -> None:
    """Ten bars are too few for every average, so that nothing trades."""
    browser = browser_of(alpha)
    config = {**BODY["config"], "start": "2020-01-01", "end": "2020-01-10"}
    body = {"config": config, "parameters": {"fast": [50, 60], "slow": [70]}}
    page = str(browser.post("/app/sweeps", {"config": json.dumps(body)}).headers["Location"])
    Hands().work_off()
    text = browser.get(page).content.decode()
    assert "none traded, nothing varied, or all were ruined" in text
    assert "May the best one trade?" not in text
    assert browser.get("/app/sweeps").status_code == 200


def test_what_is_no_sweep_is_said_beside_what_was_sent(alpha: Client) -> None:
    browser = browser_of(alpha)
    answer = browser.post("/app/sweeps", {"config": '{"config": {}, "parameters": {"<b>": [1]}}'})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "config.timeframe" in text
    assert "<b>" not in text
    assert browser_of(alpha, Role.READ_ONLY).post("/app/sweeps", {"config": "{}"}).status_code == 403


@pytest.mark.browser
@pytest.mark.skipif(chromium.find() is None, reason=chromium.MISSING)
def test_the_pages_render_and_nothing_is_refused(live_server: LiveServer, alpha: Client) -> None:
    browser = browser_of(alpha)
    page = str(browser.post("/app/sweeps", {"config": json.dumps(BODY)}).headers["Location"])
    Hands().work_off()
    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    sheet = f"/sweeps/{page.rpartition('/')[2]}/artifacts/heatmap.html"
    with chromium.logged_in(live_server.url, cookie) as address:
        for path, words in (("/app/sweeps", "Sweeps"), (page, "Best point"), (sheet, "Best point")):
            text, console = chromium.run(f"{address}{path}", "--dump-dom")
            assert words in text
            assert console == [], path
        if folder := os.environ.get("QT_TEST_PICTURES"):
            chromium.picture(f"{address}{page}", Path(folder) / "sweep.png", size=(1280, 2700))
            chromium.picture(f"{address}/app/sweeps", Path(folder) / "sweeps.png", size=(1280, 700), dark=True)
