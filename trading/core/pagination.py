"""Lists in pages: newest first, by key, so that the thousandth page costs what the first does."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Model, QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from trading.core.errors import invalid

_CURSOR = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def page(request: Request, rows: QuerySet[Any], *, filters: tuple[str, ...]) -> tuple[list[Model], str | None]:
    """One page of ``rows``, which have a UUID key that grows with time, and the URL of the next or None.

    ``limit`` and ``cursor`` come from the query, in which ``filters`` are the other names that mean something.
    """
    for name in request.query_params:
        if name not in (*filters, "limit", "cursor"):
            raise invalid(["query", name], f"not known here; there are: {', '.join((*filters, 'limit', 'cursor'))}")
        if len(request.query_params.getlist(name)) > 1:
            raise invalid(["query", name], "given more than once")
        if "\x00" in request.query_params[name]:
            raise invalid(["query", name], "contains a NUL character")
    limit = _limit(request.query_params.get("limit", str(DEFAULT_LIMIT)))
    cursor = request.query_params.get("cursor")
    if cursor is not None:
        rows = rows.filter(id__lt=_cursor(cursor))
    found = list(rows.order_by("-id")[: limit + 1])
    if len(found) <= limit:
        return found, None
    kept = {name: value for name, value in request.query_params.items() if name != "cursor"}
    query = urlencode({**kept, "cursor": str(found[limit - 1].pk)})
    return found[:limit], request.build_absolute_uri(f"{request.path}?{query}")


def moment(request: Request, name: str) -> datetime | None:
    """The time that the query's ``name`` holds, in UTC, which a time without a zone means too; None without it."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise invalid(["query", name], "must be a time such as 2026-11-21T09:30:00Z")
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise invalid(["query", name], "is past what a calendar holds") from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        raise invalid(["query", "limit"], f"must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def _cursor(text: str) -> UUID:
    if not _CURSOR.fullmatch(text):
        raise invalid(["query", "cursor"], "not a cursor that was given here; start without one")
    return UUID(text)
