"""Writing the audit log: one call, inside the transaction of what it records."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, LiteralString, cast
from uuid import UUID

import structlog
from django.db import OperationalError, connection, transaction
from psycopg.types.json import Jsonb

from trading.audit import actors, mirror
from trading.audit.canonical import digest, plain, text
from trading.audit.models import PLATFORM, AuditEntry, AuditHead
from trading.core.ids import uuid7_at
from trading.core.logs import hide_secrets
from trading.core.postgres.base import DatabaseWrapper
from trading.tenants.models import Client

log = structlog.get_logger("quantum.audit")
_ACTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


_HEAD: Final = """
    SELECT sequence, hash, at, clock_timestamp() AS now FROM audit_heads WHERE chain = %(chain)s FOR NO KEY UPDATE
"""
_APPEND: Final = """
    WITH entry AS (
        INSERT INTO audit_log
               (id, chain, client_id, sequence, at, actor, action, subject, data, request_id, previous_hash, hash)
        VALUES (%(id)s, %(chain)s, %(client_id)s, %(sequence)s, %(at)s, %(actor)s, %(action)s, %(subject)s, %(data)s,
                %(request_id)s, %(previous_hash)s, %(hash)s)
    )
    UPDATE audit_heads SET sequence = %(sequence)s, hash = %(hash)s, at = %(at)s WHERE chain = %(chain)s
"""


def record(
    action: str,
    *,
    client_id: UUID | None = None,
    subject: str = "",
    data: Mapping[str, Any] | None = None,
    actor: str | None = None,
    chain: UUID = PLATFORM,
) -> AuditEntry:
    """Add an entry to the chain of ``client_id``, or else to the platform's ``chain``, in the caller's transaction.

    ``action`` is a dotted name that stays, ``subject`` what it was done to (``order:ID``), ``data`` small and of exact
    kinds; values under names of secrets are hidden. ``actor`` is who, when it is not whoever is at work here.

    Raises ``RuntimeError`` outside a transaction. The chain is locked until the transaction ends: call this last, and
    never before a call to a venue or another wait.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an audit entry belongs to the transaction of what it records: open one around both")
    if not _ACTION.fullmatch(action) or len(action) > 64:
        raise ValueError(f"{action!r} is not a dotted name such as order.sent")
    place = chain if client_id is None else client_id
    head = _lock(place, client_id)
    # Clocks may step back; ids and times grow along a chain all the same.
    at = head["now"] if head["at"] is None else max(head["now"], head["at"] + timedelta(microseconds=1))
    entry = AuditEntry(
        id=uuid7_at(at),
        chain=place,
        client_id=client_id,
        sequence=head["sequence"] + 1,
        at=at,
        actor=_line(actors.current() if actor is None else actor),
        action=action,
        subject=_line(subject),
        data=plain(data or {}),
        request_id=text(actors.request_id(), 64),
        previous_hash=head["hash"],
    )
    entry.hash = digest(entry.contents)
    values = {column.attname: getattr(entry, column.attname) for column in AuditEntry._meta.concrete_fields}
    _execute(_APPEND, {**values, "data": Jsonb(entry.data)})

    def follow() -> None:  # not a partial: Django logs a failed hook by its name, which a partial lacks
        mirror.follow(entry)

    transaction.on_commit(follow, robust=True)
    return entry


def record_for_clients(action: str, *, subject: str = "", data: Mapping[str, Any] | None = None) -> None:
    """Add an entry to the chain of every active client, each in a transaction of its own.

    For what concerns all of them and has been recorded in the platform's chain already: a client whose chain is locked
    for longer than a second is left out and named in the log, as nobody else is to wait for it.
    """
    for client_id in Client.objects.filter(is_active=True).order_by("id").values_list("id", flat=True):
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '1s'")
                record(action, client_id=client_id, subject=subject, data=data)
        except OperationalError as error:
            log.error("audit.client_not_told", action=action, client_id=str(client_id), error=str(error).strip())


def _lock(chain: UUID, client_id: UUID | None) -> dict[str, Any]:
    """The head of a chain, locked, and the time after the lock was had."""
    found = _execute(_HEAD, {"chain": chain})
    if not found:
        AuditHead.objects.bulk_create([AuditHead(chain=chain, client_id=client_id)], ignore_conflicts=True)
        found = _execute(_HEAD, {"chain": chain})
    return found[0]


def _execute(statement: LiteralString, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement that the server prepares, as it comes with every entry; in the open transaction."""
    return cast("DatabaseWrapper", connection).run(statement, values)


def _line(value: str) -> str:
    """One line of text without secrets, as its column holds it."""
    shown: str = hide_secrets(None, "", {"text": value})["text"]
    return text(" ".join(shown.split()), 200)
