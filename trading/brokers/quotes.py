"""Where the paper venue learns what the market does. Market data stands above brokers, and hands its reader down."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class LastTrade:
    """The last close of a symbol, the volume of that bar, and when it began; None: it is the only one."""

    price: Decimal
    volume: Decimal
    time: datetime | None = None


LONGEST_SYMBOL = 32
Source = Callable[[str], LastTrade | None]
_source: Source | None = None


def provide(source: Source) -> None:
    """Use ``source`` from now on; called once, when market data is ready."""
    global _source
    _source = source


def last_trade(symbol: str) -> LastTrade | None:
    """What ``symbol`` last traded at; None when it does not trade."""
    if _source is None:
        raise RuntimeError("nothing provides quotes: is trading.marketdata among the installed apps?")
    return _source(symbol) if is_symbol(symbol) else None


def is_symbol(text: str) -> bool:
    """Whether ``text`` could name something that is traded."""
    return 0 < len(text) <= LONGEST_SYMBOL and text.isprintable()
