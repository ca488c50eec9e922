"""A whole platform for a drill: servers of its own, a broker, workers and beats, and a small supervisor."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
import psycopg
from django.db import Error, connection

from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer
from runtime.process import last_lines, tie_to_parent
from runtime.valkey import ValkeyServer
from tests.faults import clusters, jobs, venue

T = TypeVar("T")
TEST_ONLY = ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_TESTRUNUID", "COV_CORE_SOURCE")


@dataclass
class Member:
    """One supervised process, with what its last death left to clear away."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started_at: float = 0.0
    orphans_until: float = 0.0
    """After a death the rest of its session may live on until then, as under a supervisor that does not look."""
    old_group: int | None = None
    linger: float = 0.0
    keep: bool = True

    @property
    def pid(self) -> int:
        """The main process."""
        if self.process is None:
            raise LookupError(f"{self.name} is not running")
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process is there, running or stopped."""
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[int]:
        """Its worker processes that live."""
        try:
            children = psutil.Process(self.pid).children()
            return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return []


@dataclass
class Stack:
    """Use as a context manager; `tend` must be called often, as `wait` does."""

    folder: DataFolder
    seed: int = 0
    durable: bool = True
    members: dict[str, Member] = field(default_factory=dict)
    has_tables: bool = False

    @classmethod
    def temporary(cls, *, seed: int = 0, durable: bool = True) -> Self:
        """One in a new folder, which is deleted at the end."""
        return cls(DataFolder(Path(tempfile.mkdtemp(prefix="qt-drill-"))), seed, durable)

    def __post_init__(self) -> None:
        self.folder.root.chmod(0o711)  # the servers may run under another account
        self.postgres = PostgresServer(self.folder, durable=self.durable, createdb=True)
        self.valkey = ValkeyServer(self.folder, persistent=False)
        self._guards: dict[int, subprocess.Popen[bytes]] = {}
        self.venue_socket = self.folder.root / "venue.sock"
        self.venue_ledger = self.folder.root / "venue.sqlite"

    def __enter__(self) -> Self:
        try:
            self.has_tables = clusters.copy_into(self.folder)
            self.postgres.start()
            self.valkey.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for target in list(self._guards):
            self.thaw(target)
        for member in self.members.values():
            self._end(member)
        self.valkey.kill()
        self.postgres.stop("immediate")
        shutil.rmtree(self.folder.sockets, ignore_errors=True)
        shutil.rmtree(self.folder.root, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """What the processes of this stack are started with."""
        inherited = {name: value for name, value in os.environ.items() if name not in TEST_ONLY}
        return {
            **inherited,
            "QT_TEST_DATA_DIR": str(self.folder.root),
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "QT_TEST_LOGINS": "apart",
            "QT_JOB_MODULES": "tests.faults.jobs",
            "DRILL_VENUE": str(self.venue_socket),
            "QUANTUM_TRADER_REFRESH_SECONDS": "0",
            "QUANTUM_TRADER_EXECUTION_SECONDS": "0",
            "QT_WORKER_CONCURRENCY": "2",
            "QT_BULK_CONCURRENCY": "2",
            "PYTHONUNBUFFERED": "1",
            **more,
        }

    def migrate(self) -> None:
        """Make the tables."""
        command = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(command, cwd=PROJECT_DIR, env=self.environment(), check=True, timeout=180)

    def prepare(self) -> None:
        """Migrations, the drill's tables, and the broker."""
        if not self.has_tables:
            self.migrate()
        with psycopg.connect(self.postgres.url(), autocommit=True) as owner:  # whose tables the logins may then use
            owner.execute(jobs.TABLES.encode())
        self.add("venue", "-m", "tests.faults.venue", str(self.venue_socket), str(self.venue_ledger), str(self.seed))
        self.wait(self.venue_socket.exists, 20, "the broker's socket")

    def add(self, name: str, *arguments: str, **environment: str) -> Member:
        """Start a Python process and keep it running."""
        log = self.folder.root / "logs" / f"{name}.log"
        member = Member(name, (sys.executable, *arguments), self.environment(**environment), log)
        self.members[name] = member
        self._start(member)
        return member

    def add_worker(self, name: str, queues: str = "critical,default", **environment: str) -> Member:
        """Start a worker."""
        return self.add(name, "-m", "workers.worker", queues, **environment)

    def remove(self, name: str) -> None:
        """Kill a process and forget it."""
        self._end(self.members.pop(name))

    def tend(self) -> None:
        """Restart what has died."""
        for member in self.members.values():
            if member.old_group is not None and time.monotonic() > member.orphans_until:
                _signal_group(member.old_group, signal.SIGKILL)
                member.old_group = None
            if member.is_running or not member.keep:
                continue
            if member.process is not None:
                if member.old_group is not None:
                    _signal_group(member.old_group, signal.SIGKILL)
                member.old_group = member.process.pid
                member.orphans_until = time.monotonic() + member.linger
                member.linger = 0.0
            if time.monotonic() - member.started_at > 1.0:
                self._start(member)

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> float:
        """Wait, tending, until ``condition`` holds; how long that took. ``TimeoutError`` past ``seconds``."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{what}: not within {seconds:g} s")
            self.tend()
            time.sleep(0.02)
        return time.monotonic() - began

    def wait_for_workers(self) -> None:
        """Wait until every worker has reported itself."""
        expected = sum("workers.worker" in member.argv for member in self.members.values())
        self.wait(
            lambda: rows("SELECT count(*) FROM job_processes WHERE kind = 'worker'")[0][0] >= expected, 40, "workers"
        )

    def freeze(self, target: int) -> None:
        """Stop a process, or with a negative number its group, until `thaw`.

        Should this process be killed before that, a guard lets it go on after a minute, and so end: what is stopped
        does not hear that its parent has died.
        """
        command = ["sh", "-c", f"sleep 60; kill -s CONT -- {target}"]
        self._guards[target] = subprocess.Popen(command, start_new_session=True)
        os.kill(target, signal.SIGSTOP)

    def thaw(self, target: int) -> None:
        """Let what was frozen go on; it may have been killed meanwhile."""
        guard = self._guards.pop(target, None)
        if guard is not None:
            _signal_group(guard.pid, signal.SIGKILL)
            guard.wait(10)
        with suppress(ProcessLookupError):
            os.kill(target, signal.SIGCONT)

    def instance(self, member: Member) -> str:
        """The name under which a worker holds runs; empty before it has reported."""
        found = rows("SELECT name FROM job_processes WHERE pid = %s AND kind = 'worker'", member.pid)
        return str(found[0][0]) if found else ""

    def orders(self) -> list[venue.Booked]:
        """The broker's own ledger."""
        ledger = venue.Ledger(self.venue_ledger)
        try:
            return ledger.orders()
        finally:
            ledger.close()

    def tails(self, count: int = 12) -> str:
        """The last lines of each log."""
        logs = sorted((self.folder.root / "logs").glob("*.log"))
        return "\n".join(f"{log.name}:\n{last_lines(log, count)}" for log in logs)

    def _start(self, member: Member) -> None:
        parent = os.getpid()
        member.log.parent.mkdir(parents=True, exist_ok=True)
        with member.log.open("ab") as output:
            member.process = subprocess.Popen(
                member.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(member.environment),
                cwd=PROJECT_DIR,
                start_new_session=True,
                preexec_fn=lambda: tie_to_parent(parent, signal.SIGKILL),
            )
        member.starts += 1
        member.started_at = time.monotonic()

    def _end(self, member: Member) -> None:
        for group in (member.old_group, member.process.pid if member.process else None):
            if group is not None:
                _signal_group(group, signal.SIGKILL)
        if member.process is not None:
            member.process.wait(10)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def patiently(call: Callable[[], T], seconds: float = 40.0) -> T:
    """``call`` again over a new connection while Postgres is away; its last error past ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Error:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a query of the drill's own, asked again while Postgres is away."""

    def ask() -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    return patiently(ask)
