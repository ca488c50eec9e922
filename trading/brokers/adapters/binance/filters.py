"""The rules of a symbol as exchangeInfo lists them, and an order brought within them by rounding down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from trading.brokers.base import OrderType, Side, Ticket
from trading.brokers.instruments import Instrument, floor_to

ZERO = Decimal(0)
NONE: Mapping[str, Any] = {}


class Breach(ValueError):
    """An order that the venue would refuse; the message begins with the filter's name."""


@dataclass(frozen=True)
class Rules:
    """The filters of one symbol; 0 where one is off."""

    symbol: str
    base: str
    quote: str
    is_trading: bool
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_step: Decimal
    market_min_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal
    max_notional: Decimal
    min_applies_to_market: bool
    max_applies_to_market: bool
    bid_range: tuple[Decimal, Decimal]
    ask_range: tuple[Decimal, Decimal]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Rules":
        """From an entry of exchangeInfo; raises `LookupError`, `TypeError` or `ArithmeticError` for another thing."""
        filters = {entry["filterType"]: entry for entry in row["filters"]}
        price, lot = filters.get("PRICE_FILTER", NONE), filters["LOT_SIZE"]
        market = filters.get("MARKET_LOT_SIZE", NONE)
        notional, old = filters.get("NOTIONAL", NONE), filters.get("MIN_NOTIONAL", NONE)
        side, both = filters.get("PERCENT_PRICE_BY_SIDE", NONE), filters.get("PERCENT_PRICE", NONE)
        down, up = both.get("multiplierDown", 0), both.get("multiplierUp", 0)
        return cls(
            symbol=row["symbol"],
            base=row["baseAsset"],
            quote=row["quoteAsset"],
            is_trading=row["status"] == "TRADING",
            tick=Decimal(price.get("tickSize", 0)),
            min_price=Decimal(price.get("minPrice", 0)),
            max_price=Decimal(price.get("maxPrice", 0)),
            step=Decimal(lot["stepSize"]),
            min_quantity=Decimal(lot["minQty"]),
            max_quantity=Decimal(lot["maxQty"]),
            market_step=Decimal(market.get("stepSize", 0)),
            market_min_quantity=Decimal(market.get("minQty", 0)),
            market_max_quantity=Decimal(market.get("maxQty", 0)),
            min_notional=max(Decimal(notional.get("minNotional", 0)), Decimal(old.get("minNotional", 0))),
            max_notional=Decimal(notional.get("maxNotional", 0)),
            min_applies_to_market=bool(notional.get("applyMinToMarket") or old.get("applyToMarket")),
            max_applies_to_market=bool(notional.get("applyMaxToMarket")),
            bid_range=(Decimal(side.get("bidMultiplierDown", down)), Decimal(side.get("bidMultiplierUp", up))),
            ask_range=(Decimal(side.get("askMultiplierDown", down)), Decimal(side.get("askMultiplierUp", up))),
        )

    def instrument(self) -> Instrument:
        """As the interface has it: the lot is the one of market orders where that is coarser."""
        lot = max(self.step, self.market_step)
        return Instrument(
            self.symbol,
            self.quote,
            lot=lot,
            tick=self.tick,
            min_quantity=max(self.min_quantity, lot),
            max_quantity=self.max_quantity or None,
            min_notional=self.min_notional,
        )

    def fit(self, ticket: Ticket, average: Callable[[], Decimal]) -> Ticket:
        """``ticket`` with its quantity rounded down to the lot, and its limit to the tick that is no worse for it.

        ``average`` asks for the average price that some filters compare with. Raises `Breach` for what still breaks a
        filter; an order that is sent within them is not refused for one. How many orders and how large a position
        there may be is left to the venue, which alone knows.
        """
        if not self.is_trading:
            raise Breach(f"{self.symbol} is not trading now")
        fitted = replace(ticket, quantity=self._quantity(ticket))
        if ticket.order_type is OrderType.LIMIT:
            fitted = replace(fitted, limit_price=self._price(ticket, average))
        self._check_notional(fitted, average)
        return fitted

    def _quantity(self, ticket: Ticket) -> Decimal:
        is_market = ticket.order_type is OrderType.MARKET
        quantity = floor_to(ticket.quantity, self.step)
        if is_market and self.market_step:
            quantity = floor_to(quantity, max(self.step, self.market_step))
        if quantity <= 0 or quantity < self.min_quantity or (self.max_quantity and quantity > self.max_quantity):
            raise Breach(
                f"LOT_SIZE: {quantity.normalize():f} is not between {self.min_quantity} and {self.max_quantity}"
            )
        if is_market and (
            quantity < self.market_min_quantity
            or quantity % (self.market_step or quantity)
            or (self.market_max_quantity and quantity > self.market_max_quantity)
        ):
            raise Breach(f"MARKET_LOT_SIZE: {quantity.normalize():f} is above {self.market_max_quantity}")
        return quantity

    def _price(self, ticket: Ticket, average: Callable[[], Decimal]) -> Decimal:
        assert ticket.limit_price is not None
        price = floor_to(ticket.limit_price, self.tick)
        if ticket.side is Side.SELL and price < ticket.limit_price:
            price += self.tick
        if price <= 0 or price < self.min_price or (self.max_price and price > self.max_price):
            raise Breach(f"PRICE_FILTER: {price} is not between {self.min_price} and {self.max_price}")
        down, up = self.bid_range if ticket.side is Side.BUY else self.ask_range
        if up and not average() * down <= price <= average() * up:
            raise Breach(f"PERCENT_PRICE_BY_SIDE: {price} is not within {down} to {up} of the average price")
        return price

    def _check_notional(self, ticket: Ticket, average: Callable[[], Decimal]) -> None:
        is_market = ticket.limit_price is None
        has_min = self.min_notional > 0 and (self.min_applies_to_market or not is_market)
        has_max = self.max_notional > 0 and (self.max_applies_to_market or not is_market)
        if not has_min and not has_max:
            return
        notional = ticket.quantity * (average() if ticket.limit_price is None else ticket.limit_price)
        if has_min and notional < self.min_notional:
            raise Breach(f"NOTIONAL: {notional.normalize():f} is below {self.min_notional}")
        if has_max and notional > self.max_notional:
            raise Breach(f"NOTIONAL: {notional.normalize():f} is above {self.max_notional}")
