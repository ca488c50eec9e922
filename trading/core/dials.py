"""Settings that are changed while the platform runs: kept in the database, so that every process sees a change at once.

A dial's value is that of its row, or, without one, the environment's. A process keeps no copy: each use asks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from trading.core.models import ChangedSetting

Value = Decimal | int | bool


@dataclass(frozen=True)
class Dial:
    """A setting that may be changed: its kind, its bounds (both included), and what it means."""

    kind: type[Decimal] | type[int] | type[bool]
    meaning: str
    lowest: Decimal = Decimal(0)
    highest: Decimal = Decimal(1_000_000_000_000)
    places: int = 2


DIALS: Final[Mapping[str, Dial]] = {
    "QT_MAX_NOTIONAL_PER_TRADE": Dial(Decimal, "The most that one order may be worth."),
    "QT_MAX_DAILY_LOSS": Dial(Decimal, "The realised loss of a day after which only closing is allowed."),
    "QT_MAX_POSITION_PER_SYMBOL": Dial(Decimal, "The most that one position may be worth; 0: no limit."),
    "QT_MAX_GROSS_EXPOSURE": Dial(Decimal, "The most that all positions together may be worth; 0: no limit."),
    "QT_MAX_PRICE_MOVE_PCT": Dial(
        Decimal, "How far a price may be from the close before, in per cent.", Decimal("0.01"), Decimal(1000)
    ),
    "QT_MAX_NET_DELTA": Dial(Decimal, "How far the net delta, as worth, may be from 0; 0: no limit."),
    "QT_MAX_OPEN_LEGS": Dial(int, "How many different symbols may be held; 0: no limit.", Decimal(0), Decimal(10_000)),
    "QT_MAX_SPREAD_PCT": Dial(
        Decimal, "How far bid and ask may be apart, in per cent; 0: no limit.", Decimal(0), Decimal(200)
    ),
    "QT_BREAKER_LOSSES": Dial(
        int, "Losses in a row after which only closing is allowed; 0: no limit.", Decimal(0), Decimal(50)
    ),
    "QT_BREAKER_LOSS": Dial(Decimal, "A loss counts for that when it is larger."),
    "QT_EXECUTION_MIN_NOTIONAL": Dial(Decimal, "Orders worth less are left out."),
    "QT_EXECUTION_MAX_ORDERS": Dial(int, "Orders in one cycle.", Decimal(0), Decimal(1000)),
    "QT_EXECUTION_CASH_BUFFER": Dial(Decimal, "Cash that is kept out of the weights."),
    "QT_EXECUTION_ALLOW_PARTIAL": Dial(bool, "Whether a sell may close a part of a position."),
}


class NotAllowed(ValueError):
    """A change that may not be made. ``name`` is the setting's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Change:
    """What one setting was and became; None: the environment's value."""

    name: str
    before: Value
    after: Value
    returned: bool
    """Whether it went back to the environment's."""


def values(names: Iterable[str] = tuple(DIALS)) -> dict[str, Value]:
    """The values in force now, by name, in one query."""
    wanted = tuple(names)
    return from_rows(dict(ChangedSetting.objects.filter(name__in=wanted).values_list("name", "value")), wanted)


def from_rows(rows: Mapping[str, Any], names: Iterable[str] = tuple(DIALS)) -> dict[str, Value]:
    """The values in force where ``rows`` are the changed settings; raises `NotAllowed` for one that is no value."""
    return {name: read(name, rows[name]) if name in rows else of_environment(name) for name in names}


def decimal(name: str) -> Decimal:
    """The value in force of a dial that is a decimal."""
    return Decimal(values([name])[name])


def of_environment(name: str) -> Value:
    """What the environment says."""
    value: Value = getattr(settings, name)
    return value


def change(wanted: Mapping[str, Any], *, by: str) -> list[Change]:
    """Set each of ``wanted``, None being the environment's value again; all or, with `NotAllowed`, none.

    In the caller's transaction; what changes nothing is left out of the answer.
    """
    checked = {name: None if value is None else read(name, value) for name, value in wanted.items()}
    changes = []
    with transaction.atomic():
        for name in sorted(checked):  # in one order, so that two changes do not wait for each other for ever
            row, _ = ChangedSetting.objects.select_for_update().get_or_create(
                name=name, defaults={"value": _written(of_environment(name)), "changed_by": by[:200]}
            )
            before, given = read(name, row.value), checked[name]
            after = of_environment(name) if given is None else given
            if given is None:
                row.delete()
            else:
                row.value, row.changed_by = _written(given), by[:200]
                row.save()
            if before != after:
                changes.append(Change(name, before, after, returned=given is None))
    return changes


def read(name: str, value: Any) -> Value:
    """``value`` as the setting ``name`` takes it; raises `NotAllowed`."""
    dial = DIALS.get(name)
    if dial is None:
        raise NotAllowed(name, f"cannot be changed here; these can: {', '.join(DIALS)}")
    if dial.kind is bool:
        if not isinstance(value, bool):
            raise NotAllowed(name, "must be true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise NotAllowed(name, "must be a whole number" if dial.kind is int else "must be a decimal as a string")
    return _number(name, dial, value)


def _number(name: str, dial: Dial, value: int | str | Decimal) -> Value:
    text = str(value)
    try:
        number = Decimal(text) if text.isascii() and len(text) <= 40 and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise NotAllowed(name, "is not a number")
    if not dial.lowest <= number <= dial.highest:
        raise NotAllowed(name, f"must be from {dial.lowest} to {dial.highest}")
    if dial.kind is int:
        if number != number.to_integral_value():
            raise NotAllowed(name, "must be a whole number")
        return int(number)
    if number != round(number, dial.places):
        raise NotAllowed(name, f"has more than {dial.places} decimal places")
    return abs(number) if number == 0 else number  # there is no minus zero


def _written(value: Value) -> Any:
    return str(value) if isinstance(value, Decimal) else value
