"""Raw requests on a socket: sizes, chunks, compressed and smuggled bodies, headers given twice."""

import gzip
import json
import time
from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.security.conftest import PASSWORD
from tests.security.server import Answer, request, send, serving
from trading.core.asgi import CREDENTIALS, MAX_BODY_BYTES, SINGLE
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

JSON = "Content-Type: application/json"
LOGIN = json.dumps({"username": "ann", "password": PASSWORD}).encode()


@pytest.fixture
def ann(transactional_db: None) -> User:
    desk = Client.objects.create(name="Desk")
    return User.objects.create_user("ann", password=PASSWORD, client=desk, role=Role.OWNER)


@pytest.fixture
def server(transactional_db: None) -> Iterator[tuple[str, int]]:
    with serving() as address:
        yield address


def refused(answer: Answer, status: int, type_: str) -> None:
    assert answer.status == status, answer.raw[:400]
    detail = json.loads(answer.body)["detail"]
    assert detail["type"] == type_
    assert detail["message"]
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "server" not in {name.lower() for name in answer.headers}


def chunked(*parts: bytes) -> bytes:
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


def test_good_requests_are_answered(server: tuple[str, int], ann: User) -> None:
    """Otherwise what is below would be refused for the wrong reason."""
    assert send(server, request("POST", "/auth/login", JSON, body=LOGIN)).status == 200
    pieces = chunked(LOGIN[:10], LOGIN[10:])
    assert send(server, request("POST", "/auth/login", JSON, "Transfer-Encoding: chunked", body=pieces)).status == 200
    same = request("POST", "/auth/login", JSON, "Content-Encoding: identity", body=LOGIN)
    assert send(server, same).status == 200


def test_a_body_past_the_limit_is_refused_before_it_has_come(server: tuple[str, int]) -> None:
    for length in (MAX_BODY_BYTES + 1, 10**15, int("9" * 18)):
        answer = send(server, request("POST", "/auth/login", JSON, f"Content-Length: {length}"))
        refused(answer, 413, "payload_too_large")


def test_chunks_without_an_end_are_refused(server: tuple[str, int]) -> None:
    head = request("POST", "/auth/login", JSON, "Transfer-Encoding: chunked")
    answer = send(server, head + b"10000\r\n" + b"x" * 65_536 + b"\r\n" + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 20)
    refused(answer, 413, "payload_too_large")


def test_a_body_past_what_the_api_reads_is_refused(server: tuple[str, int]) -> None:
    body = json.dumps({"username": "ann", "password": "x" * 70_000}).encode()
    refused(send(server, request("POST", "/auth/login", JSON, body=body)), 413, "payload_too_large")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x"])
def test_a_compressed_body_is_refused_unread(server: tuple[str, int], encoding: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 65_536
    began = time.monotonic()
    answer = send(server, request("POST", "/auth/login", JSON, f"Content-Encoding: {encoding}", body=bomb))
    refused(answer, 415, "unsupported_media_type")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", sorted(SINGLE - {b"content-length", b"host", b"transfer-encoding"}))
def test_a_header_that_counts_once_is_not_taken_twice(server: tuple[str, int], ann: User, name: bytes) -> None:
    value = {b"authorization": f"Bearer {issue_access_token(ann)}", b"x-cron-secret": settings.CRON_SECRET}
    line = f"{name.decode()}: {value.get(name, 'application/json')}"
    answer = send(server, request("GET", "/jobs/runs", line, line))
    if name in CREDENTIALS:
        refused(answer, 401, "not_authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    else:
        refused(answer, 400, "bad_request")


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Content-Length: 0x5",),
        ("Content-Length: \u00b2",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding : chunked",),
        ("Host: evil.example",),
        ("X-Broken\x00: 1",),
        ("X-Line: a\x00b",),
        ("No colon",),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_request(server: tuple[str, int], lines: tuple[str, ...]) -> None:
    answer = send(server, request("POST", "/auth/login", JSON, *lines, body=b"hello"))
    assert answer.status in (400, 501), answer.raw[:300]
    assert b"Traceback" not in answer.raw


def test_length_and_chunks_at_once_are_refused(server: tuple[str, int], ann: User) -> None:
    """The chunks count, the rest is never a second request: the connection ends with the answer."""
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    lines = (JSON, "Content-Length: 3", "Transfer-Encoding: chunked")
    answer = send(server, request("POST", "/auth/login", *lines, body=smuggled))
    assert answer.raw.count(b"HTTP/1.1 ") == 1
    assert answer.status in (400, 422)


def test_a_head_past_the_limit_is_refused(server: tuple[str, int]) -> None:
    many = [f"X-More-{number}: {'x' * 1000}" for number in range(30)]
    refused(send(server, request("GET", "/health", *many)), 431, "headers_too_large")
    assert send(server, request("GET", "/health", *many[:20])).status == 200
    refused(send(server, request("GET", "/jobs/runs?job=" + "x" * 9_000)), 414, "uri_too_long")
    refused(send(server, request("GET", "/" + "x" * 9_000)), 414, "uri_too_long")


def test_a_head_without_an_end_is_cut_off(server: tuple[str, int]) -> None:
    answer = send(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-More: " + b"x" * 2_000_000)
    assert answer.status in (400, 431)


def test_a_body_in_chunks_is_read_as_any_other(server: tuple[str, int], ann: User) -> None:
    """Taken for empty, a request would do something else than it says."""
    token = f"Authorization: Bearer {issue_access_token(ann)}"
    body = chunked(b'{"everywhere"', b": 3}")
    answer = send(server, request("POST", "/auth/logout", JSON, token, "Transfer-Encoding: chunked", body=body))
    refused(answer, 422, "validation_error")
    empty = send(server, request("POST", "/auth/login", JSON, "Transfer-Encoding: chunked", body=chunked()))
    refused(empty, 422, "validation_error")


def test_a_header_with_an_underscore_is_not_one_with_a_hyphen(server: tuple[str, int], ann: User) -> None:
    """Proxies strip the one and let the other pass."""
    answer = send(server, request("GET", "/jobs/runs", f"X_Cron_Secret: {settings.CRON_SECRET}"))
    refused(answer, 401, "not_authenticated")


def test_no_header_is_smuggled_into_an_answer(server: tuple[str, int], ann: User) -> None:
    for path in ("/nope%0d%0aSet-Cookie:%20a=b", "/login?next=/app/%0d%0aSet-Cookie:%20a=b", "//evil.example/%2e%2e"):
        answer = send(server, request("GET", path))
        assert "set-cookie: a=b" not in answer.raw.lower().decode("latin-1").replace("\r\n", "\n").split("\n\n")[0]
        assert "location" not in {name.lower() for name in answer.headers}, path


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "has space in", "new\x01line-1234", "../../etc/passwd", "\xe4" * 9, ""]
)
def test_an_ill_formed_request_id_is_replaced(server: tuple[str, int], given: str) -> None:
    answer = send(server, request("GET", "/health", f"X-Request-ID: {given}"))
    assert len(answer.headers["x-request-id"]) == 32
    kept = send(server, request("GET", "/health", "X-Request-ID: a-good.one_1"))
    assert kept.headers["x-request-id"] == "a-good.one_1"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1@evil.example", ""])
def test_another_host_is_not_answered(server: tuple[str, int], host: str) -> None:
    refused(send(server, request("GET", "/health", host=host)), 400, "bad_request")
