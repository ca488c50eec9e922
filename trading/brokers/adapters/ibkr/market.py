"""Prices and greeks as they come over the wire."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading.brokers.adapters.ibkr import codes
from trading.brokers.adapters.ibkr.books import number
from trading.brokers.adapters.ibkr.contracts import Found
from trading.brokers.adapters.ibkr.figures import sane_greeks
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
        instrument, on_future = line.found.instrument, line.found.contract.secType == "FOP"
        figures = (volatility, delta, price, gamma, vega, theta, under)
        line.greeks = sane_greeks(instrument, figures, on_future=on_future, now=self.now())
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
            with contextlib.suppress(ConnectionError):
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


def _unavailable(operation: str, code: str, message: str, retry_after: float | None) -> BrokerUnavailable:
    return BrokerUnavailable(message, broker=NAME, operation=operation, code=code, retry_after=retry_after)
