"""What is traded and at what price: instruments and their rules, quotes, greeks, option chains."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum


class Right(StrEnum):
    """What an option gives a right to."""

    CALL = "call"
    PUT = "put"


@dataclass(frozen=True)
class Instrument:
    """The rules for orders of one symbol: quantities are multiples of ``lot``, prices of ``tick``; None: no bound.

    ``multiplier``: units of the underlying in one contract. ``expiry``, ``strike`` and ``right`` are an option's;
    a future has an ``expiry`` alone.
    """

    symbol: str
    currency: str
    lot: Decimal
    tick: Decimal
    min_quantity: Decimal = Decimal(0)
    max_quantity: Decimal | None = None
    min_notional: Decimal = Decimal(0)
    multiplier: Decimal = Decimal(1)
    underlying: str = ""
    expiry: date | None = None
    strike: Decimal | None = None
    right: Right | None = None

    def floor(self, quantity: Decimal) -> Decimal:
        """``quantity`` rounded down to a multiple of the lot."""
        return floor_to(quantity, self.lot)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of ``step`` that is not above ``value``; ``value`` itself for a step of 0."""
    return value if step == 0 else (value / step).to_integral_value(ROUND_DOWN) * step


@dataclass(frozen=True)
class Greeks:
    """Sensitivities of an option on one unit: ``delta`` and ``gamma`` per unit of the underlying's price, ``vega`` per
    point (0.01) of volatility, ``theta`` per calendar day, ``rho`` per point (0.01) of the rate. ``volatility`` is the
    implied one that they are computed with, as a fraction of 1."""

    delta: Decimal
    gamma: Decimal
    vega: Decimal
    theta: Decimal
    rho: Decimal
    volatility: Decimal


@dataclass(frozen=True)
class Quote:
    """The best prices of a symbol at ``time``; None: nobody bids or asks, or nothing was traded.

    ``greeks`` is None where the venue has none at the moment: what needs them is denied then.
    """

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    time: datetime
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None
    greeks: Greeks | None = None

    @property
    def middle(self) -> Decimal | None:
        """Between bid and ask, to eight decimals; None where one is missing or they make no sense."""
        if self.bid is None or self.ask is None or not 0 < self.bid <= self.ask:
            return None
        return ((self.bid + self.ask) / 2).quantize(Decimal("1e-8"))


@dataclass(frozen=True)
class OptionQuote:
    """One line of an option chain."""

    instrument: Instrument
    quote: Quote


@dataclass(frozen=True)
class OptionChain:
    """The options of one expiry, by strike, calls before puts; ``future`` is what they settle into."""

    underlying: str
    expiry: date
    future: Quote
    options: tuple[OptionQuote, ...]
