"""A client's risk and strategy parameters: its own, never looser than the platform's hard limits.

Each change is a new version; the newest holds. The platform may become stricter later, so that the stricter of the two
is taken at each use as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from trading.core import dials, hours
from trading.tenants.models import Client, Parameters


class Rule(Enum):
    """How a client's value relates to the platform's."""

    AT_MOST = "at_most"
    """A limit; where the platform has none (0), any positive value."""
    AT_LEAST = "at_least"


@dataclass(frozen=True)
class Field:
    """A parameter that is a number: the platform's dial for the same thing, and which way is stricter."""

    dial: str
    rule: Rule
    is_whole: bool = False


RISK: Final[Mapping[str, Field]] = {
    "max_order_size": Field("QT_MAX_NOTIONAL_PER_TRADE", Rule.AT_MOST),
    "max_daily_loss": Field("QT_MAX_DAILY_LOSS", Rule.AT_MOST),
    "max_position_per_symbol": Field("QT_MAX_POSITION_PER_SYMBOL", Rule.AT_MOST),
    "max_gross_exposure": Field("QT_MAX_GROSS_EXPOSURE", Rule.AT_MOST),
    "max_net_delta": Field("QT_MAX_NET_DELTA", Rule.AT_MOST),
    "max_open_legs": Field("QT_MAX_OPEN_LEGS", Rule.AT_MOST, is_whole=True),
    "max_spread_pct": Field("QT_MAX_SPREAD_PCT", Rule.AT_MOST),
    "breaker_losses": Field("QT_BREAKER_LOSSES", Rule.AT_MOST, is_whole=True),
    "breaker_loss": Field("QT_BREAKER_LOSS", Rule.AT_MOST),
}
STRATEGY: Final[Mapping[str, Field]] = {
    "cash_buffer": Field("QT_EXECUTION_CASH_BUFFER", Rule.AT_LEAST),
    "min_notional": Field("QT_EXECUTION_MIN_NOTIONAL", Rule.AT_LEAST),
    "max_orders": Field("QT_EXECUTION_MAX_ORDERS", Rule.AT_MOST, is_whole=True),
}
FIELDS: Final[Mapping[str, Field]] = {**RISK, **STRATEGY}
HOURS: Final = "market_hours"
SYMBOLS: Final = "symbols"
RISK_NAMES: Final = (*RISK, HOURS)
NAMES: Final = (*RISK_NAMES, SYMBOLS, *STRATEGY)
HAS_NO_LIMIT_AT_ZERO: Final = (
    "QT_MAX_POSITION_PER_SYMBOL",
    "QT_MAX_GROSS_EXPOSURE",
    "QT_MAX_NET_DELTA",
    "QT_MAX_OPEN_LEGS",
    "QT_MAX_SPREAD_PCT",
    "QT_BREAKER_LOSSES",
)
_LARGEST: Final = Decimal("1e12")


class NotWithinLimits(ValueError):
    """Values that the platform does not allow: ``problems`` are pairs of a parameter's name and a sentence."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name} {message}" for name, message in problems))
        self.problems = problems


def platform_symbols() -> tuple[str, ...]:
    """What the platform trades."""
    return tuple(settings.QUANTUM_TRADER_SYMBOLS)


def current(client_id: UUID) -> Parameters | None:
    """The version that holds; None for a client that never set any."""
    return Parameters.objects.filter(client_id=client_id).order_by("-version").first()


def change(client_id: UUID, wanted: Mapping[str, Any], *, by: str) -> tuple[Parameters, dict[str, tuple[Any, Any]]]:
    """Store a new version in which ``wanted`` stands and all else stays; it, and what changed from what to what.

    None is the platform's value again. Where nothing changes, no version is made. Raises `NotWithinLimits`. Must run
    in a transaction: the client's row is locked, so that of two changes at once the second builds on the first.
    """
    with transaction.atomic():
        Client.objects.select_for_update(no_key=True).get(id=client_id)
        checked = check(wanted)
        before = current(client_id) or Parameters(client_id=client_id, version=0)
        differences = {
            name: (getattr(before, name), value) for name, value in checked.items() if getattr(before, name) != value
        }
        if not differences and before.version:
            return before, {}
        kept = {name: getattr(before, name) for name in NAMES}
        after = Parameters(client_id=client_id, version=before.version + 1, changed_by=by[:200], **{**kept, **checked})
        after.save(force_insert=True)
        return after, differences


def check(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``wanted`` as columns hold it; raises `NotWithinLimits` naming every value that is not allowed."""
    limits = dials.values({field.dial for field in FIELDS.values()})
    checked: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, value in wanted.items():
        try:
            checked[name] = None if value is None else _checked(name, value, limits)
        except ValueError as error:
            problems.append((name, str(error)))
    if problems:
        raise NotWithinLimits(problems)
    return checked


def _checked(name: str, value: Any, limits: Mapping[str, dials.Value]) -> Any:
    if name == SYMBOLS:
        return _symbols(value)
    if name == HOURS:
        return _hours(value)
    field = FIELDS.get(name)
    if field is None:
        raise ValueError(f"is not known here; there are: {', '.join(NAMES)}")
    number = _number(value, field)
    limit = Decimal(limits[field.dial])
    if field.rule is Rule.AT_LEAST:
        if number < limit:
            raise ValueError(f"must be at least {limit}, which is the platform's")
        return number
    if number <= 0:
        raise ValueError("must be more than 0; null takes the platform's")
    if number > limit and not (limit <= 0 and field.dial in HAS_NO_LIMIT_AT_ZERO):
        raise ValueError(f"must be at most {limit}, which is the platform's limit")
    return int(number) if field.is_whole else number


def _number(value: Any, field: Field) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("must be a whole number" if field.is_whole else "must be a decimal as a string")
    text = str(value)
    try:
        number = Decimal(text) if text.isascii() and len(text) <= 40 and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= _LARGEST:
        raise ValueError(f"must be a number from 0 to {_LARGEST:f}")
    places = 0 if field.is_whole else 2
    if number != round(number, places):
        raise ValueError("must be a whole number" if field.is_whole else "has more than 2 decimal places")
    return round(abs(number), places)


def _symbols(value: Any) -> list[str]:
    allowed = platform_symbols()
    if not isinstance(value, list) or not value or not all(isinstance(symbol, str) for symbol in value):
        raise ValueError("must be a list of symbols, or null for all of the platform's")
    unknown = [symbol for symbol in value if symbol not in allowed]
    if unknown or len(set(value)) != len(value):
        raise ValueError(f"must be different ones of: {', '.join(allowed)}")
    return sorted(value)


def _hours(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must look like America/New_York mon-fri 09:30-16:00, or null for the platform's alone")
    return hours.parse(value).text


@dataclass(frozen=True)
class InForce:
    """What holds for a client now: of its own value and the platform's, the stricter."""

    values: Mapping[str, dials.Value]
    """By the name of the platform's setting, the others of `trading.core.dials` among them."""
    symbols: tuple[str, ...]
    sessions: tuple[hours.Hours, ...] = ()
    """Orders are sent only while all of them are open: the platform's and the client's own."""

    def decimal(self, dial: str) -> Decimal:
        """The value of a dial that is a decimal."""
        return Decimal(self.values[dial])


def in_force(client_id: UUID) -> InForce:
    """What holds for the client now, in two queries."""
    return combined(dials.values(), current(client_id))


def combined(platform: Mapping[str, dials.Value], own: Parameters | None) -> InForce:
    """What holds where the platform's dials are ``platform`` and the client's own parameters ``own``."""
    values, symbols = dict(platform), platform_symbols()
    sessions = [settings.QT_MARKET_HOURS] if settings.QT_MARKET_HOURS else []
    if own is not None:
        for name, field in FIELDS.items():
            value = getattr(own, name)
            if value is not None:
                values[field.dial] = _stricter(field, value, values[field.dial])
        if own.symbols is not None:
            symbols = tuple(symbol for symbol in symbols if symbol in own.symbols)
        if own.market_hours is not None:
            sessions.append(own.market_hours)
    return InForce(values, symbols, tuple(hours.parse(session) for session in sessions))


def _stricter(field: Field, own: Decimal | int, platform: dials.Value) -> dials.Value:
    if field.rule is Rule.AT_LEAST:
        return max(own, platform)
    if platform <= 0 and field.dial in HAS_NO_LIMIT_AT_ZERO:
        return own
    return min(own, platform)
