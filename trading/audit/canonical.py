"""The one way in which an entry is written as bytes, so that its hash can be computed again by anybody."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from trading.core.logs import hide_secrets

GENESIS: Final = "0" * 64
"""Stands where the hash of an entry before would, in the first one of a chain."""
MAX_TEXT: Final = 500
MAX_DEPTH: Final = 6
MAX_BYTES: Final = 32_768


def encode(value: Any) -> bytes:
    """``value`` (of `plain` kinds) as JSON in ASCII: keys sorted by code point, no spaces, nothing left to choice."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` as what comes back from the database unchanged: secrets hidden, text bounded, numbers exact.

    Decimals, ids and times become text. Raises ``TypeError`` for a float or anything else that has no exact form, and
    ``ValueError`` for more than is taken.
    """
    value: dict[str, Any] = _plain(hide_secrets(None, "", dict(data)), MAX_DEPTH)
    size = len(encode(value))
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes of audit data; at most {MAX_BYTES} are taken: pass ids, not documents")
    return value


def _plain(value: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError(f"audit data is nested more than {MAX_DEPTH} deep")
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value, depth)
        case int() if -(2**63) <= value < 2**63:
            return int(value)
        case str():
            return text(value, MAX_TEXT)
        case Decimal() if value.is_finite():
            return format(value.normalize(), "f")
        case UUID():
            return str(value)
        case datetime():
            return moment(value)
        case Mapping():
            return {text(str(key), MAX_TEXT): _plain(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, depth - 1) for item in value]
    raise TypeError(f"audit data holds a {type(value).__name__}, which has no exact form; pass a Decimal or text")


def text(value: str, limit: int) -> str:
    """``value`` as the database can hold it: no NUL, no lone surrogate, at most ``limit`` characters."""
    clean = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def moment(value: datetime) -> str:
    """An aware time as text, always to the microsecond: ``2026-11-21T09:30:00.000000Z``."""
    if value.tzinfo is None:
        raise TypeError("audit times are aware")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def contents(
    *,
    id: UUID,  # the field's name
    chain: UUID,
    sequence: int,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    data: Mapping[str, Any],
    request_id: str,
    previous_hash: str,
) -> dict[str, Any]:
    """What an entry's hash covers: everything in its row but the hash."""
    return {
        "id": str(id),
        "chain": str(chain),
        "sequence": sequence,
        "at": moment(at),
        "actor": actor,
        "action": action,
        "subject": subject,
        "data": data,
        "request_id": request_id,
        "previous_hash": previous_hash,
    }


def digest(contents: Mapping[str, Any]) -> str:
    """SHA-256 of an entry's contents, in hexadecimal."""
    return hashlib.sha256(encode(contents)).hexdigest()
