"""From symbols to contracts and their rules, as the venue knows them."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from trading.brokers.adapters.ibkr import codes, symbols
from trading.brokers.adapters.ibkr.books import number, plain
from trading.brokers.adapters.ibkr.library import library
from trading.brokers.adapters.ibkr.link import Link, RequestFailed
from trading.brokers.adapters.ibkr.login import NAME, IbkrCredentials
from trading.brokers.base import BrokerRefused
from trading.brokers.instruments import Instrument, Right

FUTURES_EXCHANGE = "CME"


@dataclass(frozen=True)
class Found:
    """A contract as the venue names it, with its rules."""

    contract: Any
    instrument: Instrument
    under_con_id: int

    @property
    def is_option(self) -> bool:
        """Whether it has greeks."""
        return self.instrument.right is not None


@dataclass
class Contracts:
    """Asks once for each symbol; ``today`` is the day from which expiries are looked for."""

    link: Link
    credentials: IbkrCredentials
    today: Callable[[], date]
    _by_symbol: dict[str, Found] = field(default_factory=dict)
    _under: dict[int, str] = field(default_factory=dict)

    async def find(self, symbol: str) -> Found:
        """The one contract of ``symbol``; raises `BrokerRefused` with ``unknown_symbol`` or ``ambiguous_symbol``."""
        known = self._by_symbol.get(symbol)
        if known is not None:
            return known
        try:
            meaning = symbols.read(symbol)
        except symbols.NoSymbol as error:
            raise _refused("unknown_symbol", str(error)) from None
        details: Sequence[Any] = []
        for kind in ("FOP", "OPT") if meaning.is_option else ("STK",) if meaning.is_stock else ("FUT",):
            details = await self._ask(self._query(meaning, kind))
            if details:
                break
        if not details:
            raise _refused("unknown_symbol", f"{symbol} is not traded here.")
        if len(details) > 1:
            names = sorted({symbols.write(row.contract) for row in details})[:5]
            raise _refused("ambiguous_symbol", f"{symbol} may be each of {', '.join(names)}: name one.")
        found = await self._found(details[0])
        self._by_symbol[symbol] = self._by_symbol[found.instrument.symbol] = found
        return found

    def _query(self, meaning: symbols.Meaning, kind: str) -> Any:
        """The contract as far as the symbol and the credentials tell it."""
        root = meaning.root
        is_ours = root == self.credentials.underlying_instrument
        smart = kind in ("STK", "OPT")
        query = library.Contract(
            secType=kind,
            symbol=root,
            exchange="SMART" if smart else self.exchange(root),
            currency=self.credentials.currency,
            lastTradeDateOrContractMonth=meaning.expiry,
        )
        if kind in ("FUT", "FOP") and is_ours and self.credentials.multiplier:
            query.multiplier = self.credentials.multiplier
        if kind in ("FOP", "OPT"):
            query.right = meaning.right
            query.strike = float(meaning.strike) if meaning.strike is not None else 0.0
            ours = self.credentials.trading_class if is_ours else None
            query.tradingClass = meaning.trading_class or ours or ""
        return query

    def exchange(self, root: str) -> str:
        """Where futures of that root trade."""
        return self.credentials.exchange_overrides.get(root, FUTURES_EXCHANGE)

    async def _ask(self, query: Any) -> Sequence[Any]:
        try:
            found = await self.link.ask(lambda ib: ib.reqContractDetailsAsync(query), "the contract")
        except RequestFailed as error:
            if error.code == codes.NO_SECURITY:
                return []
            raise
        return list(found)

    async def _found(self, details: Any) -> Found:
        contract = copy.copy(details.contract)
        contract.lastTradeDateOrContractMonth = contract.lastTradeDateOrContractMonth[:8]
        if contract.secType in ("STK", "OPT"):
            contract.exchange = "SMART"
        right = {"C": Right.CALL, "P": Right.PUT}.get(contract.right[:1])
        under = await self._symbol_of(details.underConId) if right else ""
        instrument = Instrument(
            symbol=symbols.write(contract),
            currency=contract.currency,
            lot=Decimal(1),
            tick=number(details.minTick) or Decimal(0),
            min_quantity=Decimal(1),
            multiplier=plain(Decimal(contract.multiplier or 1)),
            underlying=under,
            expiry=symbols.expiry_date(contract.lastTradeDateOrContractMonth),
            strike=number(contract.strike) if right else None,
            right=right,
        )
        return Found(contract, instrument, details.underConId)

    async def _symbol_of(self, con_id: int) -> str:
        if con_id not in self._under:
            details = await self._ask(library.Contract(conId=con_id))
            self._under[con_id] = symbols.write(details[0].contract) if details else ""
        return self._under[con_id]

    async def options(self, underlying: str, expiry: date | None) -> tuple[Found, date, list[Found]]:
        """The underlying, the expiry asked for or the next one, and its options by strike, calls before puts."""
        ours = self.credentials
        if underlying == ours.underlying_instrument and ours.underlying_expiry:
            underlying = f"{underlying}-{ours.underlying_expiry}"
        under = await self.find(underlying)
        contract = under.contract
        if under.is_option:
            raise _refused("unknown_symbol", f"{underlying} is an option itself.")
        is_stock = contract.secType == "STK"
        exchange = "SMART" if is_stock else contract.exchange
        parameters = await self.link.ask(
            lambda ib: ib.reqSecDefOptParamsAsync(
                contract.symbol, "" if is_stock else exchange, contract.secType, contract.conId
            ),
            "the chain",
        )
        wanted = ours.trading_class if contract.symbol == ours.underlying_instrument else None
        usable = [row for row in parameters if row.exchange == exchange and wanted in (None, row.tradingClass)]
        days = {day for row in usable for text in row.expirations if (day := symbols.expiry_date(text)) is not None}
        coming = sorted(day for day in days if day >= self.today())
        chosen = expiry if expiry is not None else (coming[0] if coming else None)
        if chosen is None or chosen not in days:
            raise _refused("unknown_expiry", f"{underlying} has no options that end then.")
        classes = sorted({row.tradingClass for row in usable if f"{chosen:%Y%m%d}" in row.expirations})
        if len(classes) > 1:
            listed = ", ".join(classes)
            message = f"{underlying} has options of the classes {listed}: name a trading_class."
            raise _refused("ambiguous_symbol", message)
        query = library.Contract(
            secType="OPT" if is_stock else "FOP", symbol=contract.symbol, exchange=exchange,
            currency=contract.currency, lastTradeDateOrContractMonth=f"{chosen:%Y%m%d}", tradingClass=classes[0],
        )  # fmt: skip
        self._under[contract.conId] = under.instrument.symbol
        found = [await self._found(row) for row in await self._ask(query) if row.underConId == contract.conId]
        for option in found:
            self._by_symbol[option.instrument.symbol] = option
        return under, chosen, sorted(found, key=_place_in_chain)


def _place_in_chain(found: Found) -> tuple[Decimal, str]:
    return found.instrument.strike or Decimal(0), str(found.instrument.right)


def _refused(code: str, message: str) -> BrokerRefused:
    return BrokerRefused(message, broker=NAME, operation="instrument", code=code)
