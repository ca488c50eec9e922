"""A market that never was: for each symbol a geometric random walk, the same on every machine and every day.

It needs no network and no file. A symbol's name seeds its walk, which begins on 2020-01-01 and has one bar a day.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from trading.marketdata.providers import SYNTHETIC, Bar

BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
HISTORY_BARS = 400
"""How far back the first question is answered."""
CENT = Decimal("0.01")


class SyntheticProvider:
    """Seeded daily bars; the drift and the volatility of a symbol are drawn from its name too."""

    name = SYNTHETIC

    def market_time(self, *, now: datetime, last: datetime | None) -> datetime:
        """It keeps our time."""
        return now

    def candles(self, symbol: str, *, after: datetime | None, until: datetime) -> list[Bar]:
        """The days that have ended by ``until`` and began after ``after``."""
        days = (until - BEGINNING).days
        first = max(days - HISTORY_BARS, 0) if after is None else (after - BEGINNING).days + 1
        seed = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:8], "big")
        rng = np.random.Generator(np.random.PCG64(seed))
        price, drift, volatility = rng.uniform(10, 500), rng.normal(2e-4, 3e-4), rng.uniform(0.01, 0.03)
        units = rng.uniform(1e5, 5e6)
        shocks = rng.normal(size=(max(days, 0), 4))  # drawn in the same order however many days are asked for
        closes = price * np.exp(np.cumsum(drift - volatility**2 / 2 + volatility * shocks[:, 0]))
        opens = np.concatenate([[price], closes[:-1]])
        spread = volatility / 2
        highs = np.maximum(opens, closes) * (1 + spread * np.abs(shocks[:, 1]))
        lows = np.minimum(opens, closes) / (1 + spread * np.abs(shocks[:, 2]))
        volumes = units * np.exp(0.3 * shocks[:, 3])
        return [
            Bar(
                symbol=symbol,
                time=BEGINNING + timedelta(days=day),
                open=_money(opens[day]),
                high=_money(highs[day]),
                low=_money(lows[day]),
                close=_money(closes[day]),
                volume=Decimal(int(volumes[day])),
            )
            for day in range(first, days)
        ]


def _money(value: float) -> Decimal:
    return max(Decimal(repr(float(value))).quantize(CENT), CENT)


PROVIDER = SyntheticProvider()
