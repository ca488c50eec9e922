"""Where candles come from. Each module here declares one `PROVIDER`; it is found by being here."""

import importlib
import pkgutil
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

SYNTHETIC: Final = "synthetic"
"""The provider whose bars are of no market, and what they name as their source."""


@dataclass(frozen=True)
class Bar:
    """One interval of one symbol: ``time`` is its beginning (UTC)."""

    symbol: str
    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class ProviderError(RuntimeError):
    """The provider could not answer; trying again later may help."""


class Provider(Protocol):
    """A source of daily candles."""

    name: str

    def market_time(self, *, now: datetime, last: datetime | None) -> datetime:
        """What time it is in this market when the newest bar that we know began at ``last``: ``now``, if it is live."""

    def candles(self, symbol: str, *, after: datetime | None, until: datetime) -> list[Bar]:
        """The bars of ``symbol`` that ended by ``until``, after the one that began at ``after``, oldest first.

        Raises `ProviderError` when it cannot be asked, ``LookupError`` when it does not know the symbol.
        """


class UnknownProvider(LookupError):
    """No module here has that name."""


def get(name: str) -> Provider:
    """The provider called ``name``; `UnknownProvider` lists those that exist."""
    known = sorted(info.name for info in pkgutil.iter_modules(__path__))
    if name not in known:
        raise UnknownProvider(f"QT_MARKET_PROVIDER is {name!r}; there are: {', '.join(known)}.")
    provider: Provider = importlib.import_module(f"{__name__}.{name}").PROVIDER
    return provider
