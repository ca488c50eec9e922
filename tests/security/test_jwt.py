"""Forged, stretched, borrowed and overlong access tokens: each is answered 401, with WWW-Authenticate."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as Http
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from runtime import secrets
from tests.security.conftest import bearer, refused
from trading.tenants.models import User
from trading.tenants.tokens import MAX_LENGTH, issue_access_token

pytestmark = pytest.mark.django_db
PATH = "/jobs/runs"
NOW = time.time


def claims(user: User, **changed: Any) -> dict[str, Any]:
    """Good claims, changed; None leaves one out."""
    made = {"aud": settings.JWT_AUDIENCE, "sub": str(user.pk), "iat": int(NOW()), "exp": int(NOW()) + 300}
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def part(value: bytes | dict[str, Any]) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def sealed(payload: bytes | dict[str, Any], secret: str | None = None, **header: Any) -> str:
    """A token as RFC 7515 words it, written here, so that it may hold what no library would write."""
    body = part({"alg": "HS256", "typ": "JWT", **header}) + b"." + part(payload)
    key = settings.JWT_SECRET if secret is None else secret
    return (body + b"." + part(hmac.new(key.encode(), body, hashlib.sha256).digest())).decode()


def unsigned(user: User, algorithm: str) -> str:
    return (part({"alg": algorithm, "typ": "JWT"}) + b"." + part(claims(user)) + b".").decode()


def test_the_forger_s_tools_make_a_good_token_when_they_have_the_secret(http: Http, ann: User) -> None:
    """Otherwise everything below would be refused for the wrong reason."""
    assert http.get(PATH, headers=bearer(sealed(claims(ann)))).status_code == 200
    external = sealed(claims(ann, sub="ext|ann"), settings.SUPABASE_JWT_SECRET)
    assert http.get(PATH, headers=bearer(external)).status_code == 200


FORGED: dict[str, Callable[[User], str]] = {
    "none": lambda ann: unsigned(ann, "none"),
    "None": lambda ann: unsigned(ann, "None"),
    "HS384": lambda ann: jwt.encode(claims(ann), settings.JWT_SECRET * 2, algorithm="HS384"),
    "HS512": lambda ann: jwt.encode(claims(ann), settings.JWT_SECRET * 2, algorithm="HS512"),
    "RS256 named, HMAC made": lambda ann: sealed(claims(ann), alg="RS256"),
    "another secret": lambda ann: sealed(claims(ann), "x" * 40),
    "no secret": lambda ann: sealed(claims(ann), ""),
    "cut signature": lambda ann: sealed(claims(ann))[:-4],
    "changed payload": lambda ann: sealed(claims(ann)).replace(".", ".A", 1),
    "expired": lambda ann: sealed(claims(ann, exp=int(NOW()) - 11)),
    "expired long ago": lambda ann: sealed(claims(ann, exp=1)),
    "good for 25 hours": lambda ann: sealed(claims(ann, exp=int(NOW()) + 25 * 3600)),
    "good for 300 years": lambda ann: sealed(claims(ann, exp=int(NOW()) + 300 * 365 * 86_400)),
    "external, good for 25 hours": lambda ann: sealed(
        claims(ann, sub="ext|ann", exp=int(NOW()) + 25 * 3600), settings.SUPABASE_JWT_SECRET
    ),
    "issued in the future": lambda ann: sealed(claims(ann, iat=int(NOW()) + 60)),
    "not yet": lambda ann: sealed(claims(ann, nbf=int(NOW()) + 60)),
    "no exp": lambda ann: sealed(claims(ann, exp=None)),
    "no sub": lambda ann: sealed(claims(ann, sub=None)),
    "no aud": lambda ann: sealed(claims(ann, aud=None)),
    "another's aud": lambda ann: sealed(claims(ann, aud="somebody")),
    "our aud inside a word": lambda ann: sealed(claims(ann, aud=f"not-{settings.JWT_AUDIENCE}")),
    "aud is an object": lambda ann: sealed(claims(ann, aud={"authenticated": True})),
    "another's iss": lambda ann: sealed(claims(ann, iss="somebody")),
    "our iss, external secret": lambda ann: sealed(
        claims(ann, sub="ext|ann", iss="quantum-trader"), settings.SUPABASE_JWT_SECRET
    ),
    "exp is a text of digits": lambda ann: sealed(claims(ann, exp=str(int(NOW()) + 300))),
    "exp is true": lambda ann: sealed(claims(ann, exp=True)),
    "exp in Arabic digits": lambda ann: sealed(claims(ann, exp="\u0669" * 10)),
    "exp is NaN": lambda ann: sealed(json.dumps(claims(ann, exp=float("nan"))).encode()),
    "exp is Infinity": lambda ann: sealed(json.dumps(claims(ann, exp=float("inf"))).encode()),
    "exp is 1e400": lambda ann: sealed(json.dumps(claims(ann)).replace(str(int(NOW()) + 300), "1e400").encode()),
    "exp is a list": lambda ann: sealed(claims(ann, exp=[1])),
    "iat is a text": lambda ann: sealed(claims(ann, iat="yesterday")),
    "nbf is a text of digits": lambda ann: sealed(claims(ann, nbf="1")),
    "sub is a number": lambda ann: sealed(claims(ann, sub=ann.pk)),
    "sub is a list": lambda ann: sealed(claims(ann, sub=[str(ann.pk)])),
    "sub of nobody": lambda ann: sealed(claims(ann, sub="999999")),
    "sub with zeros before": lambda ann: sealed(claims(ann, sub=f"00{ann.pk}")),
    "sub in Arabic digits": lambda ann: sealed(claims(ann, sub="\u0661")),
    "sub past the column": lambda ann: sealed(claims(ann, sub="9" * 18)),
    "sub past any column": lambda ann: sealed(claims(ann, sub="9" * 5000)),
    "sub with NUL": lambda ann: sealed(claims(ann, sub="1\x00")),
    "external sub with NUL": lambda ann: sealed(claims(ann, sub="ext|ann\x00"), settings.SUPABASE_JWT_SECRET),
    "external sub too long": lambda ann: sealed(claims(ann, sub="e" * 5000), settings.SUPABASE_JWT_SECRET),
    "external sub with a lone surrogate": lambda ann: sealed(
        json.dumps(claims(ann, sub="\ud800")).encode(), settings.SUPABASE_JWT_SECRET
    ),
    "external id under our secret": lambda ann: sealed(claims(ann, sub="ext|ann")),
    "our key under the external secret": lambda ann: sealed(claims(ann), settings.SUPABASE_JWT_SECRET),
    "kid of a file": lambda ann: sealed(claims(ann), "", kid="../../../../dev/null"),
    "kid with SQL": lambda ann: sealed(claims(ann), "x", kid="' UNION SELECT 'x"),
    "kid is a list": lambda ann: sealed(claims(ann), kid=["a"]),
    "jku": lambda ann: sealed(claims(ann), jku="https://evil.example/keys.json"),
    "jwk": lambda ann: sealed(claims(ann), jwk={"kty": "oct", "k": "eA"}),
    "x5u": lambda ann: sealed(claims(ann), x5u="https://evil.example/chain.pem"),
    "x5c": lambda ann: sealed(claims(ann), x5c=["MIIB"]),
    "crit": lambda ann: sealed(claims(ann), crit=["exp"]),
    "b64 false": lambda ann: sealed(claims(ann), b64=False, crit=["b64"]),
    "zip": lambda ann: sealed(claims(ann), zip="DEF"),
    "typ of a refresh": lambda ann: sealed(claims(ann), typ="refresh+jwt"),
    "another login's id": lambda ann: sealed(claims(ann, sid="00000000-0000-0000-0000-000000000001")),
    "login's id is no id": lambda ann: sealed(claims(ann, sid={"a": 1})),
    "another version": lambda ann: sealed(claims(ann, ver="0" * 32)),
    "version is no text": lambda ann: sealed(claims(ann, ver=[1])),
    "8 KB": lambda ann: sealed(claims(ann, more="x" * MAX_LENGTH)),
    "a megabyte": lambda ann: "x" * 1_000_000,
    "payload is a list": lambda ann: sealed(b"[1]"),
    "payload is no JSON": lambda ann: sealed(b"{"),
    "payload 50,000 deep": lambda ann: sealed(b"[" * 5_500),
    "payload is not UTF-8": lambda ann: sealed(b'{"sub":"\xff"}'),
    "no parts": lambda ann: "abc",
    "five parts": lambda ann: "a.b.c.d.e",
    "empty parts": lambda ann: "..",
    "not base64": lambda ann: "%%%.%%%.%%%",
    "empty": lambda ann: "",
    "latin letters": lambda ann: "\xe4.\xe4.\xe4",
    "two in one header": lambda ann: f"{issue_access_token(ann)},Bearer {issue_access_token(ann)}",
}


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED.keys())
def test_it_is_refused(http: Http, ann: User, make: Callable[[User], str]) -> None:
    refused(http.get(PATH, headers=bearer(make(ann))), 401, "not_authenticated")


@pytest.mark.parametrize("scheme", ["Basic", "Token", "JWT", "bearer,", ""])
def test_another_scheme_is_nobody(http: Http, ann: User, scheme: str) -> None:
    refused(http.get(PATH, headers={"Authorization": f"{scheme} {issue_access_token(ann)}"}), 401)


def test_a_bad_token_beside_a_good_session_is_refused(http: Http, ann: User) -> None:
    http.force_login(ann)
    assert http.get(PATH).status_code == 200
    refused(http.get(PATH, headers=bearer("a.b.c")), 401)


def test_the_clock_of_the_issuer_may_be_ten_seconds_off(http: Http, ann: User) -> None:
    for changed in ({"exp": int(NOW()) - 5}, {"iat": int(NOW()) + 5}, {"nbf": int(NOW()) + 5}):
        assert http.get(PATH, headers=bearer(sealed(claims(ann, **changed)))).status_code == 200, changed


def test_a_token_of_a_day_is_accepted_and_an_aud_in_a_list(http: Http, ann: User) -> None:
    token = sealed(claims(ann, sub="ext|ann", exp=int(NOW()) + 24 * 3600), settings.SUPABASE_JWT_SECRET)
    assert http.get(PATH, headers=bearer(token)).status_code == 200
    several = sealed(claims(ann, aud=["other", settings.JWT_AUDIENCE]))
    assert http.get(PATH, headers=bearer(several)).status_code == 200


def test_without_an_external_secret_no_empty_key_is_tried(http: Http, ann: User, settings: Settings) -> None:
    settings.SUPABASE_JWT_SECRET = ""
    refused(http.get(PATH, headers=bearer(sealed(claims(ann, sub="ext|ann"), ""))), 401)


def test_a_token_costs_one_query(http: Http, ann: User) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert http.get("/__auth_debug", headers=bearer(ann)).json()["by"] == "jwt"
    assert len(captured) == 1
    with CaptureQueriesContext(connection) as captured:
        refused(http.get(PATH, headers=bearer(sealed(claims(ann), "x" * 40))), 401)
    assert len(captured) == 0, "a forged one costs the database nothing"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"SUPABASE_JWT_SECRET": "short"}, "too short"),
        ({"SUPABASE_JWT_SECRET": "a" * 40}, "too easy to guess"),
        ({"SUPABASE_JWT_SECRET": "change-me-Zk3vQ9xT1mB7nH5cR8wL2yD6"}, "example"),
        ({"SUPABASE_JWT_SECRET": "Zk3vQ9xT1mB7nH5cR8wL2yD6fJ4sA0pG"}, "the same as"),
        ({"JWT_SECRET": "weak"}, "too short"),
        ({"ADMIN_API_KEY": ""}, "missing"),
    ],
)
def test_nothing_starts_with_a_weak_or_shared_key(changed: dict[str, str], said: str) -> None:
    good = dict.fromkeys(secrets.CRITICAL, "Zk3vQ9xT1mB7nH5cR8wL2yD6fJ4sA0pG")
    assert secrets.problems(good) == []
    assert secrets.problems({**good, "SUPABASE_JWT_SECRET": "rL2yD6fJ4sA0pGZk3vQ9xT1mB7nH5cR8"}) == []
    (problem,) = secrets.problems({**good, **changed})
    assert said in problem
    assert next(iter(changed)) in problem
