"""What trades here: a few stocks with options, and futures with options on them, listed to the end of 2028."""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property

YEARS = (2026, 2027, 2028)
QUARTERS = (3, 6, 9, 12)
MONTH_CODES = {3: "H", 6: "M", 9: "U", 12: "Z"}


@dataclass(frozen=True)
class Contract:
    """One instrument; ``price`` is what an underlying begins at, ``volatility`` a year's, for its options."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    min_tick: Decimal
    long_name: str
    expiry: str = ""
    strike: Decimal = Decimal(0)
    right: str = ""
    multiplier: str = ""
    primary_exchange: str = ""
    under_con_id: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    price: Decimal = Decimal(0)
    volatility: float = 0.2

    @property
    def size(self) -> Decimal:
        """Units of the underlying in one contract."""
        return Decimal(self.multiplier or 1)

    @property
    def is_option(self) -> bool:
        """Whether it is priced by a model."""
        return self.sec_type in ("OPT", "FOP")

    @property
    def smart(self) -> bool:
        """Whether it is routed by SMART too."""
        return self.sec_type in ("STK", "OPT")


@dataclass(frozen=True)
class Query:
    """A contract as a client describes it; what is empty matches anything."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    strike: Decimal | None = None
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""

    def matches(self, contract: Contract) -> bool:
        """Whether the description fits."""
        if self.con_id:
            return self.con_id == contract.con_id and self._fits_exchange(contract)
        return (
            (self.symbol == contract.symbol or (not self.symbol and bool(self.local_symbol)))
            and (not self.sec_type or self.sec_type == contract.sec_type)
            and contract.expiry.startswith(self.expiry)
            and (not self.strike or self.strike == contract.strike)
            and (not self.right or self.right[0] == contract.right)
            and (not self.multiplier or self.multiplier == contract.multiplier)
            and self._fits_exchange(contract)
            and (not self.currency or self.currency == contract.currency)
            and (not self.local_symbol or self.local_symbol == contract.local_symbol)
            and (not self.trading_class or self.trading_class == contract.trading_class)
        )

    def _fits_exchange(self, contract: Contract) -> bool:
        return self.exchange in ("", contract.exchange) or (self.exchange == "SMART" and contract.smart)


def third_friday(year: int, month: int) -> date:
    """The third Friday of a month, when quarterly contracts expire."""
    fridays = [day for day in calendar.Calendar().itermonthdates(year, month) if day.month == month]
    return [day for day in fridays if day.weekday() == calendar.FRIDAY][2]


STOCKS = (
    (265598, "AAPL", "NASDAQ", "APPLE INC", "200"),
    (272093, "MSFT", "NASDAQ", "MICROSOFT CORP", "400"),
    (756733, "SPY", "ARCA", "SPDR S&P 500 ETF TRUST", "500"),
)
FUTURES = (
    # symbol, exchange, multiplier, tick, class of its options, distance of strikes, name, price
    ("ES", "CME", "50", "0.25", "EW", 25, "E-mini S&P 500", "5000"),
    ("IND", "CME", "50", "0.25", "EX1", 25, "Index future", "4000"),
    ("YM", "CBOT", "5", "1", "OYM", 100, "Mini Dow Jones", "40000"),
)
STRIKES_EACH_WAY = 5


def _listed() -> Iterator[Contract]:
    for con_id, symbol, primary, name, price in STOCKS:
        stock = Contract(
            con_id, symbol, "STK", primary, "USD", symbol, "NMS" if primary == "NASDAQ" else symbol, Decimal("0.01"),
            name, primary_exchange=primary, price=Decimal(price),
        )  # fmt: skip
        yield stock
        yield from _options(stock, "OPT", "CBOE", symbol, "100", Decimal("0.01"), 5, con_id * 10)
    for index, (symbol, exchange, multiplier, tick, options, step, name, price) in enumerate(FUTURES):
        for number, (year, month) in enumerate((year, month) for year in YEARS for month in QUARTERS):
            future = Contract(
                600_000_000 + index * 1_000_000 + number * 10_000, symbol, "FUT", exchange, "USD",
                f"{symbol}{MONTH_CODES[month]}{year % 10}", symbol, Decimal(tick), name,
                expiry=f"{third_friday(year, month):%Y%m%d}", multiplier=multiplier, price=Decimal(price),
                under_symbol=symbol, under_sec_type="IND",
            )  # fmt: skip
            yield future
            yield from _options(future, "FOP", exchange, options, multiplier, Decimal(tick), step, future.con_id + 1)


def _options(
    under: Contract,
    sec_type: str,
    exchange: str,
    trading_class: str,
    multiplier: str,
    tick: Decimal,
    step: int,
    first: int,
) -> Iterator[Contract]:
    expiries = [under.expiry] if under.expiry else [f"{third_friday(y, m):%Y%m%d}" for y in YEARS for m in QUARTERS]
    con_id = first
    for expiry in expiries:
        for away in range(-STRIKES_EACH_WAY, STRIKES_EACH_WAY + 1):
            for right in "CP":
                strike = under.price + away * step
                yield Contract(
                    con_id, under.symbol, sec_type, exchange, "USD",
                    f"{trading_class} {expiry[2:]} {right}{strike:f}", trading_class, tick, under.long_name,
                    expiry=expiry, strike=strike, right=right, multiplier=multiplier,
                    under_con_id=under.con_id, under_symbol=under.local_symbol, under_sec_type=under.sec_type,
                )  # fmt: skip
                con_id += 1


class Listing:
    """All contracts, by id and by description."""

    @cached_property
    def by_id(self) -> dict[int, Contract]:
        """Every contract."""
        found: dict[int, Contract] = {}
        for contract in _listed():
            assert contract.con_id not in found, f"two contracts have the id {contract.con_id}"
            found[contract.con_id] = contract
        return found

    def find(self, query: Query) -> list[Contract]:
        """The contracts that fit ``query``, in the order of their ids."""
        if not (query.con_id or query.symbol or query.local_symbol):
            return []
        return [contract for _, contract in sorted(self.by_id.items()) if query.matches(contract)]

    def samples(self, pattern: str) -> list[Contract]:
        """Stocks and first futures whose symbol or name holds ``pattern``."""
        wanted, seen, found = pattern.upper(), set(), []
        for _, contract in sorted(self.by_id.items()):
            key = (contract.symbol, contract.sec_type)
            is_hit = wanted in contract.symbol or wanted in contract.long_name.upper()
            if is_hit and not contract.is_option and key not in seen:
                seen.add(key)
                found.append(contract)
        return found

    def options_of(self, con_id: int) -> list[Contract]:
        """The options on an underlying."""
        return [contract for contract in self.by_id.values() if contract.under_con_id == con_id]
