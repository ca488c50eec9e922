"""The canonical form: one for each value, unchanged by the database, and different for what differs."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading.audit import canonical
from trading.audit.models import AuditEntry
from trading.audit.services import record
from trading.audit.verification import Walk

TEXT = st.text(max_size=80)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
DATA = st.dictionaries(TEXT, VALUES, max_size=5)


@given(DATA)
def test_the_form_is_json_in_ascii_with_sorted_keys(data: dict[str, Any]) -> None:
    plain = canonical.plain(data)
    encoded = canonical.encode(plain)
    assert encoded.isascii()
    assert json.loads(encoded) == plain
    pairs: list[list[str]] = []
    json.loads(encoded, object_pairs_hook=lambda found: pairs.append([key for key, _ in found]) or dict(found))
    assert all(keys == sorted(set(keys)) for keys in pairs)


@given(DATA)
def test_it_does_not_depend_on_the_order_in_which_a_value_was_made(data: dict[str, Any]) -> None:
    backwards = dict(reversed(list(canonical.plain(data).items())))
    assert canonical.encode(backwards) == canonical.encode(canonical.plain(data))


@given(DATA)
def test_what_is_plain_stays_as_it_is(data: dict[str, Any]) -> None:
    plain = canonical.plain(data)
    assert canonical.plain(plain) == plain


@given(DATA, DATA)
def test_different_values_have_different_forms(one: dict[str, Any], other: dict[str, Any]) -> None:
    one, other = canonical.plain(one), canonical.plain(other)
    assert (canonical.encode(one) == canonical.encode(other)) == (_typed(one) == _typed(other))


def _typed(value: Any) -> Any:
    """``value`` as Python tells it apart: for it True is 1, which JSON says otherwise."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.django_db
@given(DATA)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_gives_back_what_it_was_given(data: dict[str, Any]) -> None:
    plain = canonical.plain(data)
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb", [canonical.encode(plain).decode()])
        (kept,) = cursor.fetchone()
    assert canonical.encode(json.loads(kept) if isinstance(kept, str) else kept) == canonical.encode(plain)


@pytest.mark.django_db
@given(DATA, TEXT, TEXT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_is_recorded_verifies(data: dict[str, Any], subject: str, actor: str) -> None:
    with transaction.atomic():
        entry = record("test.done", subject=subject, actor=actor, data=data)
        walk = Walk(entry.chain, after=entry.sequence - 1, last_hash=entry.previous_hash)
        assert walk.to(entry.sequence) is None
        assert AuditEntry.objects.get(id=entry.id).contents == entry.contents


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1.500"), "1.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.00"), "-0"),
        (Decimal("0.00000001"), "0.00000001"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 11, 21, 9, 30, tzinfo=UTC), "2026-11-21T09:30:00.000000Z"),
        (datetime(2026, 11, 21, 9, 30, tzinfo=timezone(timedelta(hours=5))), "2026-11-21T04:30:00.000000Z"),
        (Colour.RED, "red"),
        ((1, [Decimal(2)]), [1, ["2"]]),
        (True, True),
    ],
)
def test_exact_kinds_have_one_text_each(value: object, expected: object) -> None:
    assert canonical.plain({"value": value}) == {"value": expected}


def test_the_bytes_of_an_entry_are_these() -> None:
    """Written out by hand: a change of the form would break every chain that there is."""
    contents = canonical.contents(
        id=UUID("01a1fd2d-c2f1-7000-a922-cf93bb6fe72c"),
        chain=UUID(int=0),
        sequence=7,
        at=datetime(2026, 11, 21, 9, 30, 0, 125, tzinfo=UTC),
        actor="operator:åsa",
        action="queue.paused",
        subject="queue:bulk",
        data={"b": [True, None], "a": "€"},
        request_id="r",
        previous_hash="0" * 64,
    )
    assert canonical.encode(contents) == (
        b'{"action":"queue.paused","actor":"operator:\\u00e5sa","at":"2026-11-21T09:30:00.000125Z",'
        b'"chain":"00000000-0000-0000-0000-000000000000","data":{"a":"\\u20ac","b":[true,null]},'
        b'"id":"01a1fd2d-c2f1-7000-a922-cf93bb6fe72c",'
        b'"previous_hash":"0000000000000000000000000000000000000000000000000000000000000000",'
        b'"request_id":"r","sequence":7,"subject":"queue:bulk"}'
    )
