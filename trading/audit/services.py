"""Writing the audit log: one call, inside the transaction of what it records."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import DateTimeField, Func

from trading.audit import actors, mirror
from trading.audit.canonical import contents, digest, plain, text
from trading.audit.models import PLATFORM, AuditEntry, AuditHead
from trading.core.ids import uuid7_at
from trading.core.logs import hide_secrets

_ACTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class _Clock(Func):
    """The database's clock at this very moment, not at the transaction's beginning."""

    function = "clock_timestamp"
    output_field = DateTimeField()


def record(
    action: str,
    *,
    client_id: UUID | None = None,
    subject: str = "",
    data: Mapping[str, Any] | None = None,
    actor: str | None = None,
) -> AuditEntry:
    """Add an entry to the chain of ``client_id`` (None: the platform's), in the caller's transaction.

    ``action`` is a dotted name that stays, ``subject`` what it was done to (``order:ID``), ``data`` small and of exact
    kinds; values under names of secrets are hidden. ``actor`` is who, when it is not whoever is at work here.

    Raises ``RuntimeError`` outside a transaction. The chain is locked until the transaction ends: call this last, and
    never before a call to a venue or another wait.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an audit entry belongs to the transaction of what it records: open one around both")
    if not _ACTION.fullmatch(action) or len(action) > 64:
        raise ValueError(f"{action!r} is not a dotted name such as order.sent")
    head, now = _lock(client_id)
    at = now if head.at is None else max(now, head.at + timedelta(microseconds=1))  # clocks may step back
    covered = contents(
        id=uuid7_at(at),
        chain=head.chain,
        sequence=head.sequence + 1,
        at=at,
        actor=_line(actors.current() if actor is None else actor),
        action=action,
        subject=_line(subject),
        data=plain(data or {}),
        request_id=text(actors.request_id(), 64),
        previous_hash=head.hash,
    )
    values = {**covered, "id": UUID(covered["id"]), "chain": head.chain, "at": at}
    entry = AuditEntry(**values, client_id=client_id, hash=digest(covered))
    entry.save(force_insert=True)
    AuditHead.objects.filter(chain=head.chain).update(sequence=entry.sequence, hash=entry.hash, at=at)

    def follow() -> None:  # not a partial: Django logs a failed hook by its name, which a partial lacks
        mirror.follow(entry)

    transaction.on_commit(follow, robust=True)
    return entry


def _lock(client_id: UUID | None) -> tuple[AuditHead, datetime]:
    """The head of a chain, locked, and the time after the lock was had."""
    chain = PLATFORM if client_id is None else client_id
    rows = AuditHead.objects.select_for_update(no_key=True).filter(chain=chain).annotate(now=_Clock())
    head = rows.first()
    if head is None:
        AuditHead.objects.bulk_create([AuditHead(chain=chain, client_id=client_id)], ignore_conflicts=True)
        head = rows.get()
    return head, head.now


def _line(value: str) -> str:
    """One line of text without secrets, as its column holds it."""
    shown: str = hide_secrets(None, "", {"text": value})["text"]
    return text(" ".join(shown.split()), 200)
