"""The ledger in the admin: who may enter, what the pages show and do, and what they cost."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tests.jobs.conftest import Hands
from trading.core.ids import uuid7
from trading.jobs import processes, services
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.states import State
from trading.tenants.models import Client, Role, User

RUNS = "/admin/jobs/jobrun/"
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def operator() -> User:
    return User.objects.create_user("olga", password="a-long-password", role=Role.OPERATOR, is_staff=True)


@pytest.fixture
def browser(operator: User) -> Browser:
    browser = Browser()
    browser.force_login(operator)
    return browser


def _messages(answer: Any) -> str:
    return " | ".join(str(message) for message in answer.context["messages"])


@pytest.mark.parametrize("role", [Role.READ_ONLY, Role.TRADER, Role.OWNER])
def test_no_user_of_a_client_enters(client_a: Client, role: Role) -> None:
    user = User.objects.create_user("tina", role=role, client=client_a, is_staff=True)
    browser = Browser()
    browser.force_login(user)
    for path in ("/admin/", RUNS, "/admin/jobs/jobqueue/", "/admin/tenants/user/"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["Location"][:7]) == (302, "/admin/"), path
    assert browser.get("/admin/login/?next=/admin/").headers["Location"].startswith("/login?")


def test_every_page_of_the_admin_opens(browser: Browser, hands: Hands) -> None:
    run = services.enqueue("sample-chain", {"n": 1}).run
    hands.work_off()
    processes.report("worker one", kind="worker", code_version="test", queues=["default"])
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    entry = PeriodicTask.objects.create(name="mine", task="sample-one", interval=every)
    for path in (
        "/admin/", RUNS, f"{RUNS}{run.id}/change/", "/admin/jobs/jobqueue/", "/admin/jobs/jobqueue/default/change/",
        "/admin/jobs/jobprocess/", "/admin/django_celery_beat/periodictask/", "/admin/tenants/client/",
        f"/admin/django_celery_beat/periodictask/{entry.pk}/change/", "/admin/tenants/user/",
        "/admin/django_celery_beat/periodictask/add/", f"{RUNS}?parent__id__exact={run.id}",
        f"{RUNS}?state__exact=failed&job=sample-one&queue=default&trigger__exact=api&created=hour",
    ):  # fmt: skip
        assert browser.get(path).status_code == 200, path


def test_ledgers_cannot_be_added_to_changed_or_deleted(browser: Browser) -> None:
    run = services.enqueue("sample-one").run
    assert browser.get(f"{RUNS}add/").status_code == 403
    assert browser.post(f"{RUNS}{run.id}/delete/", {"post": "yes"}).status_code == 403
    assert browser.post(f"{RUNS}{run.id}/change/", {"state": "succeeded"}).status_code == 403
    assert JobRun.objects.get(id=run.id).state == State.QUEUED


def test_retry_asks_first_then_reports_each_run(browser: Browser, hands: Hands, operator: User) -> None:
    failed = hands.run(services.enqueue("sample-refuse", triggered_by="schedule x").run)
    waiting = services.enqueue("sample-one").run
    form = {"action": "retry", "_selected_action": [str(failed.id), str(waiting.id)]}
    asked = browser.post(RUNS, form)
    assert (asked.status_code, JobRun.objects.get(id=failed.id).state) == (200, State.FAILED)
    assert "Queue again" in asked.content.decode()
    done = browser.post(RUNS, {**form, "confirmed": "yes"}, follow=True)
    run = JobRun.objects.get(id=failed.id)
    assert (run.state, run.triggered_by) == (State.QUEUED, "schedule x, retried by olga")
    assert f"sample-refuse {failed.id}: queued again" in _messages(done)
    assert f"sample-one {waiting.id}: The run is queued" in _messages(done)
    assert LogEntry.objects.get().user == operator


def test_buttons_of_a_run_ask_and_then_act_by_post_alone(browser: Browser) -> None:
    run = services.enqueue("sample-one").run
    page = browser.get(f"{RUNS}{run.id}/change/").content.decode()
    assert f"{RUNS}{run.id}/cancel/" in page
    assert f"{RUNS}{run.id}/retry/" not in page
    assert browser.get(f"{RUNS}{run.id}/cancel/?confirmed=yes").status_code == 200
    assert JobRun.objects.get(id=run.id).state == State.QUEUED
    assert "cancelled" in _messages(browser.post(f"{RUNS}{run.id}/cancel/", {"confirmed": "yes"}, follow=True))
    assert JobRun.objects.get(id=run.id).state == State.CANCELLED
    assert browser.post(f"{RUNS}{uuid7()}/cancel/", {"confirmed": "yes"}).status_code == 404


def test_a_forged_form_is_refused(operator: User) -> None:
    run = services.enqueue("sample-one").run
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(operator)
    assert browser.post(f"{RUNS}{run.id}/cancel/", {"confirmed": "yes"}).status_code == 403
    assert (
        browser.post(RUNS, {"action": "cancel", "_selected_action": str(run.id), "confirmed": "yes"}).status_code == 403
    )
    assert JobRun.objects.get(id=run.id).state == State.QUEUED


def test_a_queue_is_paused_by_name_and_resumed(browser: Browser) -> None:
    path = "/admin/jobs/jobqueue/default"
    browser.post(f"{path}/pause/", {"confirmed": "yes"})
    queue = JobQueue.objects.get(name="default")
    assert (queue.paused_at is not None, queue.paused_by) == (True, "olga")
    assert "Paused" in browser.get("/admin/").content.decode()
    browser.post(f"{path}/resume/", {"confirmed": "yes"})
    assert JobQueue.objects.get(name="default").paused_at is None
    browser.post(f"{path}/change/", {"client_concurrency": "7"})
    assert JobQueue.objects.get(name="default").client_concurrency == 7


def test_hostile_arguments_and_tracebacks_are_text(browser: Browser, hands: Hands) -> None:
    run = services.enqueue("sample-one", {"text": HOSTILE}, request_id=HOSTILE, triggered_by=HOSTILE).run
    hands.work_off()
    run.attempts.update(error_type=HOSTILE, error_message=HOSTILE, traceback=HOSTILE)
    JobRun.objects.filter(id=run.id).update(
        state=State.FAILED, error_type=HOSTILE, error_message=HOSTILE, progress_note=HOSTILE
    )
    for path in (f"{RUNS}{run.id}/change/", RUNS, "/admin/"):
        page = browser.get(path).content.decode()
        assert HOSTILE not in page, path
        assert escape(HOSTILE) in page, path


def test_search_finds_a_run_by_its_id_and_by_its_request(browser: Browser) -> None:
    run = services.enqueue("sample-one", request_id="req-77").run
    services.enqueue("sample-refuse")
    for term in (str(run.id), "req-77", f" {run.id} "):
        found = browser.get(RUNS, {"q": term}).context["cl"].result_list
        assert [row.id for row in found] == [run.id]
    assert list(browser.get(RUNS, {"q": "sample"}).context["cl"].result_list) == []


def test_the_list_costs_the_same_with_many_rows_and_counts_none(browser: Browser, client_a: Client) -> None:
    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(RUNS).status_code == 200
        return [query["sql"] for query in captured.captured_queries]

    services.enqueue("sample-client", client_id=client_a.id)
    few = statements()
    template = {"job": "sample-one", "queue": "default", "steps": ["noop"], "max_attempts": 5, "client": client_a}
    timeout = JobRun.objects.first().timeout  # type: ignore[union-attr]
    JobRun.objects.bulk_create(JobRun(**template, timeout=timeout) for _ in range(1200))
    many = statements()
    assert len(many) <= len(few) <= 8
    assert not [sql for sql in many if "COUNT(" in sql.upper() and "job_runs" in sql]
    assert not [sql for sql in many if '"job_runs"."args"' in sql]


def test_the_form_of_an_entry_checks_the_arguments(browser: Browser) -> None:
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    form = {"name": "mine", "task": "sample-one", "enabled": "on", "interval": str(every.pk)}
    path = "/admin/django_celery_beat/periodictask/add/"
    assert "n: Input should be a valid integer" in browser.post(path, {**form, "kwargs": '{"n": "x"}'}).content.decode()
    assert not PeriodicTask.objects.exists()
    assert browser.post(path, {**form, "kwargs": '{"n": 4}'}).status_code == 302
    assert PeriodicTask.objects.get().kwargs == '{"n": 4}'


def test_only_a_superuser_changes_who_may_sign_in(browser: Browser, operator: User, client_a: Client) -> None:
    page = f"/admin/tenants/user/{operator.pk}/change/"
    assert operator.password not in browser.get(page).content.decode()
    form = {"username": "new", "role": "trader", "client": str(client_a.pk)}
    form |= {"password1": "a-long-password-2", "password2": "a-long-password-2"}
    assert browser.post("/admin/tenants/user/add/", form).status_code == 403
    User.objects.filter(pk=operator.pk).update(is_superuser=True)
    assert browser.post("/admin/tenants/user/add/", {**form, "role": "operator"}).status_code == 200
    assert not User.objects.filter(username="new").exists()
    assert browser.post("/admin/tenants/user/add/", form).status_code == 302
    assert User.objects.get(username="new").is_staff is False
