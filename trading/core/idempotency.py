"""``Idempotency-Key``: the same request sent again gets the first one's answer, and has no second effect."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.http.request import RawPostDataException
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from trading.core.errors import ApiError, invalid
from trading.core.models import IdempotencyKey
from trading.core.scope import current

HEADER = "Idempotency-Key"
KEPT: Final = timedelta(days=7)
PATIENCE_SECONDS: Final = 2.0
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def answered(request: Request, scope: str) -> Response | None:
    """The answer that ``request``'s key was given before, for views that ask a venue before they have their effect.

    None without the header, for a new key, and while the first request is under way. As `once`, it refuses (422) what
    is no key, and a key that came with another request.
    """
    key = _key(request)
    if key is None:
        return None
    row = _kept(_place(request, scope), key)
    return None if row is None else _again(row, _fingerprint(request))


def once(request: Request, scope: str, act: Callable[[], Response]) -> Response:
    """``act``'s answer, or the one that it gave when ``request``'s key was used before by ``scope`` on this path.

    The key, the answer and the effect are one transaction: an error leaves none of them, and the loss of Redis takes
    none away. Of two at once the second waits for the first for `PATIENCE_SECONDS`, and is then refused (409). Without
    the header ``act`` just runs. The same key with another request is refused (422). After `KEPT` a key is forgotten,
    and is as new. Answers are kept as they are: do not use this for one that holds a secret.
    """
    key = _key(request)
    if key is None:
        with transaction.atomic():
            return act()
    place, fingerprint = _place(request, scope), _fingerprint(request)
    with transaction.atomic():
        _take_turn(f"idempotency:{place}:{key}")
        row = _kept(place, key)
        if row is not None:
            return _again(row, fingerprint)
        response = act()
        body = JSONRenderer().render(response.data).decode()
        IdempotencyKey.objects.update_or_create(
            scope=place,
            key=key,
            defaults={
                "fingerprint": fingerprint,
                "status": response.status_code,
                "body": body,
                "created_at": timezone.now(),
                "client_id": here.client_id if (here := current()) is not None else None,
            },
        )
        return response


def _key(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise invalid(["header", HEADER], "must be 1 to 128 printable ASCII characters without spaces")
    return key


def _place(request: Request, scope: str) -> str:
    """Whose key, and where: the same key of another caller, or for another path, is another key."""
    path = f"{request.method} {request.path}"
    return f"{scope}:{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def _kept(place: str, key: str) -> IdempotencyKey | None:
    return IdempotencyKey.objects.filter(scope=place, key=key, created_at__gt=timezone.now() - KEPT).first()


def _take_turn(name: str) -> None:
    """Lock ``name`` until the transaction ends; raises `ApiError` 409 when another holds it for too long."""
    until = time.monotonic() + PATIENCE_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
            if cursor.fetchone()[0]:
                return
            if time.monotonic() > until:
                message = f"A request with this {HEADER} is still under way. Send it again in a moment."
                raise ApiError(409, "idempotency_key_in_flight", message, headers={"Retry-After": "1"})
            time.sleep(0.02)


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
    body = json.loads(row.body) if row.body else None
    return Response(body, status=row.status, headers={"Idempotency-Replayed": "true"})
