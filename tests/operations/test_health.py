"""Health, metrics and who may read them."""

import pytest
from django.conf import settings
from django.test import Client as Http

from trading.jobs import processes

pytestmark = pytest.mark.django_db


@pytest.fixture
def http() -> Http:
    return Http()


def test_alive_is_not_ready_without_a_worker(http: Http) -> None:
    assert http.get("/health").json()["status"] == "ok"
    answer = http.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": "ok",
        "redis": "ok",
        "worker": "no worker has been heard of lately",
        "broker": "ok",
    }
    processes.report("test/worker", kind="worker", code_version="test")
    assert http.get("/health/ready").status_code == 200


def test_the_scheduler_is_degraded_until_a_beat_reports(http: Http) -> None:
    silent = http.get("/health/scheduler").json()
    assert (silent["status"], silent["running"], silent["next_run_time"]) == ("degraded", False, None)
    processes.report("test/beat", kind="beat", code_version="test")
    status = http.get("/health/scheduler").json()
    assert set(http.get("/scheduler/status").json()) == set(status)
    assert (status["status"], status["running"]) == ("ok", True)
    assert set(status) >= {"next_run_time", "jobs", "errors", "symbols", "liquidity", "execution"}
    assert status["execution"] == {"gross_exposure": "0.00"}


def test_metrics_are_for_this_machine_or_the_token(http: Http) -> None:
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert b'job_processes_alive{kind="worker"}' in answer.content
    assert b"http_requests_total" in answer.content
    assert http.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    assert http.get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 401
    token = {"Authorization": f"Bearer {settings.QT_ADMIN_TOKEN}"}
    assert http.get("/metrics", REMOTE_ADDR="10.1.2.3", headers=token).status_code == 200
    assert http.post("/metrics").status_code == 405


@pytest.mark.parametrize("path", ["/nope", "/jobs/runs/xyz", "/internal/tasks/Ünknown", "/api", "/health/"])
def test_a_path_that_leads_nowhere_is_json(http: Http, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"]["type"] == "not_found"


def test_every_answer_carries_its_request_s_id(http: Http) -> None:
    assert http.get("/__whoami", headers={"X-Request-ID": "given-by-caller-1"})["X-Request-ID"] == "given-by-caller-1"
    for bad in ("short", "x" * 65, "with space", "a\x7fbcdefgh"):
        assert http.get("/__whoami", headers={"X-Request-ID": bad})["X-Request-ID"] != bad
