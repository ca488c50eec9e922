"""Before Django: what must be judged by the raw request, and bodies that are refused while they arrive."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from uuid import uuid4

MAX_BODY_BYTES: Final = 1_000_000

MAX_HEAD_BYTES: Final = 24_576
"""A token of 8 KB, cookies, and what browsers and proxies add."""
MAX_TARGET_BYTES: Final = 8_192

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CREDENTIALS: Final = frozenset(
    {
        b"authorization",
        b"x-admin-key",
        b"x-admin-token",
        b"x-cron-secret",
        b"x-task-signature",
        b"x-task-timestamp",
        b"x-test-mode-user",
    }
)
SINGLE: Final = CREDENTIALS | {
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"host",
    b"idempotency-key",
    b"origin",
    b"transfer-encoding",
    b"x-csrftoken",
}
"""Headers that mean two things when they come twice: the one that a proxy looked at, and the one that we would."""
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class Sane:
    """Refuses a request whose head is too large, or holds a header of `SINGLE` more than once.

    414 and 431 for the size; for a header that came twice 401 when it is a credential, 400 otherwise.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or not."""
        if scope["type"] == "http" and (refusal := _fault(scope)) is not None:
            await _refuse(send, *refusal)
            return
        await self._application(scope, receive, send)


def _fault(scope: Scope) -> tuple[int, str, str] | None:
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return 414, "uri_too_long", f"The path and query are longer than {MAX_TARGET_BYTES} bytes."
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
        return 431, "headers_too_large", f"The headers are longer than {MAX_HEAD_BYTES} bytes."
    counts = Counter(name.lower() for name, _ in scope["headers"])
    twice = {name for name in SINGLE if counts[name] > 1}
    if twice & CREDENTIALS:
        return 401, "not_authenticated", "Credentials were given more than once."
    if twice:
        return 400, "bad_request", f"{min(twice).decode().title()} was given more than once."
    return None


class BodyLimit:
    """Answers 413 to a request whose body is, or says that it is, larger than a limit in bytes.

    A body in chunks is taken whole first and passed on with its length: what asks for the length, as REST framework
    does, would otherwise take it for empty.
    """

    def __init__(self, application: Application, limit: int = MAX_BODY_BYTES) -> None:
        self._application = application
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or not. The server sees to it that no body is longer than it said."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:20]) > self._limit:
            await _too_large(send)
        elif b"transfer-encoding" in headers:
            await self._gathered(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _gathered(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the caller is gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                await _too_large(send)
                return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        others = [(name, value) for name, value in scope["headers"] if name not in _FRAMING]
        length = (b"content-length", str(len(body)).encode())
        await self._application({**scope, "headers": [*others, length]}, again, send)


async def _too_large(send: Send) -> None:
    await _refuse(send, 413, "payload_too_large", "The request's body is too large.")


async def _refuse(send: Send, status: int, type_: str, message: str) -> None:
    """The one form of errors, and the headers of every other answer; the connection is not used again."""
    body = json.dumps({"detail": {"type": type_, "message": message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", uuid4().hex.encode()),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
