"""How pages write money, quantities and times."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django import template

from trading.jobs.chain import shown_span
from trading.jobs.models import JobAttempt, JobRun
from trading.jobs.registry import registry
from trading.web import labels

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
def bound(value: Any) -> str:
    """The value of a limit: a number with thousands apart and no more decimals than it has, else what it says."""
    return f"{value:,}" if isinstance(value, Decimal | int) else str(value)


@register.filter
def limit_label(setting: str) -> str:
    """What the pages call a limit."""
    return labels.of_limit(setting)


@register.filter
def job_title(slug: str) -> str:
    """What a job does, in its own words; nothing for one that is not there any more."""
    return registry.get(slug).title if slug in registry.slugs() else ""


@register.filter
def price(value: Any) -> str:
    """With thousands apart, two decimals or as many more as it has."""
    number = _decimal(value)
    if number is None:
        return NOTHING
    exponent = number.normalize().as_tuple().exponent
    return f"{number:,.{max(2, -exponent) if isinstance(exponent, int) else 2}f}"


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
