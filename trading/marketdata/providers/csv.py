"""Candles from a file with the columns of `trading.marketdata.files`, the bundled one unless another is named.

With ``QT_CSV_BARS_PER_REFRESH`` each refresh comes that many bars further, for all symbols alike, so that a recorded
market is lived through again.
"""

from bisect import bisect_right
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from trading.marketdata.files import read_bars
from trading.marketdata.providers import Bar


class CsvProvider:
    """The bars of one file, kept in memory."""

    name = "csv"

    def market_time(self, *, now: datetime, last: datetime | None) -> datetime:
        """The next moments of the file after ``last``, as many as a refresh may have; all of it without that limit."""
        limit = settings.QT_CSV_BARS_PER_REFRESH
        if not limit:
            return now
        times = sorted({bar.time for bars in _bars().values() for bar in bars})
        later = times[bisect_right(times, last) :] if last is not None else times
        return min(later[:limit][-1] if later else times[-1], now)

    def candles(self, symbol: str, *, after: datetime | None, until: datetime) -> list[Bar]:
        """The file's bars of ``symbol`` up to ``until``."""
        bars = _bars()
        if symbol not in bars:
            raise LookupError(f"{symbol} is not in {settings.QT_CSV_FILE}; it has {', '.join(sorted(bars))}")
        return [bar for bar in bars[symbol] if (after is None or bar.time > after) and bar.time <= until]


def _bars() -> dict[str, list[Bar]]:
    path = Path(settings.QT_CSV_FILE)
    return _by_symbol(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _by_symbol(path: Path, modified: int) -> dict[str, list[Bar]]:
    bars: dict[str, list[Bar]] = {}
    for bar in read_bars(path):
        bars.setdefault(bar.symbol, []).append(bar)
    return {symbol: sorted(found, key=lambda bar: bar.time) for symbol, found in bars.items()}


PROVIDER = CsvProvider()
