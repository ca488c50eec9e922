"""Changing a client's parameters with a record of who did, and telling them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from trading.audit.services import record
from trading.core import dials
from trading.tenants import parameters
from trading.tenants.models import Parameters
from trading.tenants.parameters import FIELDS, HAS_NO_LIMIT_AT_ZERO, HOURS, RISK_NAMES, STRATEGY, SYMBOLS


def change(client_id: UUID, wanted: Mapping[str, Any], *, by: str) -> Parameters:
    """`trading.tenants.parameters.change`, recorded. In the caller's transaction."""
    version, differences = parameters.change(client_id, wanted, by=by)
    if differences:
        told = {name: {"from": before, "to": after} for name, (before, after) in differences.items()}
        record("parameters.changed", client_id=client_id, subject=f"parameters:{version.version}", data=told)
    return version


def described(client_id: UUID) -> dict[str, Any]:
    """A client's own parameters, what holds and the platform's, in plain JSON."""
    own = parameters.current(client_id)
    now, platform = parameters.in_force(client_id), dials.values()
    return {
        "client_id": str(client_id),
        "version": own.version if own else 0,
        "changed_by": own.changed_by if own else None,
        "changed_at": own.created_at.isoformat().replace("+00:00", "Z") if own else None,
        "own": _both({name: getattr(own, name) for name in (*FIELDS, HOURS, SYMBOLS)} if own else {}),
        "in_force": _both(
            {
                **_named(now.values),
                HOURS: " and ".join(session.text for session in now.sessions) or None,
                SYMBOLS: list(now.symbols),
            }
        ),
        "platform": _both(
            {
                **_named(platform),
                HOURS: settings.QT_MARKET_HOURS or None,
                SYMBOLS: list(parameters.platform_symbols()),
            }
        ),
    }


def _named(values: Mapping[str, dials.Value]) -> dict[str, dials.Value | None]:
    """Values of dials under the parameters' names; None for no limit."""
    return {
        name: None if field.dial in HAS_NO_LIMIT_AT_ZERO and values[field.dial] <= 0 else values[field.dial]
        for name, field in FIELDS.items()
    }


def _both(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "risk": {name: _plain(values.get(name)) for name in RISK_NAMES},
        "strategy": {name: _plain(values.get(name)) for name in (SYMBOLS, *STRATEGY)},
    }


def _plain(value: Any) -> Any:
    return f"{value:.2f}" if isinstance(value, Decimal) else value
