"""The pages: who sees what, what a run's page shows and does, and what the lists cost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape
from pytest_django import Settings

from tests.jobs import sample
from trading.audit.models import AuditEntry
from trading.core.ids import uuid7
from trading.execution.models import PortfolioSnapshot
from trading.jobs import runner, services
from trading.jobs.models import JobRun
from trading.jobs.registry import Job, Step, registry
from trading.jobs.states import State
from trading.marketdata.models import Candle
from trading.risk.models import Guard
from trading.tenants.models import Client, Role, User
from trading.web import chart

HOSTILE = "<script>alert('x')</script>"
STARTABLE = Job(
    slug="sample-startable",
    title="A client may start it",
    steps=(Step(sample.refuse), Step(sample.noop)),
    arguments=sample.NoArguments,
    per_client=True,
    client_startable=True,
)
CLOSED = Job(
    slug="sample-closed",
    title="Operators alone may start it",
    steps=(Step(sample.noop),),
    arguments=sample.NumberArguments,
    per_client=True,
)


@pytest.fixture(autouse=True)
def _jobs(transactional_db: None) -> Iterator[None]:
    for job in (STARTABLE, CLOSED):
        registry.add(job)
    yield
    for job in (STARTABLE, CLOSED):
        registry.remove(job.slug)


@pytest.fixture
def alpha() -> Client:
    return Client.objects.create(name="Alpha")


@pytest.fixture
def beta() -> Client:
    return Client.objects.create(name="Beta")


def browser_of(role: Role, client: Client | None = None) -> Browser:
    user = User.objects.create_user(f"{role}-{client}", password="a-long-password", role=role, client=client)
    browser = Browser()
    browser.force_login(user)
    return browser


def failed_run(client: Client) -> JobRun:
    run = services.enqueue("sample-startable", client_id=client.id).run
    runner.execute(run.id, worker="test/hands", code_version="test")
    return JobRun.objects.get(id=run.id)


def test_without_a_login_every_page_leads_to_the_login() -> None:
    for path in ("/app/", "/app/runs", f"/app/runs/{uuid7()}"):
        answer = Browser().get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/login?next={path}")
    assert Browser().get("/").headers["Location"] == "/app/"


def test_logging_in_and_out(alpha: Client) -> None:
    User.objects.create_user("tina", password="a-long-password", role=Role.TRADER, client=alpha)
    browser = Browser(enforce_csrf_checks=True)
    page = browser.get("/login?next=/app/runs")
    form = {"username": "tina", "password": "wrong", "next": "/app/runs"}
    assert browser.post("/login", form).status_code == 403
    form["csrfmiddlewaretoken"] = page.cookies["csrftoken"].value
    assert browser.post("/login", form).status_code == 200
    form["password"] = "a-long-password"
    assert browser.post("/login", {**form, "next": "https://elsewhere.example/"}).status_code == 400
    assert browser.post("/login", form).headers["Location"] == "/app/runs"
    assert browser.get("/app/").status_code == 200
    assert browser.get("/logout").status_code == 405
    token = browser.cookies["csrftoken"].value
    assert browser.post("/logout", {"csrfmiddlewaretoken": token}).status_code == 302
    assert browser.get("/app/").status_code == 302


def test_another_clients_run_is_not_there(alpha: Client, beta: Client) -> None:
    run = failed_run(beta)
    browser = browser_of(Role.OWNER, alpha)
    assert browser.get(f"/app/runs/{run.id}").status_code == 404
    assert browser.post(f"/app/runs/{run.id}/retry").status_code == 404
    assert browser.post(f"/app/runs/{run.id}/cancel").status_code == 404
    assert str(run.id) not in browser.get("/app/runs").content.decode()
    system = services.enqueue("job-retention").run
    assert browser.get(f"/app/runs/{system.id}").status_code == 404
    assert "Beta" not in browser.get(f"/app/?client={beta.id}").content.decode()
    operator = browser_of(Role.OPERATOR)
    assert operator.get(f"/app/runs/{run.id}").status_code == 200
    assert operator.get("/app/?client=nonsense").status_code == 404


def test_a_run_is_retried_from_its_page_by_those_who_may(alpha: Client) -> None:
    run = failed_run(alpha)
    path = f"/app/runs/{run.id}"
    reader = browser_of(Role.READ_ONLY, alpha)
    assert f"{path}/retry" not in reader.get(path).content.decode()
    assert reader.post(f"{path}/retry").status_code == 403
    trader = browser_of(Role.TRADER, alpha)
    assert f"{path}/retry" in trader.get(path).content.decode()
    assert trader.get(f"{path}/retry").status_code == 405
    assert "Queued again" in trader.post(f"{path}/retry", follow=True).content.decode()
    again = JobRun.objects.get(id=run.id)
    assert (again.state, again.triggered_by) == (State.QUEUED, ", retried by trader-Alpha")
    assert "only a failed" in trader.post(f"{path}/retry", follow=True).content.decode()
    assert "Cancelled" in trader.post(f"{path}/cancel", follow=True).content.decode()
    assert JobRun.objects.get(id=run.id).state == State.CANCELLED
    closed = services.enqueue("sample-closed", client_id=alpha.id).run
    assert trader.post(f"/app/runs/{closed.id}/cancel").status_code == 404


def test_a_job_is_started_from_the_list_by_those_who_may(alpha: Client, beta: Client) -> None:
    trader, start = browser_of(Role.TRADER, alpha), "/app/runs/start"
    page = trader.get("/app/runs").content.decode()
    assert '<option value="sample-startable">A client may start it</option>' in page
    assert "sample-closed" not in page.partition("</details>")[0]
    answer = trader.post(start, {"job": "sample-startable", "client": str(beta.id)}, follow=True)
    assert "Queued." in answer.content.decode()
    run = JobRun.objects.get()
    assert (run.client_id, run.job, run.triggered_by) == (alpha.id, "sample-startable", "trader-Alpha")
    told = AuditEntry.objects.get(action="job_run.enqueued")
    assert (told.client_id, told.subject, told.data["created"]) == (alpha.id, f"job_run:{run.id}", True)
    for unknown in ("sample-closed", "market-refresh", "nonsense", ""):
        assert trader.post(start, {"job": unknown}).status_code == 404
    reader = browser_of(Role.READ_ONLY, alpha)
    assert start not in reader.get("/app/runs").content.decode()
    assert reader.post(start, {"job": "sample-startable"}).status_code == 403
    assert JobRun.objects.count() == 1


def test_an_operator_starts_what_a_schedule_would_and_names_the_client(alpha: Client) -> None:
    operator, start = browser_of(Role.OPERATOR), "/app/runs/start"
    page = operator.get("/app/runs").content.decode()
    assert f'<option value="{alpha.id}">Alpha</option>' in page
    assert '<option value="market-refresh">' in page
    assert "emergency-cancel" not in page.partition("</details>")[0], "what only a halt starts"
    refused = operator.post(start, {"job": "execution-cycle"}, follow=True).content.decode()
    assert "this job runs for one client: name it" in refused
    for _ in range(2):
        said = operator.post(start, {"job": "execution-cycle", "client": str(alpha.id)}, follow=True).content.decode()
    assert "It is under way already" in said
    assert (
        "Queued."
        in operator.post(start, {"job": "market-refresh", "client": str(alpha.id)}, follow=True).content.decode()
    )
    assert set(JobRun.objects.values_list("job", "client_id")) == {
        ("execution-cycle", alpha.id),
        ("market-refresh", None),
    }


def test_hostile_text_is_text_and_tracebacks_are_for_operators(alpha: Client) -> None:
    run = services.enqueue("sample-closed", {"text": HOSTILE}, client_id=alpha.id, triggered_by=HOSTILE).run
    runner.execute(run.id, worker=HOSTILE, code_version="test")
    run.attempts.update(error_type="ValueError", error_message=HOSTILE, traceback=f"Traceback {HOSTILE}")
    JobRun.objects.filter(id=run.id).update(
        state=State.FAILED, result={HOSTILE: [HOSTILE]}, error_message=HOSTILE, progress_note=HOSTILE
    )
    for role, client in ((Role.OWNER, alpha), (Role.OPERATOR, None)):
        browser = browser_of(role, client)
        for path in (f"/app/runs/{run.id}", "/app/runs"):
            page = browser.get(path).content.decode()
            assert HOSTILE not in page
            assert escape(HOSTILE) in page
        assert ("Traceback" in browser.get(f"/app/runs/{run.id}").content.decode()) == (role == Role.OPERATOR)


def test_a_note_of_progress_stands_only_while_it_says_how_far_it_came(alpha: Client) -> None:
    run = services.enqueue("sample-closed", {"text": "x"}, client_id=alpha.id).run
    browser = browser_of(Role.OWNER, alpha)
    for state, is_shown in ((State.QUEUED, True), (State.FAILED, True), (State.SUCCEEDED, False)):
        ended = None if state == State.QUEUED else datetime.now(UTC)
        JobRun.objects.filter(id=run.id).update(
            state=state, finished_at=ended, progress_done=1, progress_total=4, progress_note="buy IBM"
        )
        for path in (f"/app/runs/{run.id}", "/app/runs"):
            page = browser.get(path).content.decode()
            assert ("buy IBM" in page, "1 of 4" in page) == (is_shown, is_shown)
            assert "Operators alone may start it" in page  # what the job does, beside its slug


def test_a_live_run_asks_for_news_and_gets_204_when_there_are_none(alpha: Client) -> None:
    run = services.enqueue("sample-startable", client_id=alpha.id).run
    browser = browser_of(Role.OWNER, alpha)
    answer = browser.get(f"/app/runs/{run.id}")
    poll = f"/app/runs/{run.id}?{answer.context['poll']}"
    assert f'hx-get="{poll}"' in answer.content.decode()
    assert browser.get(poll, headers={"HX-Request": "true"}).status_code == 204
    runner.execute(run.id, worker="test/hands", code_version="test")
    news = browser.get(poll, headers={"HX-Request": "true"}).content.decode()
    assert "cannot ever work" in news
    assert "<html" not in news
    assert "hx-get" not in news  # it has ended


def test_pages_run_nothing_that_is_written_in_them(alpha: Client) -> None:
    run = failed_run(alpha)
    browser = browser_of(Role.OWNER, alpha)
    for path in ("/app/", "/app/runs", f"/app/runs/{run.id}", "/login"):
        answer = browser.get(path)
        page = answer.content.decode()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in page
        for attribute in (' style="', " onclick=", "javascript:", "//cdn", "https://"):
            assert attribute not in page, (path, attribute)


def test_keyset_pages_reach_every_run_once_at_a_constant_cost(alpha: Client) -> None:
    timeout = timedelta(minutes=5)
    JobRun.objects.bulk_create(
        JobRun(job="sample-closed", queue="default", steps=["noop"], max_attempts=5, timeout=timeout, client=alpha)
        for _ in range(1000)
    )
    browser = browser_of(Role.OWNER, alpha)
    seen: list[str] = []
    counts = set()
    query = "state=queued"
    while query:
        with CaptureQueriesContext(connection) as captured:
            answer = browser.get(f"/app/runs?{query}")
        counts.add(len(captured))
        assert not [entry for entry in captured.captured_queries if "COUNT(" in entry["sql"].upper()]
        seen += [str(run.id) for run in answer.context["runs"]]
        query = answer.context["older"]
    assert (len(seen), len(set(seen))) == (1000, 1000)
    assert seen == sorted(seen, reverse=True)
    assert len(counts) == 1
    assert counts.pop() <= 4
    assert browser.get("/app/runs?before=nonsense&state=nonsense&job=%00").status_code == 200


def test_the_dashboard_asks_for_news_and_gets_what_has_changed(alpha: Client) -> None:
    Guard.objects.get_or_create(id=1)
    operator = browser_of(Role.OPERATOR)
    for browser, query in ((browser_of(Role.OWNER, alpha), {}), (operator, {"client": str(alpha.id)})):
        page = browser.get("/app/", query)
        assert f'hx-get="/app/?{escape(page.context["poll"])}"' in page.content.decode()
        asking = {"path": f"/app/?{page.context['poll']}", "headers": {"HX-Request": "true"}}
        assert browser.get(**asking).status_code == 204
        Guard.objects.update(halted=True, reason="a drill")
        news = browser.get(**asking).content.decode()
        assert "Trading is halted" in news
        assert "<html" not in news
        Guard.objects.update(halted=False, reason="")
        assert browser.get(**asking).status_code == 204
        services.enqueue("sample-startable", client_id=alpha.id)
        assert "sample-startable" in browser.get(**asking).content.decode()


def test_an_operators_client_stays_chosen_from_page_to_page(alpha: Client) -> None:
    operator = browser_of(Role.OPERATOR)
    page = operator.get(f"/app/?client={alpha.id}").content.decode()
    for path in ("/app/", "/app/orders", "/app/parameters", "/app/risk", "/app/brokers"):
        assert f'<a href="{path}?client={alpha.id}"' in page
        assert "Alpha" in operator.get(f"{path}?client={alpha.id}").content.decode()
    assert f"?client={alpha.id}" not in browser_of(Role.OWNER, alpha).get("/app/").content.decode()


def test_the_admin_says_when_in_24_hours_with_the_zone(alpha: Client) -> None:
    run = services.enqueue("sample-startable", client_id=alpha.id).run
    JobRun.objects.filter(id=run.id).update(created_at=datetime(2026, 3, 9, 21, 4, 5, tzinfo=UTC))
    operator = browser_of(Role.OPERATOR)
    for path in ("/admin/jobs/jobrun/", f"/admin/jobs/jobrun/{run.id}/change/"):
        assert "9 Mar 2026 21:04:05 UTC" in operator.get(path).content.decode()
    assert 'href="/static/web/icon.svg"' in operator.get("/admin/").content.decode()


def test_the_dashboard_says_what_comes_next_and_then_shows_the_equity(alpha: Client, settings: Settings) -> None:
    settings.QUANTUM_TRADER_SYMBOLS = ["AAPL", "IBM"]
    browser = browser_of(Role.OWNER, alpha)
    page = browser.get("/app/").content.decode()
    assert "The curve begins with the second snapshot" in page
    assert "No prices yet" in page
    Candle.objects.create(
        symbol="IBM", time=datetime(2012, 1, 4, tzinfo=UTC), open=1, high=1, low=1, close=1, volume=1, source="file"
    )
    assert "Prices of 4 Jan 2012" in browser.get("/app/").content.decode()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for day, equity in enumerate((100_000, 101_500, 99_250)):
        PortfolioSnapshot.objects.create(
            id=UUID(int=day + 1), client=alpha, run_id=uuid7(), time=start + timedelta(days=day), cash=Decimal(40_000),
            equity=Decimal(equity), gross_exposure=Decimal(59_250),
            positions=[{"symbol": "IBM", "quantity": "5", "price": "1", "value": "5", "unrealised_pnl": "-2.5"}],
        )  # fmt: skip
    page = browser.get("/app/").content.decode()
    assert "From 100,000.00 on 01 Jan 2026 00:00 to 99,250.00 on 03 Jan 2026 00:00" in page
    assert "-750.00 since the first snapshot" in page
    assert "<polyline" in page


def test_the_chart_puts_points_where_they_belong() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    drawn = chart.line([(start, 0.0), (start + timedelta(days=1), 100.0), (start + timedelta(days=4), 50.0)])
    assert drawn is not None
    points = [tuple(map(float, pair.split(","))) for pair in drawn.points.split()]
    # From 76 to 804 across, a quarter of the way for a day of four; from 230 (0) up to 14 (100).
    assert points == [(76.0, 230.0), (258.0, 14.0), (804.0, 122.0)]
    assert chart.line([(start, 1.0)]) is None
    assert chart.line([(start, 5.0), (start, 5.0)]) is not None
    assert chart.nice_ticks(3, 97) == [0, 50, 100]


def test_a_page_that_is_not_there_is_friendly() -> None:
    answer = Browser().get("/app/nothing")
    assert answer.status_code == 404
    assert "Not found" in answer.content.decode()
