"""A session with PhillipCapital."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote as escaped
from uuid import UUID

from django.conf import settings

from trading.brokers import hosts
from trading.brokers.adapters.phillip.line import NAME, NotThere, PhillipCredentials, PhillipLine
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
    OrderStatus,
    OutcomeUnknown,
    Side,
    Ticket,
)
from trading.brokers.http import authority, timeout
from trading.brokers.instruments import Instrument, Quote, floor_to
from trading.brokers.lists import each

STATUSES = {
    "NEW": OrderStatus.ACCEPTED,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
}
UNTRADED = (OrderStatus.CANCELLED, OrderStatus.REJECTED)
UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


class PhillipBroker(Broker):
    """One account."""

    name = NAME
    capabilities = Capabilities(deduplicates_client_ids=False, queries_by_client_id=True, sells_short=True)
    lot = Decimal("0.00000001")

    def __init__(self, line: PhillipLine, credentials: PhillipCredentials, *, timeout_seconds: float) -> None:
        self._line, self._paths = line, credentials
        self.currency = credentials.currency
        # Who has begun in time needs at most one timeout to connect and one to send.
        horizon = timedelta(seconds=2 * timeout_seconds + credentials.booking_seconds)
        self.capabilities = replace(self.capabilities, booking_horizon=horizon)

    def place(self, ticket: Ticket) -> OrderReport:
        """Post it once; any answer but an order's is looked into by asking for its id."""
        try:
            rules = self._rules(ticket.symbol, "place")
        except BrokerRefused as error:
            if error.code != "unknown_symbol":
                raise
            return OrderReport.rejected(ticket, str(error))
        quantity = rules.floor(ticket.quantity)
        if quantity < max(rules.min_quantity, rules.lot):
            return OrderReport.rejected(ticket, f"the quantity is below the lot of {rules.lot}")
        fields = {
            "clientOrderId": ticket.client_order_id,
            "exchange": self._paths.exchange,
            "symbol": ticket.symbol,
            "side": ticket.side.value.upper(),
            "orderType": ticket.order_type.value.upper(),
            "timeInForce": ticket.time_in_force.value.upper(),
            "quantity": f"{quantity.normalize():f}",
        }
        if ticket.limit_price is not None:
            price = floor_to(ticket.limit_price, rules.tick)
            if ticket.side is Side.SELL and price < ticket.limit_price:
                price += rules.tick
            fields["limitPrice"] = f"{price.normalize():f}"
        answer = self._line.post(self._paths.orders_path, "place", fields, send_by=ticket.send_by)
        try:
            return self._report(answer, "place", client_order_id=ticket.client_order_id)
        except BrokerError as error:
            raise OutcomeUnknown(
                "PhillipCapital has taken the order, but did not say how it stands.",
                broker=NAME,
                operation="place",
                code=error.code,
            ) from error

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """Cancel it, unless it has ended."""
        found = self._look(client_order_id, "cancel")
        if found is None:
            raise BrokerRefused(
                f"PhillipCapital has no order {client_order_id}.", broker=NAME, operation="cancel", code="unknown_order"
            )
        if found.is_final:
            return found
        try:
            answer = self._line.delete(f"{self._paths.orders_path}/{escaped(found.broker_order_id, safe='')}", "cancel")
            ended = self._report(answer, "cancel", client_order_id=client_order_id)
        except BrokerError as error:
            if error.retryable:
                raise
            ended = self._afterwards(client_order_id, error)
        if not ended.is_final:
            raise self._line.unreadable("cancel", has_effects=True)
        return ended

    def _afterwards(self, client_order_id: str, error: BrokerError) -> OrderReport:
        """It may have ended before it was cancelled, or by that."""
        try:
            found = self._look(client_order_id, "cancel")
        except BrokerError:
            found = None
        if found is None or not found.is_final:
            raise error
        return found

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The newest order of that id."""
        return self._look(client_order_id, "order")

    def _look(self, client_order_id: str, operation: str) -> OrderReport | None:
        rows = self._line.pages(self._paths.orders_path, operation, {"clientOrderId": client_order_id})
        return self._report(rows[-1], operation, client_order_id=client_order_id) if rows else None

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Of every symbol."""
        rows = self._line.pages(self._paths.orders_path, "open_orders", {"status": "open"})
        return each(
            rows, lambda row: self._report(row, "open_orders"), key="orderId", broker=NAME, operation="open_orders"
        )

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """Whatever their symbol."""
        rows = self._line.pages(self._paths.executions_path, "fills", {"since": since.astimezone(UTC).isoformat()})
        return each(rows, self._fill, key="executionId", broker=NAME, operation="fills")

    def _fill(self, row: Any) -> AccountFill:
        try:
            return AccountFill(
                self._execution(row),
                str(row["symbol"]),
                Side(row["side"].lower()),
                str(row["clientOrderId"]),
                str(row["orderId"]),
            )
        except UNREADABLE:
            raise self._line.unreadable("fills") from None

    def positions(self) -> tuple[Holding, ...]:
        """With their average costs."""
        rows = self._line.pages(self._paths.positions_path, "positions", {})
        try:
            held = [(str(row["symbol"]), _number(row["quantity"]), _number(row["averagePrice"])) for row in rows]
        except UNREADABLE:
            raise self._line.unreadable("positions") from None
        return tuple(Holding(symbol, quantity, cost) for symbol, quantity, cost in held if quantity)

    def balances(self) -> tuple[Balance, ...]:
        """The ledger's balances by currency."""
        answer = self._line.get(self._paths.ledger_path, "balances")
        try:
            return tuple(
                Balance(str(row["currency"]), _number(row["cash"]) - _number(row["reserved"]), _number(row["reserved"]))
                for row in answer["balances"]
            )
        except UNREADABLE:
            raise self._line.unreadable("balances") from None

    def instrument(self, symbol: str) -> Instrument:
        """As the venue lists it."""
        return self._rules(symbol, "instrument")

    def _rules(self, symbol: str, operation: str) -> Instrument:
        row = self._listed(self._paths.instruments_path, symbol, operation)
        try:
            lot, expiry = _positive(row["lotSize"]), row.get("expiry")
            return Instrument(
                symbol,
                str(row["currency"]),
                lot=lot,
                tick=_positive(row["tickSize"]),
                min_quantity=lot,
                multiplier=_positive(row["multiplier"]),
                expiry=None if expiry is None else date.fromisoformat(expiry),
            )
        except UNREADABLE:
            raise self._line.unreadable(operation) from None

    def quote(self, symbol: str) -> Quote:
        """The top of the book."""
        row = self._listed(self._paths.quotes_path, symbol, "quote")
        try:
            figures = [
                None if row.get(name) is None else _positive(row[name])
                for name in ("bid", "ask", "last", "bidSize", "askSize")
            ]
        except UNREADABLE:
            raise self._line.unreadable("quote") from None
        bid, ask, last, bid_size, ask_size = figures
        return Quote(symbol, bid, ask, last, datetime.now(UTC), bid_size, ask_size)

    def _listed(self, path: str, symbol: str, operation: str) -> Mapping[str, Any]:
        try:
            row = self._line.get(f"{path}/{escaped(symbol, safe='')}", operation)
        except NotThere:
            raise BrokerRefused(
                f"{symbol[:32]} is not traded there.", broker=NAME, operation=operation, code="unknown_symbol"
            ) from None
        if not isinstance(row, dict) or row.get("symbol") != symbol:
            raise self._line.unreadable(operation)
        return row

    def _report(self, row: Any, operation: str, *, client_order_id: str | None = None) -> OrderReport:
        """An order with its executions, which are asked for when there are any."""
        try:
            own, order_id = str(row["clientOrderId"]), str(row["orderId"])
            if client_order_id not in (None, own) or not order_id:
                raise ValueError("this is about another order")
            parts: tuple[Execution, ...] = ()
            filled = _number(row["filledQuantity"])
            if filled > 0:
                rows = self._line.pages(self._paths.executions_path, operation, {"orderId": order_id})
                parts = tuple(self._execution(part) for part in rows if str(part["orderId"]) == order_id)
            if sum((part.quantity for part in parts), Decimal(0)) != filled:
                raise ValueError("executions are missing: they are behind the order")
            quantity, status = _number(row["quantity"]), STATUSES[row["status"]]
            if quantity < 0 or (quantity == 0 and status not in UNTRADED):
                raise ValueError("an order for nothing that is open, or filled")
            return OrderReport(
                own,
                order_id,
                status,
                parts,
                str(row.get("reason") or "")[:200],
                symbol=str(row["symbol"]),
                side=Side(row["side"].lower()),
                quantity=quantity,
                limit_price=None if row.get("limitPrice") is None else _positive(row["limitPrice"]),
            )
        except UNREADABLE:
            raise self._line.unreadable(operation, has_effects=operation == "place") from None

    def _execution(self, row: Mapping[str, Any]) -> Execution:
        moment = datetime.fromisoformat(row["time"])
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        fee, money = _number(row["fee"]), str(row["feeCurrency"])
        is_ours = money == self.currency
        return Execution(
            str(row["executionId"]),
            _positive(row["quantity"]),
            _positive(row["price"]),
            fee if is_ours else Decimal(0),
            moment.astimezone(UTC),
            fee_asset=money,
            fee_unvalued=Decimal(0) if is_ours else fee,
        )

    def close(self) -> None:
        """Close the connections; the token is kept for the next session."""
        self._line.close()


def _number(value: Any) -> Decimal:
    """A decimal, from text or from JSON's own numbers, which were read as decimals."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError("not a number")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("not a number")
    return number


def _positive(value: Any) -> Decimal:
    number = _number(value)
    if number <= 0:
        raise ValueError("not above 0")
    return number


class PhillipAdapter:
    """Opens sessions with the host of the credentials, or else with ``QT_PHILLIP_URL``."""

    name = NAME
    is_simulated = False
    credentials = PhillipCredentials

    def open(self, client_id: UUID, credentials: Credentials) -> PhillipBroker:
        """A session; whether the secret is good shows at its first use."""
        assert isinstance(credentials, PhillipCredentials)
        base_url = (credentials.base_url or settings.QT_PHILLIP_URL).rstrip("/")
        if not base_url:
            raise BrokerRefused(
                "It is not known where PhillipCapital's API is: set base_url in the credentials, or QT_PHILLIP_URL.",
                broker=NAME,
                operation="session",
                code="no_base_url",
            )
        own = [authority(settings.QT_PHILLIP_URL)] if settings.QT_PHILLIP_URL else []
        pinned = hosts.pin_url(base_url, broker=NAME, own=own)
        line = PhillipLine(pinned, base_url, credentials, timeout=timeout())
        return PhillipBroker(line, credentials, timeout_seconds=settings.QT_BROKER_TIMEOUT_SECONDS)
