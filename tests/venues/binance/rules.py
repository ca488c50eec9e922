"""Symbols, filters and the errors that breaking them gives, by the venue's own codes and words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from tests.venues.server import Rejection

NUMBER = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?")
CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}")
TICK_OF_MONEY = Decimal("0.00000001")


def reject(code: int, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> NoReturn:
    """Refuse a request."""
    raise Rejection(status, {"code": code, "msg": message}, headers)


def shown(value: Decimal) -> str:
    """Money as the venue writes it: eight places."""
    return f"{value:.8f}"


@dataclass(frozen=True)
class Symbol:
    """One pair with its filters; a step or a bound of 0 is off."""

    name: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal
    max_notional: Decimal = Decimal(9_000_000)
    market_step: Decimal = Decimal(0)
    max_orders: int = 200
    max_position: Decimal = Decimal(0)
    up: Decimal = Decimal(5)
    down: Decimal = Decimal("0.2")

    def info(self) -> dict[str, Any]:
        """Its entry in exchangeInfo."""
        filters: list[dict[str, Any]] = [
            {"filterType": "PRICE_FILTER", "minPrice": shown(self.tick), "maxPrice": "1000000.00000000",
             "tickSize": shown(self.tick)},
            {"filterType": "LOT_SIZE", "minQty": shown(self.min_quantity), "maxQty": shown(self.max_quantity),
             "stepSize": shown(self.step)},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": shown(self.market_max_quantity),
             "stepSize": shown(self.market_step)},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": str(self.up),
             "bidMultiplierDown": str(self.down), "askMultiplierUp": str(self.up),
             "askMultiplierDown": str(self.down), "avgPriceMins": 5},
            {"filterType": "NOTIONAL", "minNotional": shown(self.min_notional), "applyMinToMarket": True,
             "maxNotional": shown(self.max_notional), "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.max_orders},
        ]  # fmt: skip
        if self.max_position:
            filters.append({"filterType": "MAX_POSITION", "maxPosition": shown(self.max_position)})
        return {
            "symbol": self.name,
            "status": "TRADING",
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "icebergAllowed": True,
            "ocoAllowed": False,
            "otoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": False,
            "cancelReplaceAllowed": True,
            "amendAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": filters,
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "NONE",
            "allowedSelfTradePreventionModes": ["NONE"],
        }


def _symbol(base: str, quote: str, tick: str, step: str, market_max: str, **more: Any) -> Symbol:
    return Symbol(base + quote, base, quote, Decimal(tick), Decimal(step), Decimal(step), Decimal(9000),
                  Decimal(market_max), Decimal(5), **more)  # fmt: skip


SYMBOLS = {
    symbol.name: symbol
    for symbol in (
        _symbol("BTC", "USDT", "0.01", "0.00001", "80"),
        _symbol("ETH", "USDT", "0.01", "0.0001", "2000", market_step=Decimal("0.001")),
        _symbol("SOL", "USDT", "0.01", "0.001", "9000", max_orders=5, max_position=Decimal(50)),
        _symbol("ETH", "BTC", "0.00001", "0.0001", "1000"),
    )
}


def number(params: Mapping[str, str], name: str) -> Decimal:
    """A positive number as the venue reads one."""
    text = params[name]
    if not NUMBER.fullmatch(text):
        reject(-1100, f"Illegal characters found in parameter '{name}'; legal range is "
                      "'^([0-9]{1,20})(\\.[0-9]{1,20})?$'.")  # fmt: skip
    value = Decimal(text)
    if value != value.quantize(TICK_OF_MONEY):
        reject(-1111, f"Parameter '{name}' has too much precision.")
    return value


def wanted(params: Mapping[str, str], *names: str) -> None:
    """Demand parameters."""
    for name in names:
        if not params.get(name):
            reject(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def symbol_of(params: Mapping[str, str]) -> Symbol:
    """The pair of a request."""
    wanted(params, "symbol")
    if not re.fullmatch(r"[A-Z0-9\-_.]{1,20}", params["symbol"]):
        reject(-1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.")
    if params["symbol"] not in SYMBOLS:
        reject(-1121, "Invalid symbol.")
    return SYMBOLS[params["symbol"]]


def client_id(params: Mapping[str, str], name: str) -> str | None:
    """An id given by the client."""
    if name not in params:
        return None
    if not CLIENT_ID.fullmatch(params[name]):
        reject(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'.")
    return params[name]


def check_filters(symbol: Symbol, *, side: str, price: Decimal | None, quantity: Decimal, average: Decimal) -> None:
    """Refuse what breaks a filter, with the first that it breaks."""

    def fail(name: str) -> NoReturn:
        reject(-1013, f"Filter failure: {name}")

    if price is not None:
        if price < symbol.tick or price > 1_000_000 or price % symbol.tick:
            fail("PRICE_FILTER")
        if not average * symbol.down <= price <= average * symbol.up:
            fail("PERCENT_PRICE_BY_SIDE")
    if quantity < symbol.min_quantity or quantity > symbol.max_quantity or quantity % symbol.step:
        fail("LOT_SIZE")
    if price is None and (
        quantity > symbol.market_max_quantity or (symbol.market_step and quantity % symbol.market_step)
    ):
        fail("MARKET_LOT_SIZE")
    notional = quantity * (average if price is None else price)
    if notional < symbol.min_notional or (price is not None and notional > symbol.max_notional):
        fail("NOTIONAL")
