"""A drill's own processes: forked from one that has loaded everything and holds no connection, and killed at will."""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.process import tie_to_parent

Tell = Callable[..., None]
"""Sends one JSON object, the keyword arguments, to the drill."""


@dataclass
class Ended:
    """What became of a process: all that it told, and how it ended: a signal's number below 0, or its status."""

    told: list[dict[str, Any]]
    status: int
    seconds: float

    def last(self, name: str) -> Any:
        """The last value that was told under ``name``; None when there is none."""
        return next((message[name] for message in reversed(self.told) if name in message), None)

    def every(self, name: str) -> list[Any]:
        """All values that were told under ``name``."""
        return [message[name] for message in self.told if name in message]


@dataclass
class Process:
    """One that runs."""

    pid: int
    pipe: int
    began: float = field(default_factory=time.monotonic)
    _text: bytes = b""

    def wait(self, seconds: float) -> Ended:
        """Wait for its end; it is killed when that does not come."""
        self.watch(seconds)
        return self.end()

    def watch(self, seconds: float) -> None:
        """Listen until it has ended, or for so long."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass

    def is_running(self) -> bool:
        """Whether it has not hung up."""
        while select.select([self.pipe], [], [], 0)[0]:
            if not self._read(0):
                return False
        return True

    def told(self) -> list[dict[str, Any]]:
        """All that it has told so far."""
        self.is_running()
        return self._lines()

    def end(self) -> Ended:
        """Kill it, unless it has ended."""
        os.kill(self.pid, signal.SIGKILL)
        while self._read(5):
            pass
        os.close(self.pipe)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(self._lines(), status, time.monotonic() - self.began)

    def _read(self, seconds: float) -> bool:
        """Take in what it tells next; False when it has ended, or nothing comes for so long."""
        if seconds < 0 or not select.select([self.pipe], [], [], seconds)[0]:
            return False
        got = os.read(self.pipe, 65_536)
        self._text += got
        return bool(got)

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._text.split(b"\n")[:-1]]


def fork(role: Callable[[Tell], None], log: Path) -> Process:
    """Run ``role`` in a new process, which ends with this one; what it prints goes to ``log``."""
    parent = os.getpid()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Process(pid, reading)
    status = 1
    try:
        os.close(reading)
        tie_to_parent(parent, signal.SIGKILL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        role(lambda **message: _write(writing, message))
        status = 0
    except BaseException:  # noqa: BLE001  # whatever it is, the process ends here and not in its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _write(pipe: int, message: dict[str, Any]) -> None:
    os.write(pipe, json.dumps(message, default=str).encode() + b"\n")
