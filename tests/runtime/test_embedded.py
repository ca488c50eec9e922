"""The embedded servers in processes of their own: as another user, side by side, and after a kill of their starter."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer
from runtime.process import Account, can_use, is_alive, wait_until
from runtime.valkey import ValkeyServer

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, user: pwd.struct_passwd | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.runtime.embedded", str(folder)],
            cwd=PROJECT_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **({"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate(timeout=30)


def said(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    answer: dict[str, object] = json.loads(process.stdout.readline())
    return answer


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_servers_of_an_ordinary_user_are_that_users(start: Start) -> None:
    nobody = pwd.getpwnam("nobody")
    if not can_use(Account("user", nobody.pw_uid, nobody.pw_gid), Path(sys.executable), PROJECT_DIR):
        pytest.skip("this environment cannot be reached by nobody")
    home = Path(tempfile.mkdtemp(prefix="qt-nobody-"))
    try:
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        process = start(home / "data", nobody)
        answer = said(process)
        assert answer["me"] == nobody.pw_uid
        for pid in answer["pids"]:  # type: ignore[attr-defined]
            assert psutil.Process(pid).uids().real == nobody.pw_uid
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        shutil.rmtree(home)


def test_servers_listen_on_no_network(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with PostgresServer(folder, durable=False) as postgres, ValkeyServer(folder) as valkey:
        for pid in (postgres.pid, valkey.pid):
            assert pid is not None
            assert psutil.Process(pid).net_connections("inet") == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on a parent's death is Linux's alone")
def test_servers_end_when_their_starter_is_killed_and_start_again(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path / "data")
    pids: list[int] = said(process)["pids"]  # type: ignore[assignment]
    process.kill()
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids), 20)
    again = start(tmp_path / "data")
    assert set(said(again)["pids"]) & set(pids) == set()  # type: ignore[call-overload]


def test_two_folders_stand_side_by_side(tmp_path: Path) -> None:
    one, two = DataFolder(tmp_path / "one"), DataFolder(tmp_path / "two")
    with (
        PostgresServer(one, durable=False) as first,
        PostgresServer(two, durable=False) as second,
        ValkeyServer(one) as third,
        ValkeyServer(two) as fourth,
    ):
        assert len({first.pid, second.pid, third.pid, fourth.pid}) == 4
        with psycopg.connect(first.url(), autocommit=True) as link:
            link.execute("CREATE TABLE only_here ()")
        with psycopg.connect(second.url()) as link:
            assert link.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
        first.stop()
        assert second.is_ready()
        assert fourth.is_ready()
