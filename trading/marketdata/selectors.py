"""Reading candles."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from django.db.models import Max

from trading.brokers.quotes import LastTrade
from trading.marketdata.models import Candle
from trading.marketdata.providers import SYNTHETIC
from trading.marketdata.services import DAILY


@dataclass(frozen=True)
class Quote:
    """The last close of a symbol and the one before it."""

    symbol: str
    price: Decimal
    previous: Decimal
    volume: Decimal
    time: datetime


@dataclass(frozen=True)
class History:
    """Closes and volumes of one symbol, oldest first, float64 arrays of one length."""

    symbol: str
    closes: npt.NDArray[np.float64]
    volumes: npt.NDArray[np.float64]
    last_time: datetime


def last_time(symbol: str, *, interval: str = DAILY) -> datetime | None:
    """When the newest bar of ``symbol`` began; None when there is none."""
    return (
        Candle.objects.filter(symbol=symbol, interval=interval).order_by("-time").values_list("time", flat=True).first()
    )


def first_time(symbol: str, *, interval: str = DAILY) -> datetime | None:
    """When the oldest bar of ``symbol`` began; None when there is none."""
    return (
        Candle.objects.filter(symbol=symbol, interval=interval).order_by("time").values_list("time", flat=True).first()
    )


def newest_time(*, interval: str = DAILY) -> datetime | None:
    """When the newest bar of any symbol began."""
    newest: datetime | None = Candle.objects.filter(interval=interval).aggregate(newest=Max("time"))["newest"]
    return newest


def quote(symbol: str, *, interval: str = DAILY) -> Quote | None:
    """The newest close; None when nothing is known of the symbol."""
    rows = list(Candle.objects.filter(symbol=symbol, interval=interval).order_by("-time")[:2])
    if not rows:
        return None
    return Quote(symbol, rows[0].close, rows[-1].close, rows[0].volume, rows[0].time)


def made_up(symbols: Iterable[str], *, interval: str = DAILY) -> set[str]:
    """Those of ``symbols`` with bars of no market: the synthetic provider has drawn them."""
    drawn = Candle.objects.filter(symbol__in=symbols, interval=interval, source=SYNTHETIC)
    return set(drawn.values_list("symbol", flat=True).distinct())


def of_a_market(symbols: Iterable[str], *, interval: str = DAILY) -> set[str]:
    """Those of ``symbols`` with bars that a market, or a file of one, has given."""
    given = Candle.objects.filter(symbol__in=symbols, interval=interval).exclude(source=SYNTHETIC)
    return set(given.values_list("symbol", flat=True).distinct())


def history(symbol: str, *, bars: int, interval: str = DAILY) -> History | None:
    """The last ``bars`` of ``symbol``; None when it has fewer."""
    rows = list(
        Candle.objects.filter(symbol=symbol, interval=interval)
        .order_by("-time")
        .values_list("close", "volume", "time")[:bars]
    )
    if len(rows) < bars:
        return None
    rows.reverse()
    return History(
        symbol,
        np.array([float(row[0]) for row in rows]),
        np.array([float(row[1]) for row in rows]),
        rows[-1][2],
    )


def closes(symbol: str, *, bars: int, interval: str = DAILY) -> Sequence[Decimal]:
    """The last closes, oldest first, at most ``bars``."""
    newest = (
        Candle.objects.filter(symbol=symbol, interval=interval).order_by("-time").values_list("close", flat=True)[:bars]
    )
    return list(reversed(newest))


def last_trade(symbol: str) -> LastTrade | None:
    """The newest close as the paper venue asks for it."""
    newest = quote(symbol)
    return None if newest is None else LastTrade(newest.price, newest.volume, newest.time)
