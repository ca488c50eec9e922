"""Storing candles and what is drawn from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from django.db import transaction

from trading.marketdata.models import Candle, Sentiment
from trading.marketdata.providers import SYNTHETIC, Bar
from trading.quant.momentum import mood

DAILY = "1d"
BATCH = 2_000
MOOD_SOURCE = "price-action"
REPLACING: Final[dict[str, Any]] = {
    "update_conflicts": True,
    "unique_fields": ("symbol", "interval", "time"),
    "update_fields": ("open", "high", "low", "close", "volume", "source"),
}


@dataclass(frozen=True)
class Stored:
    """How many bars came, and how many of them were new."""

    received: int
    new: int


def store(bars: Iterable[Bar], *, source: str, interval: str = DAILY, replace: bool = False) -> Stored:
    """Keep ``bars``, all or none; one that is there already stays as it is, or with ``replace`` gives way.

    What the synthetic provider has drawn of a symbol goes when the first bars of a market come: the two are no series.
    """
    received = removed = 0
    seen: set[str] = set()
    with transaction.atomic():
        before = Candle.objects.count()
        remaining = iter(bars)
        while batch := list(islice(remaining, BATCH)):
            received += len(batch)
            first = {bar.symbol for bar in batch} - seen
            if first and source != SYNTHETIC:
                drawn = Candle.objects.filter(symbol__in=first, interval=interval, source=SYNTHETIC)
                removed += drawn.delete()[0]
                seen |= first
            Candle.objects.bulk_create(
                [
                    Candle(
                        symbol=bar.symbol,
                        interval=interval,
                        time=bar.time,
                        open=bar.open,
                        high=bar.high,
                        low=bar.low,
                        close=bar.close,
                        volume=bar.volume,
                        source=source,
                    )
                    for bar in batch
                ],
                **(REPLACING if replace else {"ignore_conflicts": True}),
            )
        return Stored(received, Candle.objects.count() - before + removed)


def record_mood(symbol: str, closes: Sequence[Decimal], *, at: datetime) -> Decimal:
    """Keep the mood that the last closes of ``symbol`` show at its bar ``at``; the score, from -1 to 1.

    It is drawn from prices alone: the offline stand-in for a source of news.
    """
    score = Decimal(repr(mood([float(close) for close in closes]))).quantize(Decimal("0.0001"))
    Sentiment.objects.bulk_create(
        [Sentiment(symbol=symbol, time=at, score=score, source=MOOD_SOURCE)], ignore_conflicts=True
    )
    return score
