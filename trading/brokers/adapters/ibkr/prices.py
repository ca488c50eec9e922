"""Instruments, quotes, chains, history and streams over one connection."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import uuid4

import redis

from trading.brokers.adapters.ibkr import channel, forms
from trading.brokers.adapters.ibkr.books import number
from trading.brokers.adapters.ibkr.contracts import Contracts, Found
from trading.brokers.adapters.ibkr.link import Link, LinkDown
from trading.brokers.adapters.ibkr.login import NAME
from trading.brokers.adapters.ibkr.market import Line, Lines
from trading.brokers.adapters.ibkr.pacing import HistoryPace
from trading.brokers.base import BrokerUnavailable
from trading.brokers.instruments import Instrument, OptionChain, OptionQuote, Quote

PRICED_STRIKES = 20
"""Of a chain, so many strikes nearest to the underlying's price come with prices: each takes two lines."""
TEND_SECONDS = 0.2
READ_SECONDS = 2.0


@dataclass
class Stream:
    """Quotes that somebody follows: those that have changed since they were last published."""

    numbers: list[int] = field(default_factory=list)
    changed: dict[str, Line] = field(default_factory=dict)
    looked_at: float = 0.0


@dataclass
class Prices:
    """``publish`` puts a message in a stream, ``is_read`` tells whether somebody still reads it."""

    link: Link
    contracts: Contracts
    lines: Lines
    pace: HistoryPace
    publish: Callable[[str, str], Awaitable[None]]
    is_read: Callable[[str], Awaitable[bool]]
    _streams: dict[str, Stream] = field(default_factory=dict)
    _is_broken: bool = False

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of a symbol."""
        return (await self.contracts.find(symbol)).instrument

    async def quote(self, symbol: str) -> Quote:
        """The prices of a symbol now."""
        found = await self.contracts.find(symbol)
        (quote,) = await self.lines.quotes([found], seconds=self.link.credentials.request_seconds)
        return quote

    async def chain(self, underlying: str, expiry: date | None) -> OptionChain:
        """The options of one expiry."""
        under, chosen, options = await self.contracts.options(underlying, expiry)
        seconds = self.link.credentials.request_seconds
        (future,) = await self.lines.quotes([under], seconds=seconds)
        middle = future.last or future.bid or future.ask or Decimal(0)
        strikes = sorted({_strike(option) for option in options}, key=lambda strike: abs(strike - middle))
        near = set(strikes[:PRICED_STRIKES])
        priced = [option for option in options if _strike(option) in near]
        quotes = {quote.symbol: quote for quote in await self.lines.quotes(priced, seconds=seconds)}
        nothing = datetime.now(UTC)
        rows = tuple(
            OptionQuote(
                option.instrument,
                quotes.get(option.instrument.symbol) or Quote(option.instrument.symbol, None, None, None, nothing),
            )
            for option in options
        )
        return OptionChain(under.instrument.symbol, chosen, future, rows)

    async def bars(self, symbol: str, end: datetime, span: str, size: str) -> tuple[forms.Bar, ...]:
        """Traded prices up to ``end``."""
        found = await self.contracts.find(symbol)
        until = f"{end.astimezone(UTC):%Y%m%d-%H:%M:%S}"
        self.pace.take(symbol, (symbol, until, span, size))
        rows = await self.link.ask(
            lambda ib: ib.reqHistoricalDataAsync(found.contract, until, span, size, "TRADES", False, 2, False, [], 0),
            "the history",
        )
        return tuple(
            forms.Bar(_begin(row.date), *(number(value) or Decimal(0) for value in _values(row))) for row in rows
        )

    async def stream(self, symbols: Sequence[str]) -> str:
        """Follow symbols; the number under which their quotes are published."""
        found = [await self.contracts.find(symbol) for symbol in dict.fromkeys(symbols)]
        stream = Stream(looked_at=asyncio.get_running_loop().time())

        def note(line: Line) -> None:
            stream.changed[line.found.instrument.symbol] = line

        try:
            for each in found:
                stream.numbers.append(await self.lines.open(each, note))
        except (BrokerUnavailable, LinkDown):
            for opened in stream.numbers:
                await self.lines.close(opened)
            raise
        name = uuid4().hex
        self._streams[name] = stream
        return name

    def break_streams(self) -> None:
        """The subscriptions are gone: whoever follows a stream is told, and opens it again."""
        self._is_broken = True

    async def tend(self) -> None:
        """Publish what has changed, and end what nobody reads, until cancelled."""
        while True:
            await asyncio.sleep(TEND_SECONDS)
            is_broken = self._is_broken or not self.link.ready.is_set()
            self._is_broken = False
            for name in list(self._streams):
                with contextlib.suppress(redis.RedisError):  # nobody can read it then either
                    await (self._end(name) if is_broken else self._publish(name))

    async def _publish(self, name: str) -> None:
        stream = self._streams[name]
        changed, stream.changed = stream.changed, {}
        for line in changed.values():
            quote = line.quote(datetime.now(UTC), self.lines.clock())
            await self.publish(name, channel.success(forms.plain(forms.QUOTE, quote)))
        now = asyncio.get_running_loop().time()
        if now - stream.looked_at > READ_SECONDS:
            stream.looked_at = now
            if not await self.is_read(name):
                await self._forget(name)

    async def _end(self, name: str) -> None:
        await self._forget(name)
        code, message = ("not_connected", "The stream was broken: open it again.")
        error = BrokerUnavailable(message, broker=NAME, operation="stream", code=code)
        await self.publish(name, channel.failure(error))

    async def _forget(self, name: str) -> None:
        for opened in self._streams.pop(name).numbers:
            await self.lines.close(opened)


def _strike(option: Found) -> Decimal:
    return option.instrument.strike or Decimal(0)


def _begin(value: datetime | date) -> datetime:
    """A bar's time; a day's bar begins at midnight UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.combine(value, time(), UTC)


def _values(row: object) -> tuple[float, ...]:
    return tuple(getattr(row, name) for name in ("open", "high", "low", "close", "volume"))
