"""The platform behind uvicorn, in a thread: what raw bytes on a socket get, which no test client can send."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.parser import Parser
from typing import Any

import uvicorn
from django.db import connection

OPTIONS: dict[str, Any] = {"access_log": False, "server_header": False, "proxy_headers": False, "log_level": "error"}
"""As the Procfile has them."""


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers as they were, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """The address of a server of ``config.asgi:application`` on the loopback interface."""
    from config.asgi import application  # here, as it needs the settings that pytest-django makes

    kept = connection.settings_dict["CONN_MAX_AGE"]
    connection.settings_dict["CONN_MAX_AGE"] = 0  # the server's thread must not keep the test database open
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", **OPTIONS))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            connection.settings_dict["CONN_MAX_AGE"] = kept


def send(address: tuple[str, int], data: bytes, *, timeout: float = 10) -> Answer:
    """Send raw bytes; the answer. Ends when the server closes, or has said all that Content-Length promises."""
    with socket.create_connection(address, timeout=timeout) as peer:
        peer.settimeout(timeout)
        with suppress(BrokenPipeError, ConnectionResetError):  # it has answered before the end
            peer.sendall(data)
        received = b""
        while not _is_whole(received):
            try:
                part = peer.recv(65_536)
            except ConnectionResetError:
                break
            if not part:
                break
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, _, fields = head.decode("latin-1").partition("\r\n")
    headers = {name.lower(): value for name, value in Parser().parsestr(fields).items()}
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Answer(int(status.split(" ")[1]), headers, body, received)


def _joined(chunks: bytes) -> bytes:
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        body, chunks = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def request(method: str, path: str, *headers: str, body: bytes = b"", host: str = "127.0.0.1") -> bytes:
    """A request's bytes; Content-Length is added unless it or chunks are among the headers."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    named = " ".join(headers).lower()
    if body and "content-length" not in named and "chunked" not in named:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def _is_whole(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
    return length is not None and len(body) >= int(length.split(b":")[1])
