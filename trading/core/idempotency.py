"""``Idempotency-Key``: the same request sent again gets the first one's answer, and has no second effect."""

import json
import re
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http.request import RawPostDataException
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response

from trading.core.errors import ApiError, invalid
from trading.core.models import IdempotencyKey

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def answered(request: Request, scope: str) -> Response | None:
    """The answer that ``request``'s key was given before, for views that ask a venue before they have their effect.

    None without the header, for a new key, and while the first request is under way. As `once`, it refuses (422) a key
    that came with another request.
    """
    key = request.headers.get(HEADER)
    if key is None or not _KEY.fullmatch(key):
        return None
    row = IdempotencyKey.objects.filter(scope=scope, key=key).first()
    return None if row is None else _again(row, _fingerprint(request))


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
    """Keyed, as a body may hold a password: a bare hash of it could be tried against a list of them."""
    try:
        body = request._request.body
    except RawPostDataException:  # the view has read it already: what it says, then, in one spelling
        body = json.dumps(request.data, sort_keys=True).encode()
    parts: tuple[Any, ...] = (request.method, request.get_full_path(), body)
    text = b"\n".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return salted_hmac("trading.core.idempotency", text, algorithm="sha256").hexdigest()


def _again(row: IdempotencyKey, fingerprint: str) -> Response:
    if row.fingerprint != fingerprint:
        raise ApiError(422, "idempotency_key_reused", f"This {HEADER} came with another request before; use a new one.")
    return Response(row.body, status=row.status, headers={"Idempotency-Replayed": "true"})
