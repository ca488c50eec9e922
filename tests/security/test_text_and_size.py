"""Text that cannot be stored or means two things, nesting without an end, and much of everything."""

import json
import time
from typing import Any

import pytest
from django.test import Client as Http

from tests.security.conftest import JSON, bearer, refused, signed
from trading.core.errors import Invalid
from trading.core.parsing import MAX_DEPTH, parse
from trading.jobs.models import JobRun
from trading.tenants.models import LoginSession, User

pytestmark = pytest.mark.django_db

BODIES: dict[str, tuple[bytes, int]] = {
    "NUL": (b'{"username": "a\\u0000b", "password": "x"}', 422),
    "NUL raw": (b'{"username": "a\x00b", "password": "x"}', 422),
    "NUL in a name": (b'{"user\\u0000name": "ab", "password": "x"}', 422),
    "lone surrogate": (b'{"username": "\\ud800", "password": "x"}', 422),
    "surrogates the wrong way round": (b'{"username": "\\udc00\\ud800", "password": "x"}', 422),
    "lone surrogate in a name": (b'{"\\udfff": 1}', 422),
    "not UTF-8": (b'{"username": "\xff\xfe", "password": "x"}', 422),
    "overlong UTF-8": (b'{"username": "\xc0\x80", "password": "x"}', 422),
    "UTF-16": ('{"username": "a", "password": "x"}'.encode("utf-16"), 422),
    "byte order mark": (b'\xef\xbb\xbf{"username": "a", "password": "x"}', 422),
    "a key twice": (b'{"username": "a", "username": "b", "password": "x"}', 422),
    "a key twice, spelt otherwise": (b'{"username": "a", "user\\u006eame": "b", "password": "x"}', 422),
    "a key twice, deep": (b'{"username": {"a": [{"b": 1, "b": 2}]}, "password": "x"}', 422),
    "100,000 deep": (b"[" * 50_000, 422),
    "deep and whole": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 422),
    "deep, in turns": (b'[{"a":' * 5_000, 422),
    "deep behind a quote": (b'{"a": "\\\\", "b": ' + b"[" * 30_000, 422),
    "an open text": (b'{"a": "' + b"x" * 60_000, 422),
    "many backslashes": (b'{"a": "' + b"\\" * 60_000, 422),
    "a list": (b"[1, 2]", 422),
    "a text": (b'"x"', 422),
    "null": (b"null", 422),
    "two objects": (b"{}{}", 422),
    "a comment": (b'{"username": "a" /* x */}', 422),
    "single quotes": (b"{'username': 'a'}", 422),
    "a trailing comma": (b'{"username": "a",}', 422),
    "a raw line feed": (b'{"username": "a\nb", "password": "x"}', 422),
    "many names": (json.dumps({f"n{number}": 1 for number in range(4_000)}).encode(), 422),
    "past the limit": (json.dumps({"username": "x" * 65_536}).encode(), 413),
    "a megabyte": (b" " * 1_000_001, 413),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES.keys())
def test_it_is_refused_and_soon(http: Http, ann: User, body: bytes, status: int) -> None:
    began = time.process_time()
    refused(http.post("/auth/login", body, content_type=JSON), status)
    assert time.process_time() - began < 2, "not by trying for long"
    assert not LoginSession.objects.exists()


@pytest.mark.usefixtures("sample_jobs")
@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES.keys())
def test_so_is_a_signed_one(http: Http, body: bytes, status: int) -> None:
    path = "/internal/tasks/sample-one"
    refused(http.post(path, body, content_type=JSON, headers=signed(path, body)), status)
    assert not JobRun.objects.exists()


def test_the_depth_is_counted_outside_texts() -> None:
    assert parse(b'{"a": "' + b"[" * 1000 + b'"}') == {"a": "[" * 1000}
    assert parse(b'{"a": "\\"' + b"[" * 1000 + b'"}') == {"a": '"' + "[" * 1000}
    deepest = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert parse(deepest)["a"]
    with pytest.raises(Invalid):
        parse(b'{"a":' + deepest + b"}")


def test_other_scripts_and_signs_are_text_like_any() -> None:
    for text in ("Zoë", "東京", "🦆", "\u202eevil", "a\tb", "'; DROP TABLE users; --", "{{7*7}}", "=1+1", "${x}"):
        assert parse(json.dumps({"a": text}).encode()) == {"a": text}


def test_an_error_repeats_nothing_that_an_answer_cannot_hold(http: Http) -> None:
    for body in (
        b'{"\\ud800": 1, "\\ud800": 2}',
        b'{"\\u0000": 1, "\\u0000": 2}',
        '{"\u202e": 1, "\u202e": 2}'.encode(),
    ):
        answer = http.post("/auth/login", body, content_type=JSON)
        refused(answer, 422)
        answer.content.decode("utf-8")


QUERIES: list[tuple[str, Any]] = [
    ("job", "a\x00b"),
    ("job", "x" * 65),
    ("status", "running'--"),
    ("status", ""),
    ("since", "yesterday"),
    ("since", "2026-01-01T00:00:00+99:99"),
    ("since", "9999-12-31T23:59:59-23:59"),
    ("since", "\u0662\u0660\u0662\u0666-01-01"),
    ("cursor", "x"),
    ("cursor", "\x00"),
    ("cursor", "0" * 5000),
    ("cursor", "00000000-0000-0000-0000-00000000000\u0660"),
    ("no_such_filter", "1"),
    ("client_id", "00000000-0000-0000-0000-000000000001"),
    ("__class__", "1"),
    ("job", ["a", "b"]),
]


@pytest.mark.parametrize(("name", "value"), QUERIES, ids=lambda value: repr(value)[:30])
def test_a_query(http: Http, ann: User, name: str, value: Any) -> None:
    detail = refused(http.get("/jobs/runs", {name: value}, headers=bearer(ann)), 422, "validation_error")
    assert detail["errors"][0]["loc"] == ["query", name]


@pytest.mark.parametrize(
    "path",
    ["/jobs/runs/../../etc/passwd", "/jobs/runs/%2e%2e", "/jobs/runs/%00", "/jobs/runs/not-an-id",
     "/jobs/runs/1", "/jobs/runs//",
     "/jobs/runs/00000000-0000-7000-8000-00000000000g", "/JOBS/RUNS", "/jobs/runs;x=1", "/jobs/runs%2f",
     "/internal/tasks/%2e%2e",
     "/internal/tasks/a%00b", "/clients/%27%20OR%201=1/agent/parameters", "/%ff%fe", "/\u0661"],
)  # fmt: skip
def test_a_path_that_leads_nowhere(http: Http, ann: User, path: str) -> None:
    refused(http.get(path, headers=bearer(ann)), 404, "not_found")
