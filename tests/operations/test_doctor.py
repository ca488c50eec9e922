"""The doctor and the checks at start."""

import json
import os
import socket
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer
from runtime.valkey import ValkeyServer
from trading.jobs import processes, services
from trading.jobs.models import JobQueue
from trading.marketdata.models import Candle
from trading.operations import checks
from trading.operations.diagnosis import Finding, diagnose
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db


def found(subject: str) -> list[Finding]:
    return [finding for finding in diagnose() if finding.subject == subject]


def test_a_sound_deployment_has_no_errors() -> None:
    for kind in ("worker", "beat"):
        processes.report(f"test/{kind}", kind=kind, code_version="x", queues=["critical", "default", "bulk"])
    errors = [finding for finding in diagnose() if finding.level == "error"]
    assert errors == []
    assert {finding.subject for finding in diagnose()} >= {
        "python",
        "database",
        "migrations",
        "redis",
        "worker",
        "beat",
    }


def test_every_finding_that_is_not_well_names_its_fix() -> None:
    JobQueue.objects.get_or_create(name="bulk")
    services.pause("bulk", by="ops")
    findings = list(diagnose())
    assert any("paused by ops" in finding.message for finding in findings)
    assert all(finding.fix for finding in findings if finding.level != "ok")


def test_a_queue_that_nobody_takes_is_an_error() -> None:
    JobQueue.objects.get_or_create(name="bulk")
    processes.report("test/worker", kind="worker", code_version="x", queues=["critical", "default"])
    assert Finding("queues", "error", "no worker takes bulk", "python -m workers.worker bulk") in found("queues")


def test_with_redis_away_it_says_so_and_goes_on(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nonexistent/valkey.sock?db=0"
    assert [finding.level for finding in found("redis")] == ["error"]
    assert found("worker")


def test_a_rented_redis_that_refuses_config_is_examined(settings: Settings, tmp_path: Path) -> None:
    with ValkeyServer(DataFolder(tmp_path / "data"), persistent=False) as server:
        with redis.Redis.from_url(server.url) as root:
            root.config_set("maxmemory-policy", "allkeys-lru")
            root.execute_command("ACL", "SETUSER", "tenant", "on", ">word", "~*", "+@all", "-config")
        settings.REDIS_URL = server.url.replace("unix://", "unix://tenant:word@")
        said = [(finding.level, finding.message) for finding in found("redis")]
    assert said == [
        ("ok", "answers"),
        ("warning", "maxmemory-policy is allkeys-lru"),
        ("warning", "keeps no append-only file over a restart"),
    ]


def test_with_everything_away_each_is_said_once_without_a_trace_or_a_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"hidden-word@127.0.0.1:{probe.getsockname()[1]}"
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=PROJECT_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings.dev",
            "DATABASE_URL": f"postgres://quantum:{nowhere}/quantum",
            "REDIS_URL": f"redis://:{nowhere}/0",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hidden-word" not in done.stdout + done.stderr
    subjects = [finding["subject"] for finding in json.loads(done.stdout) if finding["level"] == "error"]
    assert sorted(subjects) == ["database", "redis"]


def test_the_table_shows_what_servers_say_as_they_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding("redis", "warning", "[/nonsense] and [bold]words", "[red]fix")
    monkeypatch.setattr("trading.operations.management.commands.doctor.diagnose", lambda: iter([finding]))
    with redirect_stdout(StringIO()) as out:
        call_command("doctor", stdout=out)
    assert "[/nonsense] and [bold]words" in out.getvalue()
    assert "0 errors, 1 warnings." in out.getvalue()


def test_the_command_s_exit_status(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    settings.DEBUG = True
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--json", stdout=out)
    assert ended.value.code == 1
    assert {"settings"} <= {finding["subject"] for finding in json.loads(out.getvalue())}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_TASK_ACKS_LATE", True),
        ("CELERY_WORKER_PREFETCH_MULTIPLIER", 4),
        ("CELERY_ACCEPT_CONTENT", ["json", "pickle"]),
        ("CELERY_TASK_SERIALIZER", "pickle"),
        ("CELERY_TASK_IGNORE_RESULT", False),
        ("CELERY_RESULT_BACKEND", "redis://"),
    ],
)
def test_unsafe_settings_are_refused(settings: Settings, name: str, value: Any) -> None:
    assert checks.check_celery_settings(None) == []
    setattr(settings, name, value)
    assert [message.id for message in checks.check_celery_settings(None)] == ["quantum.E003"]


def test_unsafe_versions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_celery_versions(None) == []
    monkeypatch.setattr(checks, "version", lambda name: "5.7.0")
    assert [message.id for message in checks.check_celery_versions(None)] == ["quantum.E001"]


@pytest.mark.django_db(transaction=True)
def test_a_table_that_lost_its_row_security_is_named() -> None:
    assert [(finding.level, finding.message) for finding in found("logins")] == [
        ("ok", "own nothing, and are under row security")
    ]
    server = PostgresServer(DataFolder.from_environment())
    with psycopg.connect(server.url(str(connection.settings_dict["NAME"])), autocommit=True) as owner:
        owner.execute("ALTER TABLE positions NO FORCE ROW LEVEL SECURITY")
        try:
            (finding,) = found("logins")
        finally:
            owner.execute("ALTER TABLE positions FORCE ROW LEVEL SECURITY")
    assert (finding.level, finding.message) == ("error", "no row security on positions")
    assert "rls-tenant-debugging" in finding.fix


def test_logins_that_are_not_there_are_named(settings: Settings) -> None:
    settings.DATABASE_ROLES = {"app": "nobody_app", "operator": "nobody_operator"}
    assert {(finding.level, finding.message, finding.fix) for finding in found("logins")} == {
        ("error", "nobody_app does not exist", "python -m runtime.roles"),
        ("error", "nobody_operator does not exist", "python -m runtime.roles"),
    }


def test_made_up_candles_are_named_where_money_could_move(settings: Settings) -> None:
    Client.objects.create(name="Desk")
    bar = dict.fromkeys(("open", "high", "low", "close", "volume"), 10)
    settings.QUANTUM_TRADER_SYMBOLS = ["AAPL", "IBM"]
    for symbol, source in (("AAPL", "synthetic"), ("IBM", "file.csv"), ("NOBODY", "synthetic")):
        Candle.objects.create(symbol=symbol, time=timezone.now(), source=source, **bar)
    settings.USE_MOCK_BROKER, settings.QT_EXECUTION_EXCHANGE = False, "binance"
    (finding,) = found("candles")
    assert (finding.level, finding.message) == ("warning", "those of AAPL are made up: binance gets no orders")
    settings.QT_EXECUTION_EXCHANGE = "paper"
    assert found("candles") == []
    settings.USE_MOCK_BROKER, settings.QT_EXECUTION_EXCHANGE = True, "binance"
    assert found("candles") == []
