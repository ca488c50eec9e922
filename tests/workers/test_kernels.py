"""A worker loads compiled kernels before it has processes, and waits for none that are not compiled."""

import gc
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from celery import signals

from trading.quant import warm
from workers import kernels


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the machine code would be, for a processor that has seen none."""
    monkeypatch.setattr(warm, "FOLDER", tmp_path)
    monkeypatch.setattr(warm, "_DONE", tmp_path / "compiled")
    return tmp_path


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the kernels were run."""
    calls: list[str] = []
    monkeypatch.setattr(warm, "warm", lambda: calls.append("warm"))
    return calls


def test_it_compiles_once(folder: Path, warmed: list[str]) -> None:
    assert not warm.is_compiled()
    warm.main()
    assert warm.is_compiled()
    warm.main()
    assert warmed == ["warm"]


def test_what_failed_is_not_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise MemoryError

    monkeypatch.setattr(warm, "warm", fails)
    with pytest.raises(MemoryError):
        warm.main()
    assert not warm.is_compiled()


def test_a_worker_loads_what_is_compiled_before_it_forks(folder: Path, warmed: list[str]) -> None:
    (folder / "compiled").touch()
    try:
        kernels.prepare()
        assert warmed == ["warm"]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_worker_has_the_rest_compiled_beside_it_once_it_works(
    folder: Path, warmed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(threading, "Thread", Now)
    try:
        kernels.prepare()
        assert not started
        signals.worker_ready.send(sender=None)
        assert started == [["nice", "-n", "19", sys.executable, "-m", "trading.quant.warm"]]
        assert not warmed
    finally:
        signals.worker_ready.disconnect(kernels._compile_beside)


class Now:
    """A thread that has run when it has started."""

    def __init__(self, target: Any, **_: Any) -> None:
        self.start = target
