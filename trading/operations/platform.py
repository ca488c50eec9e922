"""The platform's settings as they hold now: those that are no secret, and the change of those that may change."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from trading.audit.services import record
from trading.core import dials
from trading.core.dials import DIALS, Change
from trading.core.models import ChangedSetting

SHOWN: Final = (
    "APP_ENV",
    "VERSION",
    "QUANTUM_TRADER_SYMBOLS",
    "QUANTUM_TRADER_REFRESH_SECONDS",
    "QUANTUM_TRADER_EXECUTION_SECONDS",
    "QUANTUM_TRADER_DISABLE_SCHEDULER",
    "QUANTUM_TRADER_DISABLE_EXECUTION",
    "QT_MARKET_PROVIDER",
    "QT_EXECUTION_EXCHANGE",
    "QT_PAPER_FEE_BPS",
    "QT_PAPER_SLIPPAGE_BPS",
    "QT_PAPER_PARTICIPATION",
    "QT_PAPER_CASH",
    "QT_JOB_RETENTION_DAYS",
    "ALLOW_SELF_ONBOARDING",
    "AUTONOMOUS_ENABLED",
    "QT_KILL_SWITCH",
    "QT_MARKET_HOURS",
    "QT_MARKET_HOLIDAYS",
    *DIALS,
)
"""By name, so that a setting is shown only when somebody has decided that it is no secret."""


def described() -> dict[str, Any]:
    """The settings with their values, and of those that may be changed their kind, bounds and last change."""
    values = {name: getattr(settings, name) for name in SHOWN} | dials.values()
    rows = {row.name: row for row in ChangedSetting.objects.filter(name__in=DIALS)}
    return {
        "settings": {name: plain(value) for name, value in values.items()},
        "mutable": {
            name: {
                "type": {Decimal: "decimal", int: "integer", bool: "boolean"}[dial.kind],
                "meaning": dial.meaning,
                "minimum": None if dial.kind is bool else str(dial.lowest),
                "maximum": None if dial.kind is bool else str(dial.highest),
                "environment": plain(dials.of_environment(name)),
                "changed_by": rows[name].changed_by if name in rows else None,
                "changed_at": rows[name].changed_at.isoformat().replace("+00:00", "Z") if name in rows else None,
            }
            for name, dial in DIALS.items()
        },
    }


def change(wanted: Mapping[str, Any], *, by: str) -> list[Change]:
    """`trading.core.dials.change`, each with an entry in the platform's audit log; all or, with `NotAllowed`, none."""
    with transaction.atomic():
        changes = dials.change(wanted, by=by)
        for one in changes:
            told = {"from": one.before, "to": one.after, "is_the_environments": one.returned}
            record("settings.changed", subject=f"setting:{one.name}", data=told)
    return changes


def plain(value: Any) -> Any:
    """``value`` as JSON has it."""
    return f"{value:f}" if isinstance(value, Decimal) else value
