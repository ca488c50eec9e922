"""Weights of requests by address and counts of orders by account, in the venue's own windows."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from tests.venues.binance.rules import reject

WEIGHTS = {
    ("GET", "/api/v3/exchangeInfo"): 20, ("GET", "/api/v3/depth"): 5, ("GET", "/api/v3/klines"): 2,
    ("GET", "/api/v3/uiKlines"): 2, ("GET", "/api/v3/trades"): 25, ("GET", "/api/v3/aggTrades"): 4,
    ("GET", "/api/v3/ticker/24hr"): 2,
    ("GET", "/api/v3/ticker/bookTicker"): 2, ("GET", "/api/v3/ticker/price"): 2, ("GET", "/api/v3/avgPrice"): 2,
    ("GET", "/api/v3/account"): 20, ("GET", "/api/v3/order"): 4, ("GET", "/api/v3/openOrders"): 6,
    ("GET", "/api/v3/allOrders"): 20, ("GET", "/api/v3/myTrades"): 20, ("GET", "/api/v3/rateLimit/order"): 40,
    ("POST", "/api/v3/userDataStream"): 2, ("PUT", "/api/v3/userDataStream"): 2,
    ("DELETE", "/api/v3/userDataStream"): 2,
}  # fmt: skip
ALL_SYMBOLS = {"/api/v3/openOrders": 80, "/api/v3/ticker/bookTicker": 4, "/api/v3/ticker/price": 4,
               "/api/v3/ticker/24hr": 80}  # fmt: skip


@dataclass
class Limits:
    """Who asks on after a 429 is banned: 418 until the ban is over."""

    weight_per_minute: int = 6000
    orders_per_10_seconds: int = 100
    orders_per_day: int = 200_000
    patience: int = 5
    ban_seconds: int = 120
    _used: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    _banned_until: dict[str, float] = field(default_factory=dict)
    _refused: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_anew(self) -> None:
        """As if every window had just begun."""
        with self._lock:
            self._used.clear()

    def weigh(self, address: str, method: str, path: str, *, has_symbol: bool, now: float) -> dict[str, str]:
        """Count a request of ``address``; the headers that say so."""
        weight = WEIGHTS.get((method, path), 1)
        if method == "GET" and not has_symbol:
            weight = ALL_SYMBOLS.get(path, weight)
        with self._lock:
            banned = self._banned_until.get(address, 0)
            if banned > now:
                until = int(banned * 1000)
                words = f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams"
                wait = {"Retry-After": str(int(banned - now) + 1)}
                reject(-1003, f"{words} for live updates to avoid bans.", 418, wait)
            minute = int(now // 60)
            key = ("weight", address, minute)
            self._used[key] += weight
            headers = {"X-MBX-USED-WEIGHT": str(self._used[key]), "X-MBX-USED-WEIGHT-1M": str(self._used[key])}
            if self._used[key] > self.weight_per_minute:
                self._refused[address, minute] += 1
                if self._refused[address, minute] > self.patience:
                    self._banned_until[address] = now + self.ban_seconds
                reject(-1003, f"Too much request weight used; current limit is {self.weight_per_minute} request weight"
                       " per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.", 429,
                       {**headers, "Retry-After": str(int(60 - now % 60) + 1)})  # fmt: skip
            return headers

    def count_order(self, account: str, now: float) -> dict[str, str]:
        """Count an order of ``account``; the headers that say so."""
        with self._lock:
            short, day = ("10s", account, int(now // 10)), ("1d", account, int(now // 86_400))
            for key, limit, words in (
                (short, self.orders_per_10_seconds, "10 SECOND"),
                (day, self.orders_per_day, "1 DAY"),
            ):
                if self._used[key] >= limit:
                    reject(-1015, f"Too many new orders; current limit is {limit} orders per {words}.", 429)
            self._used[short] += 1
            self._used[day] += 1
            return {
                "X-MBX-ORDER-COUNT-10S": str(self._used[short]),
                "X-MBX-ORDER-COUNT-1D": str(self._used[day]),
            }

    def counts(self, account: str, now: float) -> tuple[int, int]:
        """Orders in the last ten seconds and today."""
        with self._lock:
            return self._used[("10s", account, int(now // 10))], self._used[("1d", account, int(now // 86_400))]

    def described(self) -> list[dict[str, object]]:
        """As exchangeInfo lists them."""
        return [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": self.weight_per_minute,
            },
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": self.orders_per_10_seconds},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": self.orders_per_day},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
        ]
