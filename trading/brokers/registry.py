"""The venues that there are: one module each in ``adapters``, found by being there."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings

from trading.brokers import adapters
from trading.brokers.base import Adapter, Broker, BrokerRefused

MOCK = "mock"


class UnknownBroker(LookupError):
    """No adapter has that name."""


def names() -> list[str]:
    """The names of all adapters."""
    return sorted(info.name for info in pkgutil.iter_modules(adapters.__path__))


def adapter(name: str) -> Adapter:
    """The adapter called ``name``; raises `UnknownBroker`."""
    if name not in names():
        raise UnknownBroker(f"No broker is called {name!r}; there are: {', '.join(names())}.")
    found: Adapter = importlib.import_module(f"{adapters.__name__}.{name}").ADAPTER
    return found


def stand_in(name: str) -> str:
    """The adapter that opens sessions with ``name``: ``mock`` for real venues while ``USE_MOCK_BROKER`` is on.

    Raises `UnknownBroker`.
    """
    return MOCK if settings.USE_MOCK_BROKER and not adapter(name).is_simulated else name


def is_simulated(name: str) -> bool:
    """Whether no money can move at the venue called ``name``; of one that is not known it can."""
    return name in names() and adapter(name).is_simulated


def open_session(name: str, client_id: UUID, *, credentials: Mapping[str, Any] | None = None) -> Broker:
    """A session with the venue called ``name``; close it after use.

    ``credentials`` are the fields of that adapter's model. Raises `UnknownBroker`, `BrokerError`, or
    `pydantic.ValidationError` for credentials that do not fit the model.
    """
    found = adapter(name)
    if credentials is None and any(field.is_required() for field in found.credentials.model_fields.values()):
        raise BrokerRefused(
            f"No credentials are stored for {name}: connect the broker first.",
            broker=name,
            operation="session",
            code="no_credentials",
        )
    return found.open(client_id, found.credentials.model_validate(credentials or {}))
