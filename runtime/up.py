"""``make run``: from nothing to a running platform with a demo client, in one terminal."""

import compileall
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import environ
import psycopg
import redis
from rich.console import Console
from rich.panel import Panel

from runtime import roles, secrets
from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer
from runtime.process import ServerError
from runtime.supervisor import Supervisor, read_procfile
from runtime.valkey import ValkeyServer

READY_SECONDS = 60.0
REACH_SECONDS = 5
SOURCES = ("config", "runtime", "trading", "workers")
DEMO = {
    "QUANTUM_TRADER_SYMBOLS": "AAPL,FB,GOOG,IBM,MSFT",
    "QT_MARKET_PROVIDER": "csv",
    "QT_CSV_BARS_PER_REFRESH": "1",
}
"""The market that the first start writes into ``.env``: the bundled one, lived through again a day for each refresh."""
console = Console(highlight=False, width=max(100, shutil.get_terminal_size().columns))


class StepError(RuntimeError):
    """A step of the start failed; the message says which and what to do."""


def main() -> None:
    """Start everything, show what there is, and stop everything on Ctrl-C."""
    try:
        with ExitStack() as stack:
            Start(stack).run()
    except (StepError, ServerError) as error:
        console.print(f"[bold red]Not started.[/] {error}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def compile_sources(project: Path) -> None:
    """Keep the byte code of our own sources on disk, once for every change, where each process finds it.

    Python does so by itself when it imports a module, but not where ``PYTHONDONTWRITEBYTECODE`` is set, as in many
    containers; there each of the processes would compile everything at each start. A folder that cannot be written to
    stays as it is.
    """
    for name in SOURCES:
        compileall.compile_dir(project / name, quiet=2)


class Start:
    """The steps of one start; ``stack`` undoes them in turn."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._began = time.monotonic()

    def run(self) -> None:
        """All steps, then the supervisor until Ctrl-C."""
        self._read_environment()
        self._check_ports()
        folder = DataFolder.from_environment()
        with ThreadPoolExecutor(1) as beside:
            beside.submit(compile_sources, PROJECT_DIR)
            self._start_servers(folder)
        with ThreadPoolExecutor(1) as beside, self._step("Database, pages, demo client, bundled prices"):
            writable = "Is the project's folder writable?"
            static = beside.submit(self._manage, "collectstatic", "--noinput", "-v0", hint=writable)
            hint = "Run it by hand: python manage.py setup_demo --migrate"
            demo = json.loads(self._manage("setup_demo", "--migrate", "--json", hint=hint))
            static.result()
        programs = read_procfile(PROJECT_DIR / "Procfile", self._environment, folder.root / "run")
        supervisor = Supervisor(programs, folder.root / "logs", PROJECT_DIR, say=self._say)
        threading.Thread(target=self._welcome, args=(demo, folder), daemon=True).start()
        supervisor.run()
        self._say("Stopping the servers.")

    def _read_environment(self) -> None:
        os.chdir(PROJECT_DIR)
        written = secrets.complete(PROJECT_DIR / ".env", at_first=DEMO)
        if written:
            console.print(f"Secrets written to .env: {', '.join(written)}", soft_wrap=True)
        environ.Env.read_env(PROJECT_DIR / ".env")
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
        os.environ.setdefault("PYTHONUNBUFFERED", "1")
        self._port = self._number("PORT", 8000)
        self._flower_port = self._number("FLOWER_PORT", 5555)
        self._environment = dict(os.environ)

    def _number(self, name: str, default: int) -> int:
        text = os.environ.setdefault(name, str(default))
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise StepError(f"{name} is {text!r}, which is not a port. Set it to a number from 1 to 65535.")
        return int(text)

    def _check_ports(self) -> None:
        if self._port == self._flower_port:
            raise StepError(f"PORT and FLOWER_PORT are both {self._port}. Give them different numbers.")
        for name, port in (("PORT", self._port), ("FLOWER_PORT", self._flower_port)):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise StepError(
                        f"Port {port} cannot be used: {error.strerror}. Stop what uses it, or choose another:"
                        f" {name}={port + 10} make run"
                    ) from None

    def _start_servers(self, folder: DataFolder) -> None:
        folder.root.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((folder.root / "up.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepError(
                f"It is running already in {folder.root}. Stop that one with Ctrl-C, or start a second copy beside it:"
                " QT_DATA_DIR=.data2 PORT=8010 FLOWER_PORT=5565 make run"
            ) from None
        if url := os.environ.get("DATABASE_URL"):
            with self._step("Postgres: the server of DATABASE_URL"):
                reach_postgres(url)
                if not os.environ.get("DATABASE_APP_URL"):
                    make_logins(url)
        else:
            with self._step("Postgres: embedded"):
                self._stack.enter_context(PostgresServer(folder))
        if url := os.environ.get("REDIS_URL"):
            with self._step("Redis: the server of REDIS_URL"):
                reach_redis(url)
        else:
            with self._step("Redis: embedded Valkey"):
                self._stack.enter_context(ValkeyServer(folder))

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        console.print(f"[green]✓[/] {title} [dim]({time.monotonic() - began:.1f} s)[/]")

    def _manage(self, *arguments: str, hint: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT_DIR,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            shown = (done.stderr or done.stdout).strip()[-3000:]
            raise StepError(f"`manage.py {' '.join(arguments)}` failed:\n{shown}\n{hint}")
        return done.stdout

    def _say(self, line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    def _welcome(self, demo: dict[str, Any], folder: DataFolder) -> None:
        """Wait until the pages answer, let the first chains run, and show where to look."""
        if not self._is_ready():
            self._say(f"The web process has not answered for {READY_SECONDS:g} s; its output stands above and in")
            self._say(f"{folder.root / 'logs' / 'web.log'}. Ctrl-C stops everything.")
            return
        chains = subprocess.run(
            [sys.executable, "manage.py", "first_chains", "--once"],
            cwd=PROJECT_DIR,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if chains.stdout.strip():
            self._say(chains.stdout.strip())
        if chains.returncode != 0:
            self._say(chains.stderr.strip())
        self._show(demo, folder)

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=2) as answer:  # loopback
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        return False

    def _show(self, demo: dict[str, Any], folder: DataFolder) -> None:
        site = f"http://127.0.0.1:{self._port}"
        flower_user, _, flower_password = os.environ["FLOWER_BASIC_AUTH"].partition(":")
        text = "\n".join(
            (
                f"[bold]Dashboard[/]  {site}/",
                f"            log in as [bold]{demo['username']}[/] with [bold]{demo['password']}[/]",
                f"[bold]Admin[/]      {site}/admin/",
                f"            log in as [bold]{demo['admin_username']}[/] with [bold]{demo['admin_password']}[/]",
                f"[bold]API[/]        {site}/api/docs",
                f"[bold]Flower[/]     http://127.0.0.1:{self._flower_port}/",
                f"            log in as [bold]{flower_user}[/] with [bold]{flower_password}[/]",
                f"[bold]Logs[/]       {folder.root / 'logs'}",
                "",
                "Look first at the dashboard, at Job runs → execution-cycle step by step, and at Backtests → dual_sma.",
                "Ctrl-C stops everything; the next `make run` goes on where this one was.",
            )
        )
        seconds = time.monotonic() - self._began
        console.print(Panel(text, title=f"Quantum Trader runs ({seconds:.0f} s)", expand=False))
        self._say("The newest runs, with a token that is good for an hour:\n")
        self._say(f"curl -s -H 'Authorization: Bearer {demo['token']}' '{site}/jobs/runs?limit=5'")
        self._say("\nA day later in the market, and another cycle, from a second terminal:\n")
        self._say(".venv/bin/python manage.py run_job market-refresh")
        self._say(f".venv/bin/python manage.py run_job execution-cycle --client '{demo['client_name']}'\n")


def reach_postgres(url: str) -> None:
    """Connect once to the database of ``url``, as the settings will.

    Raises `StepError`, which names no password, when that is no address of a Postgres or nothing answers there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an unknown scheme, which is said below
        told = environ.Env.db_url_config(url)
    if told.get("ENGINE") != "django.db.backends.postgresql":
        raise StepError("DATABASE_URL is not of the form postgres://user:password@host:5432/name. Correct or unset it.")
    words = {"host": told["HOST"], "port": told["PORT"], "user": told["USER"], "password": told["PASSWORD"]}
    given = {name: str(value) for name, value in words.items() if value}
    try:
        psycopg.connect(
            **{**told.get("OPTIONS", {}), **given}, dbname=told["NAME"], connect_timeout=REACH_SECONDS
        ).close()
    except psycopg.Error as error:
        raise StepError(
            f"The server of DATABASE_URL cannot be used: {' '.join(str(error).split())}. Start it, or correct"
            " DATABASE_URL, or unset it: then the embedded Postgres is used."
        ) from None


def make_logins(url: str) -> None:
    """Make the logins that the application works through; raises `StepError` where ``url`` may not."""
    try:
        roles.ensure(url, os.environ["SECRET_KEY"])
    except roles.RolesError as error:
        raise StepError(str(error)) from None
    except psycopg.Error as error:
        raise StepError(f"The logins could not be made: {' '.join(str(error).split())}.") from None


def reach_redis(url: str) -> None:
    """Ask the server of ``url`` for a sign of life.

    Raises `StepError`, which names no password, when that is no address of a Redis or nothing answers there.
    """
    remedy = "Start it, or correct REDIS_URL, or unset it: then the embedded Valkey is used."
    try:
        with redis.Redis.from_url(url, socket_timeout=REACH_SECONDS, socket_connect_timeout=REACH_SECONDS) as client:
            client.ping()
    except ValueError:
        raise StepError(f"REDIS_URL is not of the form redis://:password@host:6379/0. {remedy}") from None
    except redis.RedisError as error:
        raise StepError(f"The server of REDIS_URL cannot be used: {error}. {remedy}") from None


if __name__ == "__main__":
    main()
