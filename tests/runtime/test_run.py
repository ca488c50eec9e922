"""``make run`` for real: from an empty folder to the panel, Ctrl-C, and on again where it was."""

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime import secrets
from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer
from runtime.process import is_alive, wait_until
from runtime.valkey import ValkeyServer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]
PANEL_SECONDS = 90.0


class Platform:
    """One ``make run``: its process, and what it has printed so far."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.up"],
            cwd=PROJECT_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)

    def wait_for(self, text: str, seconds: float = PANEL_SECONDS) -> None:
        def seen() -> bool:
            return any(text in line for line in list(self.lines)) or self.process.poll() is not None

        assert wait_until(seen, seconds, pause=0.1), "".join(self.lines[-40:])
        assert self.process.poll() is None, "".join(self.lines[-40:])

    def family(self) -> set[int]:
        me = psutil.Process(self.process.pid)
        return {me.pid, *(child.pid for child in me.children(recursive=True))}

    def interrupt(self) -> None:
        family = self.family()
        assert len(family) > 6  # two servers and five programs with their children
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=45)
        left = [pid for pid in family if is_alive(pid)]
        assert not left, [psutil.Process(pid).cmdline() for pid in left]


Run = Callable[..., Platform]


@pytest.fixture
def ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(two.getsockname()[1])


@pytest.fixture
def run(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Run]:
    started: list[Platform] = []
    environment = {name: f"{index}Zk3vQ9xT1mB7nH5cR8wL2yD6fJ4sA0pG" for index, name in enumerate(secrets.CRITICAL)}
    environment |= {
        "FLOWER_BASIC_AUTH": "admin:Zk3vQ9xT1mB7nH5c",
        "DJANGO_SETTINGS_MODULE": "config.settings.dev",
        "APP_ENV": "development",
        "QT_DATA_DIR": str(tmp_path / "data"),
        "PORT": str(ports[0]),
        "FLOWER_PORT": str(ports[1]),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "QT_MARKET_PROVIDER": "csv",
        "QT_CSV_BARS_PER_REFRESH": "1",
        "QUANTUM_TRADER_SYMBOLS": "AAPL,FB,GOOG,IBM,MSFT",
    }

    def run(**changed: str) -> Platform:
        platform = Platform({**os.environ, **environment, **changed})
        started.append(platform)
        return platform

    yield run
    for platform in started:
        if platform.process.poll() is None:
            platform.process.kill()  # the kernel tells its programs and servers
        platform.process.wait()
        platform.reader.join(10)


def counted(server: PostgresServer) -> tuple[int, int]:
    """How many runs and how many clients there are."""
    with psycopg.connect(server.url(role="postgres")) as link:  # row security shows the owner nothing
        row = link.execute("SELECT (SELECT count(*) FROM job_runs), (SELECT count(*) FROM tenants_client)").fetchone()
    assert row is not None
    return row[0], row[1]


def test_from_an_empty_folder_to_the_panel_and_on_again(run: Run, tmp_path: Path, ports: tuple[int, int]) -> None:
    postgres = PostgresServer(DataFolder(tmp_path / "data"))
    first = run()
    first.wait_for("Quantum Trader runs (")
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/health", timeout=5) as answer:
        assert answer.status == 200
    runs, clients = counted(postgres)
    assert runs > 0
    assert clients > 0
    first.interrupt()
    assert not postgres.is_ready()

    second = run()
    second.wait_for("Quantum Trader runs (")
    done = subprocess.run(
        [sys.executable, "manage.py", "run_job", "market-refresh"],
        cwd=PROJECT_DIR,
        env=psutil.Process(second.process.pid).environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    more_runs, same_clients = counted(postgres)
    assert more_runs > runs
    assert same_clients == clients
    second.interrupt()


def test_servers_of_ones_own_are_used_instead_of_embedded_ones(run: Run, tmp_path: Path) -> None:
    own = DataFolder(tmp_path / "own")
    with PostgresServer(own, durable=False) as postgres, ValkeyServer(own) as valkey:
        platform = run(DATABASE_URL=f"postgres://quantum@/quantum?host={own.sockets}", REDIS_URL=valkey.url)
        platform.wait_for("Quantum Trader runs (")
        assert not (tmp_path / "data" / "postgres").exists()
        assert not (tmp_path / "data" / "valkey").exists()
        runs, clients = counted(postgres)
        assert runs > 0
        assert clients > 0
        platform.interrupt()
        assert postgres.is_ready()
        assert valkey.is_ready()
