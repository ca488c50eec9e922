"""What the venues over HTTP share: a threaded server, a ledger in SQLite, and a control port that makes them fail.

The control port takes JSON: ``POST /faults`` with a `Fault`'s fields adds one, ``DELETE /faults`` takes all back,
``GET /ledger?sql=`` reads the ledger, and each venue adds its own (``POST /market``, ``/limits``, ``/clock``).
"""

import argparse
import json
import signal
import socket
import sqlite3
import struct
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

GARBAGE = b'{"orderId": 12, "executedQty": "0.0\x00\xff<html>'


@dataclass(frozen=True)
class Request:
    """One request as it came; ``query`` and ``body`` undecoded, header names in lower case."""

    method: str
    path: str
    query: str
    body: bytes
    headers: Mapping[str, str]
    address: str

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters and the form's; the query wins."""
        form = self.body.decode("utf-8", "replace") if "form" in self.headers.get("content-type", "") else ""
        return {
            **dict(parse_qsl(form, keep_blank_values=True)),
            **dict(parse_qsl(self.query, keep_blank_values=True)),
        }


@dataclass
class Response:
    """What is answered: JSON, unless ``raw`` is given."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    is_cut: bool = False
    """Whether the connection breaks half-way."""

    def encoded(self) -> bytes:
        """The bytes of the body."""
        return json.dumps(self.body).encode() if self.raw is None else self.raw


class Rejection(Exception):
    """A request that the venue refuses, as its answer."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.response = Response(status, body, dict(headers or {}))


@dataclass
class Fault:
    """The next ``times`` requests of ``method`` whose path begins with ``path`` go wrong.

    ``process``: ``now``, ``never``, or ``late``, which is ``delay`` seconds afterwards. ``answer``: ``true`` what is
    right, ``drop`` hang up, ``hang`` hang up after ``delay`` seconds, ``garbage``, ``status`` with ``status``, ``body``
    and ``headers``, ``cut``: the connection is reset in the middle of what is right, or ``replace``: what is right with
    ``replace``'s fields in the place of its own. ``true`` waits ``delay`` seconds before it.
    """

    method: str = "POST"
    path: str = "/"
    process: str = "now"
    answer: str = "true"
    delay: float = 0.0
    status: int = 500
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    replace: dict[str, Any] = field(default_factory=dict)
    times: int = 1

    def matches(self, request: Request) -> bool:
        """Whether ``request`` is to go wrong."""
        return self.times > 0 and request.method in self.method.split("|") and request.path.startswith(self.path)


RECEIVED = """
CREATE TABLE IF NOT EXISTS received (number INTEGER PRIMARY KEY, method TEXT NOT NULL, path TEXT NOT NULL,
  query TEXT NOT NULL, body TEXT NOT NULL, turned_away INTEGER NOT NULL DEFAULT 0);
"""
"""Every request but a GET as it came, also those that were lost; ``turned_away``: by a limit, and told so."""
TURNED_AWAY = (418, 429)


class Ledger:
    """SQLite on disk: what the venue was asked and has done, whatever becomes of its process."""

    def __init__(self, path: Path, schema: str) -> None:
        self.lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(RECEIVED + schema)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time; all or nothing."""
        with self.lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        with self.lock:
            return self._connection.execute(sql, values).fetchall()


class Venue(ABC):
    """One venue: routes requests, and keeps its ledger."""

    ledger: Ledger

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._lock = threading.Lock()

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """Do what is asked."""

    def control(self, request: Request) -> Response:
        """What the control port takes."""
        if request.path == "/faults" and request.method == "POST":
            with self._lock:
                self.faults.append(Fault(**json.loads(request.body)))
            return Response(200, {})
        if request.path == "/faults" and request.method == "DELETE":
            with self._lock:
                self.faults.clear()
            return Response(200, {})
        if request.path == "/ledger" and request.method == "GET":
            return Response(200, [dict(row) for row in self.ledger.rows(request.params["sql"])])
        return Response(404, {"error": "no such control"})

    @contextmanager
    def noting(self, request: Request) -> Iterator[list[Response | None]]:
        """Write down that it came, and, by the answer that is put into the list, whether it was turned away."""
        answered: list[Response | None] = []
        if request.method == "GET":
            yield answered
            return
        values = (request.method, request.path, request.query, request.body.decode("utf-8", "replace"))
        with self.ledger.transaction() as connection:
            number = connection.execute(
                "INSERT INTO received (method, path, query, body) VALUES (?, ?, ?, ?)", values
            ).lastrowid
        yield answered
        if any(response is not None and response.status in TURNED_AWAY for response in answered):
            with self.ledger.transaction() as connection:
                connection.execute("UPDATE received SET turned_away = 1 WHERE number = ?", (number,))

    def take_fault(self, request: Request) -> Fault | None:
        """The fault that this request meets, used up by that."""
        with self._lock:
            found = next((fault for fault in self.faults if fault.matches(request)), None)
            if found is not None:
                found.times -= 1
            return found

    def safely(self, request: Request) -> Response:
        """The answer, rejections included."""
        try:
            return self.answer(request)
        except Rejection as rejection:
            return rejection.response


def handler(answer: Callable[[BaseHTTPRequestHandler, Request], Response | None]) -> type[BaseHTTPRequestHandler]:
    """A request handler that answers with ``answer``; None hangs up."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "venue"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            if len(body) < length:  # whoever sent it has died in the middle: this is no request
                self.close_connection = True
                return
            request = Request(self.command, parts.path, parts.query, body, headers, self.client_address[0])
            response = answer(self, request)
            if response is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = response.encoded()
            self.send_response(response.status)
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if response.is_cut:
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()  # by this a reset
                return
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  # the names that the base class calls

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: the ledger says what happened."""

    return Handler


def serve(venue: Venue, request: Request) -> Response | None:
    """Answer, or fail as told; None hangs up."""
    with venue.noting(request) as answered:
        answered.append(_answer(venue, request))
    return answered[0]


def _answer(venue: Venue, request: Request) -> Response | None:
    fault = venue.take_fault(request)
    if fault is None:
        return venue.safely(request)
    if fault.process == "late":
        threading.Timer(fault.delay, venue.safely, [request]).start()
    right = venue.safely(request) if fault.process == "now" else Response(200, {})
    match fault.answer:
        case "drop":
            return None
        case "hang":
            time.sleep(fault.delay)
            return None
        case "garbage":
            return Response(200, None, raw=GARBAGE)
        case "status":
            return Response(fault.status, fault.body, fault.headers)
        case "cut":
            return replace(right, is_cut=True)
        case "replace":
            return Response(right.status, _replaced(right.body, fault.replace), right.headers)
    time.sleep(fault.delay)
    return right


def _replaced(body: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(body, list):
        return [_replaced(row, fields) for row in body]
    if isinstance(body, dict):
        return {**body, **{name: value for name, value in fields.items() if name in body}}
    return body


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nobody's error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def run(make: Callable[[Path], Venue], *, ledger: str) -> None:
    """Serve until SIGTERM or Ctrl-C; prints one JSON line with the ports once it listens, on loopback alone."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.venues.{Path(ledger).stem}")
    parser.add_argument("--port", type=int, default=0, help="of the venue; 0: any that is free")
    parser.add_argument("--control", type=int, default=0, help="of the control port; 0: any that is free")
    parser.add_argument("--ledger", type=Path, default=Path(ledger), help="the SQLite file; kept between runs")
    options = parser.parse_args()
    venue = make(options.ledger)
    server = _Server(("127.0.0.1", options.port), handler(lambda _, request: serve(venue, request)))
    control = _Server(("127.0.0.1", options.control), handler(lambda _, request: venue.control(request)))
    threading.Thread(target=control.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(json.dumps({"port": server.server_port, "control": control.server_port}), flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        sys.exit(130)
