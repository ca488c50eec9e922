"""``Idempotency-Key``: the same request sent again gets the first one's answer, and has no second effect."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from trading.core.errors import ApiError, invalid
from trading.core.models import IdempotencyKey

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def once(request: Request, scope: str, act: Callable[[], Response]) -> Response:
    """``act``'s answer, or the one that it gave when ``request``'s key was used before.

    The key and the effect are one transaction: an error leaves neither, and of two at once the second waits for the
    first. Without the header ``act`` just runs. The same key with another request is refused (422).
    """
    key = request.headers.get(HEADER)
    if key is None:
        with transaction.atomic(savepoint=False):
            return act()
    if not _KEY.fullmatch(key):
        raise invalid(["header", HEADER], "must be 1 to 128 printable ASCII characters without spaces")
    fingerprint = _fingerprint(request)
    with transaction.atomic():
        row, created = IdempotencyKey.objects.get_or_create(scope=scope, key=key, defaults={"fingerprint": fingerprint})
        if not created:
            return _again(row, fingerprint)
        response = act()
        row.status, row.body = response.status_code, response.data
        row.save(update_fields=["status", "body"])
        return response


def _fingerprint(request: Request) -> str:
    parts: tuple[Any, ...] = (request.method, request.get_full_path(), request._request.body)
    text = b"\n".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return hashlib.sha256(text).hexdigest()


def _again(row: IdempotencyKey, fingerprint: str) -> Response:
    if row.fingerprint != fingerprint:
        raise ApiError(422, "idempotency_key_reused", f"This {HEADER} came with another request before; use a new one.")
    return Response(row.body, status=row.status, headers={"Idempotency-Replayed": "true"})
