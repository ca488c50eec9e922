"""The venues that there are: one module each in ``adapters``, found by being there."""

import importlib
import pkgutil
from uuid import UUID

from trading.brokers import adapters
from trading.brokers.base import Adapter, Broker


class UnknownBroker(LookupError):
    """No adapter has that name."""


def names() -> list[str]:
    """The names of all adapters."""
    return sorted(info.name for info in pkgutil.iter_modules(adapters.__path__))


def open_session(name: str, client_id: UUID) -> Broker:
    """A session with the venue called ``name``; raises `UnknownBroker` or `BrokerError`."""
    if name not in names():
        raise UnknownBroker(f"No broker is called {name!r}; there are: {', '.join(names())}.")
    adapter: Adapter = importlib.import_module(f"{adapters.__name__}.{name}").ADAPTER
    return adapter.open(client_id)
