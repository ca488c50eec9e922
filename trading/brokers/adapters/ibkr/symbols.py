"""Symbols of this venue: what a text means as a contract, and the one text of a contract.

A stock is its ticker (``AAPL``), a future its root and expiry (``IND-20270319``, or ``IND-202703``), an option its root
with its trading class, expiry, strike and right (``IND.EX1-20270319-4000-C``; the class may be left out when reading).
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

_STOCK = re.compile(r"[A-Z0-9]{1,12}([ .][A-Z0-9]{1,4})?")
_DERIVATIVE = re.compile(
    r"(?P<root>[A-Z0-9]{1,12})(\.(?P<class>[A-Z0-9]{1,8}))?-(?P<expiry>\d{6}(\d{2})?)"
    r"(-(?P<strike>\d{1,7}(\.\d{1,6})?)-(?P<right>[CP]))?"
)


class NoSymbol(ValueError):
    """A text that is not a symbol of this venue."""


@dataclass(frozen=True)
class Meaning:
    """A contract as a symbol describes it: a stock without an expiry, a future without a strike, or an option."""

    root: str
    expiry: str = ""
    strike: Decimal | None = None
    right: str = ""
    trading_class: str = ""

    @property
    def is_option(self) -> bool:
        """Whether it names a right."""
        return bool(self.right)

    @property
    def is_stock(self) -> bool:
        """Whether it is neither a future nor an option."""
        return not self.expiry


class WireContract(Protocol):
    """A contract as the client library has it."""

    symbol: str
    secType: str  # noqa: N815  # the library's names
    lastTradeDateOrContractMonth: str  # noqa: N815  # the library's names
    strike: float
    right: str
    tradingClass: str  # noqa: N815  # the library's names


def read(symbol: str) -> Meaning:
    """What ``symbol`` means; raises `NoSymbol`."""
    if _STOCK.fullmatch(symbol):
        return Meaning(symbol.replace(".", " "))
    match = _DERIVATIVE.fullmatch(symbol)
    if match is None:
        raise NoSymbol(f"{symbol[:40]!r} is no symbol here; such are AAPL, IND-20270319 and IND.EX1-20270319-4000-C")
    strike = match["strike"]
    return Meaning(
        match["root"],
        match["expiry"],
        None if strike is None else Decimal(strike),
        match["right"] or "",
        match["class"] or "",
    )


def write(contract: WireContract) -> str:
    """The symbol of a contract; raises `NoSymbol` for what is neither a stock, a future nor an option on either."""
    if contract.secType == "STK":
        return contract.symbol.replace(" ", ".")
    root, expiry = contract.symbol, contract.lastTradeDateOrContractMonth[:8]
    if contract.secType == "FUT":
        return f"{root}-{expiry}"
    if contract.secType in ("OPT", "FOP"):
        strike = Decimal(str(contract.strike)).normalize()
        return f"{root}.{contract.tradingClass}-{expiry}-{strike:f}-{contract.right[:1]}"
    raise NoSymbol(f"a {contract.secType} has no symbol here")


def expiry_date(text: str) -> date | None:
    """The day of ``20270319``; None for what is shorter."""
    return datetime.strptime(text[:8], "%Y%m%d").date() if len(text) >= 8 else None  # noqa: DTZ007  # a day
