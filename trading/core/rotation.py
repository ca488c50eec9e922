"""Bringing every sealed value under the first key of ``ENCRYPTION_KEY``, while the platform goes on writing.

Row by row, each in a transaction of its own, by an update that holds only while the value is the one that was read:
what a writer changes meanwhile is left to it and looked at again. A row under the first key needs nothing, so that a
rotation that was cut off goes on where it was when it is started again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Substr

from trading.core.encryption import VERSION, CannotOpen, Keyring, keyring
from trading.core.sealed import SealedField, sealed_fields

PAGE = 200
"""Rows that are read at once; each is written by itself."""
MOST_PASSES = 10
"""How often rows that writers keep changing are looked at again before they are left for the next run."""
_KEY_AT, _KEY_LENGTH = len(VERSION) + 2, 16


@dataclass(frozen=True)
class Standing:
    """How many values of one column lie under each key, by the key's id, what cannot be read as it is among them."""

    column: str
    by_key: Mapping[str, int]

    def under_the_first(self, ring: Keyring) -> int:
        """Values that need nothing."""
        return self.by_key.get(ring.primary, 0)

    def under_older(self, ring: Keyring) -> int:
        """Values that a rotation brings under the first key."""
        return sum(count for key, count in self.by_key.items() if key in ring.key_ids and key != ring.primary)

    def unknown(self, ring: Keyring) -> dict[str, int]:
        """Values under keys that ``ENCRYPTION_KEY`` does not hold, by key id."""
        return {key: count for key, count in self.by_key.items() if key not in ring.key_ids}


def standings() -> Iterator[Standing]:
    """How every sealed column stands, in one query for each."""
    for column in sealed_fields():
        rows = _filled(column).annotate(key=Substr(column.name, _KEY_AT, _KEY_LENGTH)).values_list("key")
        yield Standing(column.context, dict(rows.annotate(n=models.Count("pk")).order_by("key")))


@dataclass
class Report:
    """What a rotation did to one column."""

    column: str
    rotated: int = 0
    changed_meanwhile: int = 0
    """Values that a writer changed at the same moment, and that were looked at again."""
    locked: Counter[str] = field(default_factory=Counter)
    """Values that no key opens, by what was said of them."""


def rotate(*, dry_run: bool = False, progress: Callable[[Report], None] = lambda report: None) -> list[Report]:
    """Seal again, under the first key, whatever lies under another; ``dry_run``: open each value and change nothing.

    ``progress`` is called after each page of rows with the report of the column so far.
    """
    ring = keyring()
    reports = []
    for column in sealed_fields():
        report = Report(column.context)
        for _ in range(1 if dry_run else MOST_PASSES):
            report.locked.clear()
            before = report.changed_meanwhile
            _pass(column, ring, report, dry_run=dry_run, progress=progress)
            if report.changed_meanwhile == before:
                break
        reports.append(report)
    return reports


def _pass(
    column: SealedField, ring: Keyring, report: Report, *, dry_run: bool, progress: Callable[[Report], None]
) -> None:
    todo = _filled(column).exclude(**{f"{column.name}__startswith": f"{VERSION}.{ring.primary}."}).order_by("pk")
    last: Any = None
    while True:
        page = todo if last is None else todo.filter(pk__gt=last)
        rows = list(page.values_list("pk", "client_id", column.name)[:PAGE])
        for key, tenant, old in rows:
            _one(column, ring, report, (key, tenant, old), dry_run=dry_run)
        if not rows:
            return
        last = rows[-1][0]
        progress(report)


def _one(column: SealedField, ring: Keyring, report: Report, row: tuple[Any, Any, str], *, dry_run: bool) -> None:
    key, tenant, old = row
    try:
        plaintext = ring.open(old, tenant=tenant, field=column.context)
    except CannotOpen as error:
        report.locked[str(error)] += 1
        return
    if dry_run:
        report.rotated += 1
        return
    new = ring.seal(plaintext, tenant=tenant, field=column.context)
    with transaction.atomic():
        written = column.model._base_manager.filter(**{"pk": key, column.name: old}).update(**{column.name: new})
    if written:
        report.rotated += 1
    else:
        report.changed_meanwhile += 1


def _filled(column: SealedField) -> models.QuerySet[Any]:
    return column.model._base_manager.exclude(**{column.name: ""})
