"""How pages write money, quantities and times."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django import template

from trading.jobs.chain import shown_span
from trading.jobs.models import JobAttempt, JobRun

register = template.Library()
NOTHING = "-"


def _decimal(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value)) if value not in (None, "") else None
    except InvalidOperation:
        return None


@register.filter
def money(value: Any) -> str:
    """Two decimals and thousands apart."""
    number = _decimal(value)
    return NOTHING if number is None else f"{number:,.2f}"


@register.filter
def used(value: Decimal | int) -> str:
    """How much of a limit is used: a count as it is, anything else as money."""
    return f"{value:,}" if isinstance(value, int) else money(value)


@register.filter
def signed(value: Any) -> str:
    """As money, with its sign."""
    number = _decimal(value)
    return NOTHING if number is None else f"{number:+,.2f}"


@register.filter
def share(value: Any) -> str:
    """A fraction in per cent."""
    number = _decimal(value)
    return NOTHING if number is None else f"{100 * number:.2f}%"


@register.filter
def quantity(value: Any) -> str:
    """Without zeros at the end."""
    number = _decimal(value)
    return NOTHING if number is None else f"{number.normalize():,f}"


@register.filter
def span(value: timedelta | None) -> str:
    """A length of time."""
    return shown_span(value)


@register.filter
def took(row: JobRun | JobAttempt) -> str:
    """From the start to the end, or to now while it goes on."""
    if row.started_at is None:
        return NOTHING
    return shown_span((row.finished_at or datetime.now(UTC)) - row.started_at)


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return NOTHING
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0)
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"
