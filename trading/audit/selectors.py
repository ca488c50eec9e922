"""Reading the audit log: lists by the key, newest first, and what actions there are."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from trading.audit.models import AuditEntry
from trading.core.ids import first_uuid7_at


def listed(
    rows: QuerySet[AuditEntry],
    *,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[AuditEntry]:
    """``rows`` of an action, from ``since`` on and before ``until``: by their ids, which grow with time."""
    if action is not None:
        rows = rows.filter(action=action)
    if since is not None:
        rows = rows.filter(id__gte=first_uuid7_at(since))
    if until is not None:
        rows = rows.filter(id__lt=first_uuid7_at(until))
    return rows


def shown(entry: AuditEntry) -> dict[str, Any]:
    """An entry as the API shows it: all that its hash covers, and the hash."""
    return {**entry.contents, "hash": entry.hash}


def actions() -> list[str]:
    """Every action that was ever recorded, by one index look-up for each rather than by reading the log."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE known (action) AS (
                (SELECT action FROM audit_log ORDER BY action LIMIT 1)
                UNION ALL
                SELECT (SELECT l.action FROM audit_log l WHERE l.action > known.action ORDER BY l.action LIMIT 1)
                  FROM known WHERE known.action IS NOT NULL
            )
            SELECT action FROM known WHERE action IS NOT NULL
            """
        )
        return [action for (action,) in cursor.fetchall()]
