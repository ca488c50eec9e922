"""Differences between a venue and us: found, kept, shown to whoever sends, and resolved once, with a reason."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog
from django.db.models import Q

from trading.audit.services import record
from trading.brokers.base import Side
from trading.execution.models import Difference, DifferenceKind

log = structlog.get_logger("quantum.reconciliation")

RECONCILIATION: Final = "reconciliation"
"""Who resolves a difference that a later comparison does not find any more."""
STAYS: Final = (DifferenceKind.OVERFILLED, DifferenceKind.REVIVED)
"""Events rather than conditions: they do not go away by themselves."""
REMEMBERED: Final = (
    DifferenceKind.UNKNOWN_ORDER,
    DifferenceKind.UNKNOWN_FILL,
    DifferenceKind.OPEN_ORDER,
    *STAYS,
)
"""Once a person has explained one of these, the same subject is not brought up again."""


@dataclass(frozen=True)
class Found:
    """A difference as a comparison finds it. ``quantity``: theirs less ours, where it is one."""

    kind: DifferenceKind
    symbol: str
    subject: str
    ours: str
    theirs: str
    quantity: Decimal | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.kind, self.symbol, self.subject


def standing(client_id: UUID, broker: str | None = None) -> list[Difference]:
    """Those that are not resolved, oldest first."""
    rows = Difference.objects.filter(client_id=client_id, resolved_at__isnull=True).order_by("id")
    return list(rows if broker is None else rows.filter(broker=broker))


def blocking(client_id: UUID, broker: str, symbol: str, side: Side) -> Difference | None:
    """The difference for which no new order of ``symbol`` may be sent: one in it; for buys also missing money."""
    stands = Difference.objects.filter(client_id=client_id, broker=broker, resolved_at__isnull=True)
    mine = Q(symbol=symbol)
    if side is Side.BUY:
        mine |= Q(kind=DifferenceKind.BALANCE, quantity__lt=0)
    return stands.filter(mine).order_by("id").first()


def report(client_id: UUID, broker: str, found: Sequence[Found], *, now: datetime) -> list[Difference]:
    """Keep each that stands, in the caller's transaction: a new row for what is new. The new ones."""
    known = {(row.kind, row.symbol, row.subject): row for row in standing(client_id, broker)}
    explained = set(
        Difference.objects.filter(
            client_id=client_id,
            broker=broker,
            kind__in=REMEMBERED,
            subject__in=[one.subject for one in found],
            resolved_at__isnull=False,
        )
        .exclude(resolved_by=RECONCILIATION)
        .values_list("kind", "symbol", "subject")
    )
    new = []
    for one in found:
        row = known.get(one.key)
        if row is not None:
            row.ours, row.theirs, row.quantity, row.seen_at = one.ours[:200], one.theirs[:200], one.quantity, now
            row.save(update_fields=["ours", "theirs", "quantity", "seen_at"])
        elif one.key not in explained:
            row = known[one.key] = _new(client_id, broker, one, now)
            new.append(row)
    for row in new:
        told = {"kind": row.kind, "symbol": row.symbol, "ours": row.ours, "theirs": row.theirs, "broker": broker}
        log.error("difference.found", client_id=str(client_id), about=row.subject, **told)
        record("difference.found", client_id=client_id, subject=f"difference:{row.id}", data=told)
    return new


def _new(client_id: UUID, broker: str, one: Found, now: datetime) -> Difference:
    return Difference.objects.create(
        client_id=client_id,
        broker=broker,
        kind=one.kind,
        symbol=one.symbol,
        subject=one.subject,
        ours=one.ours[:200],
        theirs=one.theirs[:200],
        quantity=one.quantity,
        data=one.data,
        found_at=now,
        seen_at=now,
    )


def retire(rows: Sequence[Difference], seen: Collection[tuple[str, str, str]], *, now: datetime) -> list[Difference]:
    """Resolve those of ``rows`` that a complete comparison did not find again, in the caller's transaction."""
    gone = [row for row in rows if (row.kind, row.symbol, row.subject) not in seen and row.kind not in STAYS]
    return [row for row in gone if resolve(row, RECONCILIATION, "found to be gone", now)]


def resolve(row: Difference, by: str, reason: str, now: datetime) -> bool:
    """Write down once that it is resolved, in the caller's transaction; whether it was not before."""
    row.resolved_at, row.resolved_by, row.resolution = now, by[:150], reason.strip()[:300]
    resolved = {"resolved_at": now, "resolved_by": row.resolved_by, "resolution": row.resolution}
    if not Difference.objects.filter(id=row.id, resolved_at__isnull=True).update(**resolved):
        return False
    told = {"kind": row.kind, "symbol": row.symbol, "by": row.resolved_by, "reason": row.resolution}
    log.info("difference.resolved", client_id=str(row.client_id), about=row.subject, **told)
    record("difference.resolved", client_id=row.client_id, subject=f"difference:{row.id}", data=told)
    return True
