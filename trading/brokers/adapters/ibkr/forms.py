"""The values that go over the line, as JSON and back: decimals and times as text."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from trading.brokers.base import AccountFill, Balance, Holding, OrderReport, Ticket
from trading.brokers.instruments import Instrument, OptionChain, Quote


@dataclass(frozen=True)
class Bar:
    """A bar of history in the venue's own aggregation; ``time`` is its beginning."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


TICKET: TypeAdapter[Ticket] = TypeAdapter(Ticket)
REPORT: TypeAdapter[OrderReport] = TypeAdapter(OrderReport)
FOUND: TypeAdapter[OrderReport | None] = TypeAdapter(OrderReport | None)
REPORTS: TypeAdapter[tuple[OrderReport, ...]] = TypeAdapter(tuple[OrderReport, ...])
FILLS: TypeAdapter[tuple[AccountFill, ...]] = TypeAdapter(tuple[AccountFill, ...])
HOLDINGS: TypeAdapter[tuple[Holding, ...]] = TypeAdapter(tuple[Holding, ...])
BALANCES: TypeAdapter[tuple[Balance, ...]] = TypeAdapter(tuple[Balance, ...])
INSTRUMENT: TypeAdapter[Instrument] = TypeAdapter(Instrument)
QUOTE: TypeAdapter[Quote] = TypeAdapter(Quote)
CHAIN: TypeAdapter[OptionChain] = TypeAdapter(OptionChain)
BARS: TypeAdapter[tuple[Bar, ...]] = TypeAdapter(tuple[Bar, ...])
TIME: TypeAdapter[datetime] = TypeAdapter(datetime)
DAY: TypeAdapter[date | None] = TypeAdapter(date | None)


def plain(form: TypeAdapter[Any], value: Any) -> Any:
    """``value`` as JSON has it."""
    return form.dump_python(value, mode="json")
