"""The command of a worker."""

import os

import pytest
from pytest_django import Settings

from workers import worker
from workers.celery import app


@pytest.mark.parametrize(("queues", "setting", "least"), [("critical,default", "WORKER", 2), ("bulk", "BULK", 1)])
def test_there_are_processes_for_the_processors_that_it_may_use(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, queues: str, setting: str, least: int
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(app, "worker_main", given.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    worker.main(queues)
    assert f"--concurrency={least}" in given[0]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    worker.main(queues)
    assert "--concurrency=4" in given[1]
    setattr(settings, f"QT_{setting}_CONCURRENCY", 5)
    worker.main(queues)
    assert "--concurrency=5" in given[2]
