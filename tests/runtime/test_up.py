"""``make run`` when it cannot start: each time one sentence that says what to do, and nothing left behind."""

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime import secrets
from runtime.folder import PROJECT_DIR
from runtime.up import SOURCES, StepError, compile_sources, reach_postgres, reach_redis

Refused = Callable[..., str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    def refused(**changed: str) -> str:
        environment = os.environ | {name: f"{index}Zk3vQ9xT1mB7nH5cR8wL2yD6fJ4sA0pG" for index, name in names}
        environment |= {"FLOWER_BASIC_AUTH": "admin:Zk3vQ9xT1mB7nH5c", "QT_DATA_DIR": str(tmp_path / "data")}
        environment |= {"PORT": str(free_port()), "FLOWER_PORT": str(free_port()), **changed}
        names_of_run = [sys.executable, "-m", "runtime.up"]
        done = subprocess.run(
            names_of_run, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stderr == ""
        assert not (tmp_path / "data" / "postgres").exists()
        return " ".join(done.stdout.split())

    names = list(enumerate(secrets.CRITICAL))
    return refused


@pytest.mark.parametrize("text", ["abc", "0", "65536", "-1", "80 80"])
def test_what_is_no_port_is_named(refused: Refused, text: str) -> None:
    assert f"PORT is {text!r}, which is not a port" in refused(PORT=text)


def test_one_port_cannot_serve_both(refused: Refused) -> None:
    assert "PORT and FLOWER_PORT are both 8123" in refused(PORT="8123", FLOWER_PORT="8123")


@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT"])
def test_a_taken_port_is_named_with_a_command_that_takes_another(refused: Refused, taken: int, name: str) -> None:
    said = refused(**{name: str(taken)})
    assert f"Port {taken} cannot be used: Address already in use" in said
    assert f"{name}={taken + 10} make run" in said


def test_a_second_start_on_one_data_folder_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = refused()
    assert "It is running already in" in said
    assert "QT_DATA_DIR=.data2" in said


def test_a_database_that_is_down_is_said_without_its_password(refused: Refused) -> None:
    said = refused(DATABASE_URL=f"postgres://quantum:hidden-word@127.0.0.1:{free_port()}/quantum")
    assert "The server of DATABASE_URL cannot be used" in said
    assert "Connection refused" in said
    assert "unset it" in said
    assert "hidden-word" not in said


@pytest.mark.parametrize("url", ["nonsense", "sqlite:///x.db", "mysql://u:hidden-word@h/n"])
def test_what_is_no_address_of_a_postgres_is_refused(url: str) -> None:
    with pytest.raises(StepError, match="not of the form postgres://") as refusal:
        reach_postgres(url)
    assert "hidden-word" not in str(refusal.value)


def test_a_redis_that_is_down_is_said_without_its_password() -> None:
    with pytest.raises(StepError, match=r"REDIS_URL cannot be used: .*refused.* unset it") as refusal:
        reach_redis(f"redis://:hidden-word@127.0.0.1:{free_port()}/0")
    assert "hidden-word" not in str(refusal.value)


def test_what_is_no_address_of_a_redis_is_refused() -> None:
    with pytest.raises(StepError, match="not of the form redis://"):
        reach_redis("nonsense")


def test_byte_code_is_kept_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    for name in SOURCES:
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "some.py").write_text("A = 1\n")
    (tmp_path / "trading" / "broken.py").write_text("A = (\n")
    compile_sources(tmp_path)
    tag = sys.implementation.cache_tag
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.pyc")}
    assert found == {f"{name}/inner/__pycache__/some.{tag}.pyc" for name in SOURCES}
