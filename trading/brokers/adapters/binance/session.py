"""A session with Binance Spot."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from pydantic import Field, SecretStr, field_validator

from trading.brokers import hosts
from trading.brokers.adapters.binance.answers import UNREADABLE, Convert, execution, optional, report
from trading.brokers.adapters.binance.filters import Breach, Rules
from trading.brokers.adapters.binance.line import NAME, NO_SUCH_ORDER, BinanceLine, Refusal
from trading.brokers.base import (
    AccountFill,
    Balance,
    Broker,
    BrokerError,
    BrokerRefused,
    Capabilities,
    Credentials,
    Execution,
    Holding,
    OrderReport,
    OrderType,
    OutcomeUnknown,
    Side,
    Ticket,
    has_answered,
)
from trading.brokers.http import authority, timeout
from trading.brokers.instruments import Instrument, Quote
from trading.brokers.lists import each

PRODUCTION = "https://api.binance.com"
TESTNET = "https://testnet.binance.vision"
AVERAGE_SECONDS = 60.0
BOOKING_HORIZON = timedelta(seconds=20)
"""The venue refuses a request that is older than its window of 5 s; the rest is for what it takes to show an order."""
PAGE = 1000


class BinanceCredentials(Credentials):
    """An API key with its secret, of the HMAC kind; it needs the permission to trade on spot, and no other."""

    api_key: SecretStr = Field(min_length=8, max_length=200)
    api_secret: SecretStr = Field(min_length=8, max_length=200)

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[A-Za-z0-9-]+", value.get_secret_value()):
            raise ValueError("an API key has letters, digits and dashes alone")
        return value


class BinanceBroker(Broker):
    """One account. Positions are the assets of the account, each as its pair with the quote asset."""

    name = NAME
    capabilities = Capabilities(
        deduplicates_client_ids=False, queries_by_client_id=True, replaces=True, booking_horizon=BOOKING_HORIZON
    )
    lot = Decimal("0.00000001")

    def __init__(self, line: BinanceLine, currency: str) -> None:
        self._line = line
        self.currency = currency
        self._averages: dict[str, tuple[float, Decimal]] = {}

    def place(self, ticket: Ticket) -> OrderReport:
        """Send it within the symbol's filters; what would break one is rejected here and not sent."""
        try:
            rules = self._line.rules(ticket.symbol, "place")
            fitted = rules.fit(ticket, lambda: self._average(ticket.symbol, "place"))
        except Breach as breach:
            return OrderReport.rejected(ticket, str(breach))
        except BrokerRefused as error:
            if error.code != "unknown_symbol":
                raise
            return OrderReport.rejected(ticket, str(error))
        try:
            answer = self._line.order("order", "place", _parameters(fitted), send_by=ticket.send_by)
        except Refusal as refusal:
            return self._refused(fitted, refusal)
        return self._placed(rules, answer, ticket.client_order_id, "place")

    def _refused(self, ticket: Ticket, refusal: Refusal) -> OrderReport:
        """Ask for the order before it is believed that there is none: an answer of 400 has been known to be wrong."""
        try:
            found = self.order(ticket.client_order_id, symbol=ticket.symbol)
        except BrokerError:
            found = None  # what the venue has documented as a refusal is one
        return found or OrderReport.rejected(ticket, f"{refusal.number}: {refusal.said}")

    def _placed(self, rules: Rules, answer: Any, client_order_id: str, operation: str) -> OrderReport:
        try:
            parts = [
                execution(rules, trade, answer["transactTime"], self._worth(operation)) for trade in answer["fills"]
            ]
            return report(rules, answer, parts, client_order_id=client_order_id)
        except (*UNREADABLE, BrokerError):
            raise self._line.unreadable(operation, has_effects=True) from None

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """Cancel it, and look how it ended."""
        try:
            self._line.signed("DELETE", "order", "cancel", symbol=symbol, origClientOrderId=client_order_id)
        except Refusal:  # it has ended already, or there is none
            found = self._look(client_order_id, symbol, "cancel")
            if found is None:
                raise BrokerRefused(
                    f"Binance has no order {client_order_id}.", broker=NAME, operation="cancel", code="unknown_order"
                ) from None
        else:
            found = self._afterwards(client_order_id, symbol, "cancel")
        if not found.is_final:
            raise self._line.unreadable("cancel", has_effects=True)
        return found

    def _afterwards(self, client_order_id: str, symbol: str, operation: str) -> OrderReport:
        try:
            found = self._look(client_order_id, symbol, operation)
        except BrokerError as error:
            raise OutcomeUnknown(
                "Binance has done it, but did not say how the order stands.",
                broker=NAME,
                operation=operation,
                code=error.code,
            ) from error
        if found is None:
            raise self._line.unreadable(operation, has_effects=True)
        return found

    def replace(self, client_order_id: str, ticket: Ticket) -> OrderReport:
        """Cancel and place in one request, of which the second part is done only after the first."""
        try:
            rules = self._line.rules(ticket.symbol, "replace")
            fitted = rules.fit(ticket, lambda: self._average(ticket.symbol, "replace"))
        except Breach as breach:
            return OrderReport.rejected(ticket, str(breach))
        cancelled = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": client_order_id}
        try:
            asked = {**_parameters(fitted), **cancelled}
            answer = self._line.order("order/cancelReplace", "replace", asked, send_by=ticket.send_by)
            return self._placed(rules, answer["newOrderResponse"], ticket.client_order_id, "replace")
        except Refusal as refusal:
            return OrderReport.rejected(fitted, f"{refusal.number}: {refusal.said}")
        except UNREADABLE:
            raise self._line.unreadable("replace", has_effects=True) from None

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The newest order of that id in ``symbol``, an open one before those that have ended."""
        return self._look(client_order_id, symbol, "order")

    def _look(self, client_order_id: str, symbol: str, operation: str) -> OrderReport | None:
        rules = self._line.rules(symbol, operation)
        try:
            answer = self._line.signed("GET", "order", operation, symbol=symbol, origClientOrderId=client_order_id)
        except Refusal as refusal:
            if refusal.number == NO_SUCH_ORDER:
                return None
            raise
        return self._told(rules, answer, operation, client_order_id)

    def _told(self, rules: Rules, answer: Any, operation: str, client_order_id: str | None = None) -> OrderReport:
        """An order with its trades, which are asked for when there are any."""
        try:
            parts: Iterable[Execution] = ()
            if Decimal(answer["executedQty"]) > 0:
                trades = self._trades_of(rules.symbol, int(answer["orderId"]), operation)
                parts = [execution(rules, trade, trade["time"], self._worth(operation)) for trade in trades]
            return report(rules, answer, parts, client_order_id=client_order_id or str(answer["clientOrderId"]))
        except UNREADABLE:
            raise self._line.unreadable(operation) from None

    def _trades_of(self, symbol: str, order_id: int, operation: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        after: dict[str, int] = {}
        while True:
            asked = {"symbol": symbol, "orderId": order_id, "limit": PAGE, **after}
            rows = _rows(self._line.signed("GET", "myTrades", operation, **asked))
            found.extend(rows)
            if len(rows) < PAGE:
                return found
            after = {"fromId": int(rows[-1]["id"]) + 1}

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Of every symbol."""
        answer = self._line.signed("GET", "openOrders", "open_orders")
        try:
            rows = _rows(answer)
        except UNREADABLE:
            raise self._line.unreadable("open_orders") from None
        return each(rows, self._open, key="orderId", broker=NAME, operation="open_orders")

    def _open(self, row: Any) -> OrderReport:
        try:
            symbol = str(row["symbol"])
        except UNREADABLE:
            raise self._line.unreadable("open_orders") from None
        return self._told(self._line.rules(symbol, "open_orders"), row, "open_orders")

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """Of ``symbols`` alone: Binance lists trades by symbol."""
        rows = [row for symbol in symbols for row in self._trades(symbol, since)]
        found = each(rows, self._fill, key="id", broker=NAME, operation="fills")
        return tuple(sorted(found, key=lambda fill: fill.execution.time))

    def _trades(self, symbol: str, since: datetime) -> list[Mapping[str, Any]]:
        """Each with our id of its order."""
        try:
            trades = self._pages("myTrades", symbol, "fromId", "id", startTime=int(since.timestamp() * 1000))
            if not trades:
                return []
            oldest, newest = (pick(int(trade["orderId"]) for trade in trades) for pick in (min, max))
            orders = self._pages("allOrders", symbol, "orderId", "orderId", until=newest, orderId=oldest)
            own = {int(row["orderId"]): str(row["clientOrderId"]) for row in orders}
            return [{**trade, "clientOrderId": own.get(int(trade["orderId"]))} for trade in trades]
        except UNREADABLE:
            raise self._line.unreadable("fills") from None

    def _fill(self, trade: Mapping[str, Any]) -> AccountFill:
        rules = self._line.rules(trade["symbol"], "fills")
        try:
            if trade["clientOrderId"] is None:
                raise ValueError("its order is not listed: the list is behind the trades")
            return AccountFill(
                execution(rules, trade, trade["time"], self._worth("fills")),
                rules.symbol,
                Side.BUY if trade["isBuyer"] else Side.SELL,
                trade["clientOrderId"],
                str(int(trade["orderId"])),
            )
        except UNREADABLE:
            raise self._line.unreadable("fills") from None

    def _pages(
        self, path: str, symbol: str, cursor: str, key: str, *, until: int | None = None, **first: int
    ) -> list[Mapping[str, Any]]:
        """All rows of a list in rising ids: the first page by ``first``, the others from the last id on."""
        found: list[Mapping[str, Any]] = []
        params = first
        while True:
            rows = _rows(self._line.signed("GET", path, "fills", symbol=symbol, limit=PAGE, **params))
            if any(row["symbol"] != symbol for row in rows):
                raise ValueError("this is about another symbol")
            found.extend(rows)
            if len(rows) < PAGE or (until is not None and int(rows[-1][key]) >= until):
                return found
            params = {cursor: int(rows[-1][key]) + 1}

    def positions(self) -> tuple[Holding, ...]:
        """Every asset but the quote asset; Binance tells no costs."""
        return tuple(
            Holding(balance.asset + self.currency, balance.free + balance.locked)
            for balance in self._balances("positions")
            if balance.asset != self.currency
        )

    def balances(self) -> tuple[Balance, ...]:
        """Every asset that there is any of."""
        return self._balances("balances")

    def _balances(self, operation: str) -> tuple[Balance, ...]:
        answer = self._line.signed("GET", "account", operation, omitZeroBalances="true")
        try:
            rows = [
                Balance(str(row["asset"]), Decimal(row["free"]), Decimal(row["locked"])) for row in answer["balances"]
            ]
            if not all(row.free.is_finite() and row.locked.is_finite() for row in rows):
                raise ValueError("not a number")
        except UNREADABLE:
            raise self._line.unreadable(operation) from None
        return tuple(row for row in rows if row.free or row.locked)

    def instrument(self, symbol: str) -> Instrument:
        """By exchangeInfo."""
        return self._line.rules(symbol, "instrument").instrument()

    def quote(self, symbol: str) -> Quote:
        """The top of the book."""
        self._line.rules(symbol, "quote")
        answer = self._line.get("ticker/bookTicker", "quote", symbol=symbol)
        try:
            if answer["symbol"] != symbol:
                raise ValueError("this is about another symbol")
            return Quote(
                symbol,
                optional(answer["bidPrice"]),
                optional(answer["askPrice"]),
                None,
                datetime.now(UTC),
                bid_quantity=optional(answer["bidQty"]),
                ask_quantity=optional(answer["askQty"]),
            )
        except UNREADABLE:
            raise self._line.unreadable("quote") from None

    def _average(self, symbol: str, operation: str) -> Decimal:
        """The average price that filters compare with, at most a minute old."""
        kept = self._averages.get(symbol)
        if kept is None or time.monotonic() - kept[0] > AVERAGE_SECONDS:
            kept = time.monotonic(), self._price("avgPrice", symbol, operation)
            self._averages[symbol] = kept
        return kept[1]

    def _worth(self, operation: str) -> Convert:
        """For fees that are taken in another asset, such as BNB: at its price now.

        What has no such price was traded all the same: its fee is left for whoever reads it later, or for a person.
        """

        def convert(asset: str, amount: Decimal) -> Decimal | None:
            if asset == self.currency:
                return amount
            try:
                return amount * self._price("ticker/price", asset + self.currency, operation)
            except BrokerError as error:
                if not has_answered(error):
                    raise
                return None

        return convert

    def _price(self, path: str, symbol: str, operation: str) -> Decimal:
        answer = self._line.get(path, operation, symbol=symbol)
        try:
            price = optional(answer["price"])
        except UNREADABLE:
            price = None
        if price is None:
            raise self._line.unreadable(operation)
        return price

    def close(self) -> None:
        """Close the connections."""
        self._line.close()


def _parameters(ticket: Ticket) -> dict[str, str]:
    parameters = {
        "symbol": ticket.symbol,
        "side": ticket.side.value.upper(),
        "type": ticket.order_type.value.upper(),
        "quantity": f"{ticket.quantity.normalize():f}",
        "newClientOrderId": ticket.client_order_id,
        "newOrderRespType": "FULL",
    }
    if ticket.order_type is OrderType.LIMIT and ticket.limit_price is not None:
        parameters["price"] = f"{ticket.limit_price.normalize():f}"
        parameters["timeInForce"] = ticket.time_in_force.value.upper()
    return parameters


def _rows(answer: Any) -> list[Mapping[str, Any]]:
    if not isinstance(answer, list):
        raise TypeError("a list was asked for")
    return answer


class BinanceAdapter:
    """Opens sessions; ``QT_EXECUTION_BINANCE_TESTNET`` chooses where, ``QT_EXECUTION_BINANCE_URL`` overrides that."""

    name = NAME
    is_simulated = False
    credentials = BinanceCredentials

    def open(self, client_id: UUID, credentials: Credentials) -> BinanceBroker:
        """A session; whether the key is good shows at its first use."""
        assert isinstance(credentials, BinanceCredentials)
        chosen = TESTNET if settings.QT_EXECUTION_BINANCE_TESTNET else PRODUCTION
        base_url = settings.QT_EXECUTION_BINANCE_URL or chosen
        pinned = hosts.pin_url(base_url, broker=NAME, own=[authority(base_url)])
        line = BinanceLine(
            pinned,
            base_url,
            api_key=credentials.api_key.get_secret_value(),
            api_secret=credentials.api_secret.get_secret_value(),
            timeout=timeout(),
        )
        return BinanceBroker(line, settings.QT_EXECUTION_QUOTE_ASSET)
