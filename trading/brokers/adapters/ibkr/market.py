"""Prices and greeks as they come over the wire, and history under the venue's pacing rules."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trading.brokers.adapters.ibkr import codes
from trading.brokers.adapters.ibkr.books import number
from trading.brokers.adapters.ibkr.contracts import Found
from trading.brokers.adapters.ibkr.link import Link
from trading.brokers.adapters.ibkr.login import NAME
from trading.brokers.base import BrokerRefused, BrokerUnavailable
from trading.brokers.instruments import Greeks, Quote

BID, ASK, LAST = {1, 66}, {2, 67}, {4, 68}
BID_SIZE, ASK_SIZE = {0, 69}, {3, 70}
MODEL = {13, 83}
STALE_SECONDS = 15.0
"""Greeks older than this are none: an order that needs them is denied."""
MAX_LINES = 80
"""The venue gives a hundred lines to an account, and its own screens use some."""
DELAYED = {3, 4}


@dataclass
class Line:
    """One subscription. Prices that the venue marks as none are None."""

    found: Found
    on_change: Callable[["Line"], None] = lambda line: None
    prices: dict[str, Decimal] = field(default_factory=dict)
    greeks: Greeks | None = None
    greeks_at: float = -math.inf
    trouble: codes.NoData | None = None
    failure: tuple[int, str] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to wait for."""
        has_prices = {"bid", "ask"} <= self.prices.keys()
        has_greeks = self.greeks is not None or not self.found.is_option
        return self.failure is not None or self.trouble is not None or (has_prices and has_greeks)

    def quote(self, time: datetime, now: float) -> Quote:
        """What is known, with the greeks if they are fresh at ``now`` of the monotonic clock."""
        fresh = now - self.greeks_at <= STALE_SECONDS
        return Quote(
            self.found.instrument.symbol, self.prices.get("bid"), self.prices.get("ask"), self.prices.get("last"), time,
            self.prices.get("bid_quantity"), self.prices.get("ask_quantity"), self.greeks if fresh else None,
        )  # fmt: skip


@dataclass
class Lines:
    """All subscriptions of a connection, by the number of their request."""

    link: Link
    clock: Callable[[], float]
    now: Callable[[], datetime]
    _open: dict[int, Line] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def listen(self, ib: Any) -> None:
        """Take prices from the wire in the library's place."""
        ib.wrapper.priceSizeTick = self._price
        ib.wrapper.tickSize = self._size
        ib.wrapper.tickOptionComputation = self._figures
        ib.wrapper.marketDataType = self._kind
        for name in ("tickString", "tickGeneric", "tickReqParams"):
            setattr(ib.wrapper, name, lambda *_: None)
        self._open.clear()

    def _price(self, request_id: int, kind: int, price: float, size: float) -> None:
        name = "bid" if kind in BID else "ask" if kind in ASK else "last" if kind in LAST else ""
        line, value = self._open.get(request_id), number(price)
        if line is None or not name:
            return
        if value is None or value <= 0:  # the venue's way to say that there is none
            line.prices.pop(name, None)
        else:
            line.prices[name] = value
        self._size(request_id, {"bid": 0, "ask": 3}.get(name, -1), size)
        self._tell(line)

    def _size(self, request_id: int, kind: int, size: float) -> None:
        name = "bid_quantity" if kind in BID_SIZE else "ask_quantity" if kind in ASK_SIZE else ""
        line, value = self._open.get(request_id), number(size)
        if line is not None and name and value is not None and value >= 0:
            line.prices[name] = value

    def _figures(self, request_id: int, kind: int, *values: Any) -> None:
        line = self._open.get(request_id)
        if line is None or kind not in MODEL:
            return
        _, volatility, delta, price, _, gamma, vega, theta, under = values
        line.greeks = sane_greeks(line.found, volatility, delta, price, gamma, vega, theta, under, self.now())
        line.greeks_at = self.clock()
        self._tell(line)

    def _kind(self, request_id: int, kind: int) -> None:
        line = self._open.get(request_id)
        if line is not None and kind in DELAYED:
            line.trouble = codes.NoData.DELAYED
            self._tell(line)

    def error(self, request_id: int, code: int, message: str) -> None:
        """Something that the venue says of a subscription."""
        line = self._open.get(request_id)
        if line is None:
            return
        if code in codes.NO_DATA:
            line.trouble = codes.NO_DATA[code]
        elif not codes.is_notice(code):
            line.failure = (code, message)
        self._tell(line)

    def _tell(self, line: Line) -> None:
        self._changed.set()
        line.on_change(line)

    async def open(self, found: Found, on_change: Callable[[Line], None] = lambda line: None) -> int:
        """Subscribe; the number to close it with. `BrokerUnavailable` when all lines are in use."""
        if len(self._open) >= MAX_LINES:
            raise _unavailable("quote", "too_many_lines", "All lines of market data are in use.", 1.0)
        await self.link.turn()
        request_id = int(self.link.ib.client.getReqId())
        self._open[request_id] = Line(found, on_change)
        self.link.ib.client.reqMktData(request_id, found.contract, "", False, False, [])
        return request_id

    async def close(self, request_id: int) -> None:
        """End a subscription; one of a connection that is gone has ended with it."""
        if self._open.pop(request_id, None) is not None and self.link.ready.is_set():
            await self.link.turn()
            self.link.ib.client.cancelMktData(request_id)

    async def quotes(self, wanted: Sequence[Found], *, seconds: float) -> list[Quote]:
        """A quote of each, as far as it came in ``seconds``; raises for what the venue gives no prices of."""
        numbers: list[int] = []
        try:
            for found in wanted:
                numbers.append(await self.open(found))  # noqa: PERF401  # what was opened is closed, also after a failure
            lines = [self._open[number] for number in numbers]
            await self._until_complete(lines, seconds)
            for line in lines:
                _raise_trouble(line)
            return [line.quote(self.now(), self.clock()) for line in lines]
        finally:
            for request_id in numbers:
                await self.close(request_id)

    async def _until_complete(self, lines: Sequence[Line], seconds: float) -> None:
        deadline = self.clock() + seconds
        while not all(line.is_complete for line in lines):
            self._changed.clear()
            left = deadline - self.clock()
            if left <= 0 or not self.link.ready.is_set():
                return
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return


def _raise_trouble(line: Line) -> None:
    symbol = line.found.instrument.symbol
    if line.trouble is codes.NoData.COMPETING:
        message = f"Another session of this user takes the market data of {symbol}."
        raise _unavailable("quote", line.trouble.value, message, None)
    if line.trouble is codes.NoData.DELAYED:
        message = f"The venue gives only delayed prices of {symbol}, and these are not traded on."
        raise BrokerRefused(message, broker=NAME, operation="quote", code=line.trouble.value)
    if line.trouble is not None:
        message = f"The account has no subscription to the market data of {symbol}."
        raise BrokerRefused(message, broker=NAME, operation="quote", code=line.trouble.value)
    if line.failure is not None:
        code, message = line.failure
        raise BrokerRefused(message, broker=NAME, operation="quote", code=str(code))


def sane_greeks(
    found: Found, volatility: float, delta: float, price: float, gamma: float, vega: float, theta: float,
    under: float, now: datetime,
) -> Greeks | None:  # fmt: skip
    """The model's figures, or None when any of them is missing or cannot be.

    The venue gives no rho. For an option on a future at price V (Black 1976) it is -T V; for one on a stock at price S,
    where delta already holds the first half of the formula, T (S delta - V); per point of the rate, with T in years.
    """
    figures = [number(value) for value in (volatility, delta, price, gamma, vega, theta, under)]
    if any(value is None for value in figures):
        return None
    iv, d, v, g, ve, th, s = (value or Decimal(0) for value in figures)
    expiry = found.instrument.expiry
    sign = 1 if found.instrument.right == "call" else -1
    if iv <= 0 or v < 0 or s <= 0 or g < 0 or ve < 0 or not 0 <= sign * d <= 1 or expiry is None:
        return None
    years = Decimal(max((datetime(expiry.year, expiry.month, expiry.day, 20, tzinfo=UTC) - now).total_seconds(), 0)) / (
        365 * 86_400
    )
    rho = years * (s * d - v if found.contract.secType == "OPT" else -v) / 100
    return Greeks(d, g, ve, th, rho.quantize(Decimal("1e-8")), iv)


def _unavailable(operation: str, code: str, message: str, retry_after: float | None) -> BrokerUnavailable:
    return BrokerUnavailable(message, broker=NAME, operation=operation, code=code, retry_after=retry_after)


@dataclass
class HistoryPace:
    """Rules on history: 60 requests in ten minutes, none the same within 15 s, five of a contract in 2 s."""

    clock: Callable[[], float]
    _times: deque[float] = field(default_factory=deque)
    _asked: dict[tuple[str, ...], float] = field(default_factory=dict)
    _bursts: dict[str, deque[float]] = field(default_factory=dict)

    def take(self, symbol: str, request: tuple[str, ...]) -> None:
        """Count a request; `BrokerUnavailable` says how long to wait when it would break a rule."""
        now = self.clock()
        while self._times and now - self._times[0] >= 600:
            self._times.popleft()
        self._asked = {key: at for key, at in self._asked.items() if now - at < 15}
        burst = self._bursts.setdefault(symbol, deque(maxlen=5))
        waits = [
            600 - (now - self._times[0]) if len(self._times) >= 60 else 0.0,
            15 - (now - self._asked[request]) if request in self._asked else 0.0,
            2 - (now - burst[0]) if len(burst) == 5 else 0.0,
        ]
        if max(waits) > 0:
            message = "The venue's limit on requests for history is reached."
            raise _unavailable("bars", "pacing", message, math.ceil(max(waits)))
        self._times.append(now)
        self._asked[request] = now
        burst.append(now)
