"""What anybody may ask for: the book, bars, prices, and what has been traded."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.venues.binance.book import Book
from tests.venues.binance.rules import SYMBOLS, reject, shown, symbol_of, wanted

DAY = 24 * 3600 * 1000
INTERVALS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": DAY}
NAMES = (
    "depth", "klines", "uiKlines", "avgPrice", "ticker/price", "ticker/bookTicker", "ticker/24hr", "trades",
    "aggTrades",
)  # fmt: skip
PATHS = {f"/api/v3/{name}" for name in NAMES}


class PublicData:
    """``now`` is the venue's clock in milliseconds."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now

    def routes(self) -> dict[str, Callable[[Book, str, dict[str, str]], Any]]:
        """By path."""
        found = (self._depth, self._klines, self._klines, self._average, self._prices, self._tickers, self._days,
                 self._trades, self._joined)  # fmt: skip
        return {f"/api/v3/{name}": route for name, route in zip(NAMES, found, strict=True)}

    def _depth(self, book: Book, key: str, params: dict[str, str]) -> Any:
        bids, asks = book.levels(symbol_of(params).name)
        rows = [[[shown(price), shown(quantity)] for price, quantity in side] for side in (bids, asks)]
        return {"lastUpdateId": self._now(), "bids": rows[0], "asks": rows[1]}

    def _klines(self, book: Book, key: str, params: dict[str, str]) -> Any:
        """Bars that follow from the average price and their time alone, so that they are the same whenever asked."""
        symbol, limit = symbol_of(params), min(int(params.get("limit", "500")), 1000)
        wanted(params, "interval")
        if params["interval"] not in INTERVALS:
            reject(-1120, "Invalid interval.")
        width, middle = INTERVALS[params["interval"]], book.average(symbol.name)
        last = min(int(params.get("endTime", self._now())), self._now()) // width * width
        first = max(-(-int(params["startTime"]) // width) * width, 0) if "startTime" in params else None
        starts = [last - back * width for back in range(limit - 1, -1, -1)] if first is None else [
            time for time in (first + step * width for step in range(limit)) if time <= last
        ]  # fmt: skip

        def price(at: int) -> Decimal:
            wave = Decimal(f"{1 + 0.01 * math.sin(at / DAY):.8f}")
            return (middle * wave).quantize(symbol.tick)

        return [
            [start, shown(price(start)), shown(max(price(start), price(start + width))),
             shown(min(price(start), price(start + width))), shown(price(start + width)), "10.00000000",
             start + width - 1, shown(10 * price(start)), 100, "5.00000000", shown(5 * price(start)), "0"]
            for start in starts
        ]  # fmt: skip

    def _average(self, book: Book, key: str, params: dict[str, str]) -> Any:
        return {"mins": 5, "price": shown(book.average(symbol_of(params).name)), "closeTime": self._now()}

    def _names(self, params: dict[str, str]) -> tuple[list[str], bool]:
        if "symbol" in params:
            return [symbol_of(params).name], True
        return (json.loads(params["symbols"]) if "symbols" in params else list(SYMBOLS)), False

    def _prices(self, book: Book, key: str, params: dict[str, str]) -> Any:
        names, is_one = self._names(params)
        rows = [{"symbol": name, "price": shown(book.average(name))} for name in names]
        return rows[0] if is_one else rows

    def _tickers(self, book: Book, key: str, params: dict[str, str]) -> Any:
        names, is_one = self._names(params)
        rows = []
        for name in names:
            best = [(side or [(Decimal(0), Decimal(0))])[0] for side in book.levels(name)]
            rows.append({"symbol": name, "bidPrice": shown(best[0][0]), "bidQty": shown(best[0][1]),
                         "askPrice": shown(best[1][0]), "askQty": shown(best[1][1])})  # fmt: skip
        return rows[0] if is_one else rows

    def _days(self, book: Book, key: str, params: dict[str, str]) -> Any:
        """The last 24 hours: the price has stood still, and what was traded here is all that was."""
        names, is_one = self._names(params)
        rows = []
        for ticker in self._tickers(book, key, {"symbols": json.dumps(names)}):
            traded, price = book.traded(ticker["symbol"], self._now() - DAY), shown(book.average(ticker["symbol"]))
            volume = sum((Decimal(row["quantity"]) for row in traded), Decimal(0))
            worth = sum((Decimal(row["quantity"]) * Decimal(row["price"]) for row in traded), Decimal(0))
            rows.append({
                **ticker,
                "priceChange": shown(Decimal(0)), "priceChangePercent": "0.000", "weightedAvgPrice": price,
                "prevClosePrice": price, "lastPrice": _plain(traded[-1], "price") if traded else price,
                "lastQty": _plain(traded[-1], "quantity") if traded else shown(Decimal(0)), "openPrice": price,
                "highPrice": price, "lowPrice": price, "volume": shown(volume), "quoteVolume": shown(worth),
                "openTime": self._now() - DAY, "closeTime": self._now(),
                "firstId": traded[0]["id"] if traded else -1, "lastId": traded[-1]["id"] if traded else -1,
                "count": len(traded),
            })  # fmt: skip
        return rows[0] if is_one else rows

    def _trades(self, book: Book, key: str, params: dict[str, str]) -> Any:
        return [
            {"id": row["id"], "price": _plain(row, "price"), "qty": _plain(row, "quantity"),
             "quoteQty": shown(Decimal(row["price"]) * Decimal(row["quantity"])), "time": row["time"],
             "isBuyerMaker": not row["is_buyer"], "isBestMatch": True}
            for row in self._latest(book, params)
        ]  # fmt: skip

    def _joined(self, book: Book, key: str, params: dict[str, str]) -> Any:
        """Each trade stands for itself."""
        return [
            {"a": row["id"], "p": _plain(row, "price"), "q": _plain(row, "quantity"), "f": row["id"], "l": row["id"],
             "T": row["time"], "m": not row["is_buyer"], "M": True}
            for row in self._latest(book, params)
        ]  # fmt: skip

    @staticmethod
    def _latest(book: Book, params: dict[str, str]) -> list[Any]:
        symbol, limit = symbol_of(params), min(int(params.get("limit", "500")), 1000)
        return book.traded(symbol.name, 0)[-limit:]


def _plain(row: Any, name: str) -> str:
    return shown(Decimal(row[name]))
