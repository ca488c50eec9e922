"""The steps of a process, as the outside sees them: what it commits, sends and receives; and its death at one of them.

Only a drill's own processes call `watch`. It wraps the connection to Postgres and Python's sockets, so that a commit or
a message that is new in the code is a new step of the drill without anybody's doing. Reading from Postgres is none: who
dies there dies as after the step before.
"""

import os
import re
import select
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from trading.core.postgres.base import DatabaseWrapper

_WRITES = re.compile(
    r'\bINSERT INTO "?(\w+)|(?<!FOR )(?<!KEY )(?<!DO )\bUPDATE "?(\w+)|\bDELETE FROM "?(\w+)|(pg_advisory_\w+)'
)
_CALLS = re.compile(r"\bEXECUTE (\w+)")
_HTTP = re.compile(rb"(GET|POST|PUT|DELETE) (/[^ ?]*)[^\r]* HTTP/1\.1\r\n")
_REDIS = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")
GATEWAY = "gateway"
PLACE_ORDER = b"3\x00"
"""How a message to Interactive Brokers' gateway begins, after its length, when it is an order."""


class Point(NamedTuple):
    """The ``number``-th time, from 1, that a process comes to ``step``."""

    step: str
    number: int

    def __str__(self) -> str:
        return self.step if self.number == 1 else f"{self.step} ({self.number})"


@dataclass
class Steps:
    """Counts the steps of this process while it is ``on``, tells each, and dies at ``fatal``."""

    tell: Callable[[Point], None]
    fatal: Point | None = None
    on: bool = False
    is_wanted: Callable[[str], bool] = lambda step: True
    _seen: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Count from here on, from 1."""
        self.on = True
        self._seen.clear()

    def come_to(self, step: str) -> None:
        """The process is at ``step``."""
        if not self.on or not self.is_wanted(step):
            return
        self._seen[step] += 1
        point = Point(step, self._seen[step])
        self.tell(point)
        if point == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, name: str, done: str) -> Iterator[None]:
        """Two steps: before it is done, and after."""
        self.come_to(name)
        yield
        self.come_to(done)


def watch(steps: Steps, places: Mapping[int, str]) -> None:
    """Tell ``steps`` all that this process does from now on; ``places`` are ports and what is reached there."""
    _watch_commits(steps)
    _watch_sockets(steps, places)


def _watch_commits(steps: Steps) -> None:
    written: dict[int, list[str]] = {}
    prepared: dict[str, list[str]] = {}
    """By the name of a prepared statement, what it writes."""
    execute, commit, send = psycopg.Cursor.execute, psycopg.Connection.commit, DatabaseWrapper._send

    def writes(text: str) -> list[str]:
        found = [next(filter(None, names)) for names in _WRITES.findall(text)]
        return found + [table for name in _CALLS.findall(text) for table in prepared.get(name, [])]

    def note(connection: Any, text: str) -> None:
        if text.startswith(("BEGIN", "ROLLBACK")):
            written.pop(id(connection), None)
        written.setdefault(id(connection), []).extend(writes(text))

    def noting_execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        note(self.connection, query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else "")
        return execute(self, query, *arguments, **options)

    def told(connection: Any, do: Callable[[], None]) -> None:
        tables = ", ".join(sorted(set(written.pop(id(connection), []))))
        with steps.around(f"committing {tables}", f"committed {tables}") if tables else nullcontext():
            do()

    def noting_commit(self: Any) -> None:
        told(self, lambda: commit(self))

    def noting_send(self: Any, command: bytes) -> None:
        text = command.decode()
        if text.startswith("PREPARE "):
            prepared[text.split(maxsplit=2)[1].partition("(")[0]] = writes(text)
            send(self, command)
            return
        note(self.connection, text)
        if text.endswith("COMMIT"):
            told(self.connection, lambda: send(self, command))
        else:
            send(self, command)

    psycopg.Cursor.execute = noting_execute  # type: ignore[method-assign]
    psycopg.Connection.commit = noting_commit  # type: ignore[method-assign]
    DatabaseWrapper._send = noting_send  # type: ignore[method-assign]


def _watch_sockets(steps: Steps, places: Mapping[int, str]) -> None:
    last: dict[int, str] = {}
    """By descriptor, what was sent last over it."""

    def name(self: socket.socket, data: Any) -> str:
        """What is sent, in few words; empty when this process talks to itself."""
        where = _place(self, places)
        if where is None:
            return ""
        sent = bytes(data[:400])
        if (http := _HTTP.match(sent)) is not None:
            found = f"{http[1].decode()} {where}{http[2].decode()}"
        elif (redis := _REDIS.match(sent)) is not None:
            found = f"redis {redis[1].decode().upper()}"
        elif where == GATEWAY:
            found = "an order to the gateway" if sent[4:].startswith(PLACE_ORDER) else "a message to the gateway"
        else:
            found = f"the rest of {last.get(self.fileno(), 'nothing').removeprefix('the rest of ')}"
        last[self.fileno()] = found
        return found

    def sending(method: str) -> None:
        original = getattr(socket.socket, method)

        def noting(self: socket.socket, data: Any, *arguments: Any) -> Any:
            message = name(self, data)
            if not message:
                return original(self, data, *arguments)
            with steps.around(f"sending {message}", f"sent {message}"):
                return original(self, data, *arguments)

        setattr(socket.socket, method, noting)

    def receiving(method: str) -> None:
        original = getattr(socket.socket, method)

        def noting(self: socket.socket, *arguments: Any) -> Any:
            message = "" if _place(self, places) is None else last.get(self.fileno(), "")
            if not message:
                return original(self, *arguments)
            if not select.select([self], [], [], self.gettimeout())[0]:  # until it is there, and unread
                return original(self, *arguments)  # nothing has come: who only looks whether the line still stands
            with steps.around(f"answered: {message}", f"read the answer: {message}"):
                return original(self, *arguments)

        setattr(socket.socket, method, noting)

    sending("send")
    sending("sendall")
    receiving("recv")
    receiving("recv_into")


def _place(connection: socket.socket, places: Mapping[int, str]) -> str | None:
    """Where a connection leads; None for one to this process itself, or to nobody."""
    try:
        peer = connection.getpeername()
    except OSError:
        return None
    if connection.family == socket.AF_UNIX:
        return "" if peer else None
    return places.get(peer[1], "")
