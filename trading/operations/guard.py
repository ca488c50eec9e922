"""The guard as a whole, for those who run the platform: switches, limits, trades, overrides, price bounds."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from trading.core import dials
from trading.core.models import ChangedSetting
from trading.execution import exposure
from trading.execution.selectors import gross_exposure
from trading.marketdata import selectors as market
from trading.operations.platform import plain
from trading.risk.limits import modules
from trading.risk.models import Guard, RiskAccount
from trading.tenants.parameters import HAS_NO_LIMIT_AT_ZERO, platform_symbols

NAMED: Final = 200


def described() -> dict[str, Any]:
    """All of it in plain JSON."""
    guard, now = Guard.objects.get(id=1), timezone.now()
    tripped = RiskAccount.objects.exclude(tripped_at=None).order_by("tripped_at")[:NAMED]
    changed = ChangedSetting.objects.filter(name__in=_settings()).order_by("name")
    values = dials.values()
    return {
        "kill_switch": guard.kills,
        "emergency_halt": guard.halted,
        "autonomous_enabled": settings.AUTONOMOUS_ENABLED,
        "reason": guard.reason,
        "changed_by": guard.changed_by,
        "changed_at": _time(guard.changed_at),
        "gross_exposure": f"{gross_exposure():.2f}",
        "limits": {name: _limit(name, values) for name in _settings()},
        "trades": _trades(guard.trades_since, now),
        "overrides": {
            "kill_switch": guard.kill_switch,
            "kill_switch_configured": settings.QT_KILL_SWITCH,
            "settings": {row.name: row.value for row in changed},
            "circuit_breakers": [
                {"client_id": str(account.client_id), "since": _time(account.tripped_at)} for account in tripped
            ],
        },
        "price_bounds": _bounds(Decimal(values["QT_MAX_PRICE_MOVE_PCT"])),
    }


def _settings() -> list[str]:
    """Those of the limits that are in force."""
    found = modules()
    return [name for limit in settings.RISK_LIMITS for name in (found[limit].settings if limit in found else (limit,))]


def _limit(name: str, values: dict[str, dials.Value]) -> Any:
    value = values[name] if name in values else getattr(settings, name, None)
    if name in HAS_NO_LIMIT_AT_ZERO and value is not None and Decimal(value) <= 0:
        return None
    return plain(value) or None


def _trades(since: datetime | None, now: datetime) -> dict[str, Any]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "counted_since": _time(since),
        "today": exposure.traded(midnight, since),
        "last_24_hours": exposure.traded(now - timedelta(hours=24), since),
    }


def _bounds(move: Decimal) -> dict[str, Any]:
    """For each symbol of the platform the close before, and the prices that are within the allowed move of it."""
    found = {}
    for symbol in platform_symbols():
        quote = market.quote(symbol)
        if quote is not None:
            low, high = (quote.previous * (1 + sign * move / 100) for sign in (-1, 1))
            found[symbol] = {
                "previous_close": f"{quote.previous.normalize():f}",
                "lowest": f"{max(low, Decimal(0)).normalize():f}",
                "highest": f"{high.normalize():f}",
                "last": f"{quote.price.normalize():f}",
            }
    return found


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
