"""Runs the programs of the Procfile: starts them, restarts what dies or hangs, stops all of them together.

Each program leads a session of its own, so that its children end with it, and is told by the kernel when the
supervisor dies. Its output goes to the terminal, prefixed with its name, and to a file in the data folder.
"""

import logging
import logging.handlers
import os
import re
import shlex
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from runtime.process import ServerError, tie_to_parent

HUNG_AFTER_SECONDS = 45.0
STEADY_AFTER_SECONDS = 30.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0
STOP_SECONDS = 30.0
LOG_BYTES = 5_000_000
COLOURS = ("36", "32", "33", "35", "34", "31")
_LINE = re.compile(r"^([A-Za-z0-9_-]+):\s*(.+)$")


@dataclass(frozen=True)
class Program:
    """One line of the Procfile. ``heartbeat`` is a file that it touches while it is in order, when it does."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    heartbeat: Path | None = None


def read_procfile(path: Path, environment: Mapping[str, str], folder: Path) -> list[Program]:
    """The programs of ``path``, with ``$NAME`` taken from ``environment``; workers get a heartbeat file in ``folder``.

    Raises `ServerError` for a line that is not ``name: command`` and for a name that the environment lacks.
    """
    programs = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ServerError(f"{path.name}, line {number} is not of the form `name: command`. Correct it.")
        name, command = match.groups()
        try:
            argv = shlex.split(string.Template(command).substitute(environment))
        except KeyError as error:
            raise ServerError(f"{path.name}, line {number} uses ${error.args[0]}, which is not set. Set it.") from None
        heartbeat = folder / f"heartbeat-{name}" if "workers.worker" in argv else None
        extra = {"QT_HEARTBEAT_FILE": str(heartbeat)} if heartbeat else {}
        programs.append(Program(name, tuple(argv), {**environment, **extra}, heartbeat))
    return programs


@dataclass
class _Running:
    program: Program
    colour: str
    log: logging.Logger
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    delay: float = FIRST_DELAY_SECONDS
    reader: threading.Thread | None = None


@dataclass
class Supervisor:
    """Keeps ``programs`` running until it is told to stop."""

    programs: Sequence[Program]
    logs: Path
    working_folder: Path
    hung_after: float = HUNG_AFTER_SECONDS
    stop_seconds: float = STOP_SECONDS
    say: Callable[[str], None] = print
    _running: list[_Running] = field(default_factory=list)
    _stop: int = 0

    def run(self) -> None:
        """Start all, watch them, and return when a SIGINT or SIGTERM has stopped them; a second one kills.

        Must be called in the main thread: the kernel ties the programs to the thread that starts them.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        self._running = [
            _Running(program, COLOURS[index % len(COLOURS)], self._file_log(program.name))
            for index, program in enumerate(self.programs)
        ]
        try:
            while not self._stop:
                for running in self._running:
                    self._look_after(running)
                time.sleep(0.1)
        finally:
            self._stop_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Have `run` stop everything and return."""
        self._stop += 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop += 1

    def _file_log(self, name: str) -> logging.Logger:
        log = logging.getLogger(f"quantum.supervisor.{id(self)}.{name}")
        log.propagate = False
        log.setLevel(logging.INFO)
        log.addHandler(
            logging.handlers.RotatingFileHandler(self.logs / f"{name}.log", maxBytes=LOG_BYTES, backupCount=2)
        )
        return log

    def _look_after(self, running: _Running) -> None:
        now = time.monotonic()
        process = running.process
        if process is None:
            if now >= running.start_at:
                self._start(running)
            return
        status = process.poll()
        if status is None:
            if now - running.started > STEADY_AFTER_SECONDS:
                running.delay = FIRST_DELAY_SECONDS
            if self._hangs(running):
                self._tell(running, f"has given no sign of life for {self.hung_after:g} s; it is replaced")
                self._signal(running, signal.SIGKILL)
            return
        self._signal(running, signal.SIGKILL)  # what is left of its session
        ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self._tell(running, f"{ended}; it starts again in {running.delay:g} s")
        running.process = None
        running.start_at = now + running.delay
        running.delay = min(running.delay * 2, LONGEST_DELAY_SECONDS)

    def _start(self, running: _Running) -> None:
        program = running.program
        parent = os.getpid()
        if program.heartbeat is not None:
            program.heartbeat.parent.mkdir(parents=True, exist_ok=True)
            program.heartbeat.touch()
        try:
            running.process = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(program.environment),
                cwd=self.working_folder,
                start_new_session=True,
                preexec_fn=lambda: tie_to_parent(parent, signal.SIGTERM),  # async-signal-safe: two system calls
            )
        except OSError as error:
            self._tell(running, f"cannot be started: {error}; tried again in {LONGEST_DELAY_SECONDS:g} s")
            running.start_at = time.monotonic() + LONGEST_DELAY_SECONDS
            return
        running.started = time.monotonic()
        running.reader = threading.Thread(target=self._copy_output, args=(running, running.process), daemon=True)
        running.reader.start()

    def _copy_output(self, running: _Running, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            running.log.info("%s", text)
            self.say(f"{self._prefix(running)} {text}")

    def _prefix(self, running: _Running) -> str:
        width = max(len(program.name) for program in self.programs)
        text = f"{running.program.name:<{width}} |"
        return f"\x1b[{running.colour}m{text}\x1b[0m" if sys.stdout.isatty() else text

    def _tell(self, running: _Running, what: str) -> None:
        running.log.info("supervisor: %s", what)
        self.say(f"{self._prefix(running)} {running.program.name} {what}")

    def _hangs(self, running: _Running) -> bool:
        heartbeat = running.program.heartbeat
        if heartbeat is None:
            return False
        try:
            silent = time.time() - heartbeat.stat().st_mtime
        except FileNotFoundError:
            silent = time.monotonic() - running.started
        return silent > self.hung_after

    def _signal(self, running: _Running, number: signal.Signals) -> None:
        if running.process is None:
            return
        try:
            os.killpg(running.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # its session is empty; macOS says so with EPERM

    def _stop_all(self) -> None:
        live = [running for running in self._running if running.process is not None]
        for running in live:
            self._signal(running, signal.SIGCONT)
            self._terminate(running)
        deadline = time.monotonic() + self.stop_seconds
        stops = self._stop
        while time.monotonic() < deadline and self._stop <= stops:
            if all(running.process is None or running.process.poll() is not None for running in live):
                break
            time.sleep(0.05)
        for running in live:
            self._signal(running, signal.SIGKILL)
            if running.process is not None:
                running.process.wait()
            if running.reader is not None:
                running.reader.join(2)
            for handler in list(running.log.handlers):
                handler.close()
                running.log.removeHandler(handler)

    def _terminate(self, running: _Running) -> None:
        """Ask the leader alone: it tells its own children, which a worker lets finish their steps."""
        if running.process is not None and running.process.poll() is None:
            running.process.terminate()
