"""The pages in a real browser: they render, the policy refuses nothing, and a live run changes by itself."""

import threading
from datetime import timedelta

import pytest
from django.core.signals import request_started
from django.db import connection
from django.test import Client as Browser
from pytest_django.live_server_helper import LiveServer

from tests.browser import chromium
from trading.core.scope import platform_scope
from trading.jobs.models import JobRun
from trading.jobs.states import State
from trading.tenants.models import Client, Role, User

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(chromium.find() is None, reason=chromium.MISSING),
]


@pytest.fixture
def client_a() -> Client:
    return Client.objects.create(name="Alpha")


def cookie(client: Client) -> str:
    browser = Browser()
    browser.force_login(User.objects.create_user("tina", role=Role.TRADER, client=client))
    return f"sessionid={browser.cookies['sessionid'].value}"


def test_pages_render_and_nothing_is_refused(live_server: LiveServer, client_a: Client) -> None:
    with chromium.logged_in(live_server.url, cookie(client_a)) as address:
        for path, text in (
            ("/app/", "Coming up"),
            ("/app/runs", "Job runs"),
            ("/login", "Password"),
            ("/app/parameters", "Holds now"),
            ("/app/brokers", "paper"),
            ("/app/risk", "Limits in use"),
            ("/app/orders", "Orders of Alpha"),
        ):
            page, console = chromium.run(f"{address}{path}", "--dump-dom")
            assert text in page
            assert console == [], path


def test_the_admin_and_the_docs_work_under_their_policies_and_without_the_internet(
    live_server: LiveServer, client_a: Client
) -> None:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("root", password="x", role=Role.OPERATOR))
    with chromium.logged_in(live_server.url, f"sessionid={browser.cookies['sessionid'].value}") as address:
        for path, text in (
            ("/admin/", "Job runs"),
            ("/admin/jobs/jobrun/", "Job runs"),
            ("/admin/tenants/user/add/", "Username"),
            ("/api/docs", "/jobs/runs/{run_id}/retry"),
        ):
            page, console = chromium.run(f"{address}{path}", "--dump-dom", "--virtual-time-budget=8000")
            assert text in page, path
            assert [line for line in console if "autocomplete" not in line] == [], path  # advice, of the theme's forms


@pytest.mark.parametrize("path", ["/app/", "/app/runs", "/app/runs/{run}"])
def test_what_is_looked_at_changes_on_the_screen(live_server: LiveServer, client_a: Client, path: str) -> None:
    run = JobRun.objects.create(
        job="x", queue="default", steps=["only"], max_attempts=1, timeout=timedelta(1), client=client_a
    )

    asked = threading.Event()

    def notice(environ: dict[str, str], **_: object) -> None:
        if "seen=" in environ["QUERY_STRING"]:
            asked.set()

    @platform_scope()
    def change() -> None:
        asked.wait(20)
        try:
            JobRun.objects.filter(id=run.id).update(state=State.SNOOZED)
        finally:
            connection.close()  # this thread's own

    with chromium.logged_in(live_server.url, cookie(client_a)) as address:
        url = address + path.format(run=run.id)
        first, _ = chromium.run(url, "--dump-dom", "--virtual-time-budget=1")
        assert 's-snoozed">' not in first
        thread = threading.Thread(target=change)
        thread.start()
        request_started.connect(notice)
        try:
            changed, console = chromium.run(url, "--dump-dom", "--virtual-time-budget=200000")
        finally:
            request_started.disconnect(notice)
        thread.join()
    assert 's-snoozed">' in changed
    assert console == []
