"""Signed requests: HMAC-SHA256 over time, method, path and body, each good once."""

import hashlib
import hmac
import re
import time

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from trading.core.errors import ApiError
from trading.jobs.ledger import execute
from trading.tenants.authentication import Keeper
from trading.tenants.permissions import Holder

TOLERANCE_SECONDS = 300
SCHEME = "HMAC-SHA256"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def sign(secret: str, *, timestamp: int, method: str, path: str, body: bytes) -> str:
    """The signature of a request; ``path`` with its query, if it has one."""
    message = f"{timestamp}\n{method}\n{path}\n".encode() + body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def verified(request: HttpRequest) -> str:
    """The request's signature, when it is good: by one of the secrets, and made within the last minutes.

    Raises `ApiError` 401 without saying what was wrong.
    """
    refused = ApiError(
        401,
        "invalid_signature",
        "The signature is missing, wrong or too old. Sign timestamp, method, path and body with TASK_SIGNING_SECRET.",
        headers={"WWW-Authenticate": SCHEME},
    )
    timestamp = request.headers.get("X-Task-Timestamp", "")
    given = request.headers.get("X-Task-Signature", "")
    if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(given):
        raise refused
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise refused
    path = request.get_full_path()
    good = False
    for secret in settings.TASK_SIGNING_SECRET:
        expected = sign(
            secret.strip(), timestamp=int(timestamp), method=request.method or "", path=path, body=request.body
        )
        good |= bool(secret.strip()) and hmac.compare_digest(expected, given)
    if not good:
        raise refused
    return given


class TaskSignature(BaseAuthentication):
    """``X-Task-Signature`` and ``X-Task-Timestamp``; ``request.auth`` is the signature, which is yet to be spent."""

    def authenticate(self, request: Request) -> tuple[Keeper, str]:
        """The signer; raises `ApiError` 401."""
        return Keeper(Holder.TASK_SIGNATURE), verified(request._request)

    def authenticate_header(self, request: Request) -> str:
        """What to send."""
        return SCHEME


def use_once(signature: str) -> None:
    """Spend a signature in the caller's transaction; raises `ApiError` 409 for one that is spent.

    Kept in the database beside what it started: no flushed cache makes a replay good again.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("a signature is spent in the transaction of what it starts")
    spent = execute(
        "INSERT INTO task_signatures (digest) VALUES (%(digest)s) ON CONFLICT DO NOTHING RETURNING 1",
        {"digest": signature},
    )
    if not spent:
        raise ApiError(409, "replayed", "This signed request was taken before; sign a new one.")
