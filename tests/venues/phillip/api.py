"""The routes of the API."""

import base64
import json
import secrets
import time
from collections import deque
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tests.venues.phillip.book import LISTED, OPEN, SCHEMA, Book
from tests.venues.server import Ledger, Rejection, Request, Response, Venue


class PhillipVenue(Venue):
    """The venue behind the routes. Tokens live for ``lifetime`` seconds."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        self.ledger = Ledger(ledger, SCHEMA)
        self.lifetime = 1800.0
        self.per_second = 50
        self.page = 50
        self._asked: deque[float] = deque()
        with self.ledger.transaction() as connection:
            Book(connection).seed()

    def control(self, request: Request) -> Response:
        """``/market`` symbol, bids, asks · ``/tokens`` lifetime, and revokes all · ``/limits`` per_second, page ·
        ``/account`` client_id, secret, cash."""
        fields = json.loads(request.body or b"{}")
        match request.path:
            case "/market":
                with self.ledger.transaction() as connection:
                    Book(connection).set_market(fields["symbol"], fields["bids"], fields["asks"])
            case "/tokens":
                self.lifetime = fields.get("lifetime", self.lifetime)
                with self.ledger.transaction() as connection:
                    connection.execute("UPDATE tokens SET expires = 0")
            case "/limits":
                self.per_second = fields.get("per_second", self.per_second)
                self.page = fields.get("page", self.page)
            case "/account":
                with self.ledger.transaction() as connection:
                    Book(connection).add_account(**fields)
            case _:
                return super().control(request)
        return Response(200, {})

    def answer(self, request: Request) -> Response:
        """Limit, authenticate, route."""
        now = time.monotonic()
        while self._asked and self._asked[0] < now - 1:
            self._asked.popleft()
        if len(self._asked) >= self.per_second:
            raise Rejection(429, _error("rate_limited", "Too many requests."), {"Retry-After": "1"})
        self._asked.append(now)
        if request.path == "/oauth2/token" and request.method == "POST":
            return self._token(request)
        account = self._account(request)
        head, _, rest = request.path.removeprefix("/v1/").partition("/")
        with self.ledger.transaction() as connection:
            book = Book(connection)
            match request.method, head, rest:
                case "POST", "orders", "":
                    return Response(201, self._order(book.place(account, _fields(request))))
                case "GET", "orders", "":
                    return Response(200, self._orders(account, request.params))
                case "GET", "orders", _:
                    return Response(200, self._order(self._find(account, rest)))
                case "DELETE", "orders", _:
                    row = self._find(account, rest)
                    if row["status"] not in OPEN:
                        raise Rejection(409, _error("not_open", "The order has ended."))
                    return Response(200, self._order(book.cancel(row)))
                case "GET", "executions", "":
                    return Response(200, self._executions(account, request.params))
                case "GET", "positions", "":
                    rows = [
                        {"symbol": symbol, "exchange": LISTED[symbol].exchange, "quantity": float(quantity),
                         "averagePrice": str(cost)}
                        for symbol, (quantity, cost) in sorted(book.positions(account).items())
                    ]  # fmt: skip
                    return Response(200, {"items": rows, "next": None})
                case "GET", "ledger", "":
                    balance = {"currency": "USD", "cash": str(book.cash(account)), "reserved": "0.00"}
                    return Response(200, {"balances": [balance]})
                case "GET", "instruments", _ if rest in LISTED:
                    return Response(200, _instrument(rest))
                case "GET", "quotes", _ if rest in LISTED:
                    return Response(200, _quote(book, rest))
        raise Rejection(404, _error("not_found", "There is nothing here."))

    def _token(self, request: Request) -> Response:
        params = request.params
        client_id, secret = params.get("client_id", ""), params.get("client_secret", "")
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        if params.get("grant_type") != "client_credentials":
            raise Rejection(400, {"error": "unsupported_grant_type"})
        rows = self.ledger.rows("SELECT 1 FROM accounts WHERE client_id = ? AND secret = ?", client_id, secret)
        if not rows:
            raise Rejection(401, {"error": "invalid_client"}, {"WWW-Authenticate": "Basic"})
        token = secrets.token_urlsafe(24)
        with self.ledger.transaction() as connection:
            connection.execute("INSERT INTO tokens VALUES (?, ?, ?)", (token, client_id, time.time() + self.lifetime))
        body = {"access_token": token, "token_type": "Bearer", "expires_in": int(self.lifetime)}
        return Response(200, body, {"Cache-Control": "no-store"})

    def _account(self, request: Request) -> str:
        _, _, token = request.headers.get("authorization", "").partition(" ")
        rows = self.ledger.rows("SELECT client_id FROM tokens WHERE token = ? AND expires > ?", token, time.time())
        if not rows:
            bearer = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Rejection(401, _error("invalid_token", "The access token has expired or is not ours."), bearer)
        account: str = rows[0]["client_id"]
        return account

    def _find(self, account: str, order_id: str) -> Any:
        rows = self.ledger.rows("SELECT * FROM orders WHERE client_id = ? AND id = ?", account, order_id)
        if not rows:
            raise Rejection(404, _error("not_found", "There is no such order."))
        return rows[0]

    def _orders(self, account: str, params: dict[str, str]) -> Any:
        rows = self.ledger.rows(
            "SELECT * FROM orders WHERE client_id = ? AND (? IS NULL OR client_order_id = ?) AND id > ?"
            " AND (? = 0 OR status IN ('NEW', 'PARTIALLY_FILLED')) ORDER BY id LIMIT ?",
            account, *[params.get("clientOrderId")] * 2, int(params.get("cursor", 0)),
            int(params.get("status") == "open"), self.page + 1,
        )  # fmt: skip
        return _page(self.page, [(row["id"], self._order(row)) for row in rows])

    def _executions(self, account: str, params: dict[str, str]) -> Any:
        rows = self.ledger.rows(
            "SELECT executions.*, symbol, side, client_order_id FROM executions JOIN orders ON orders.id = order_id"
            " WHERE executions.client_id = ? AND (? IS NULL OR order_id = ?) AND executions.time >= ?"
            " AND executions.id > ? ORDER BY executions.id LIMIT ?",
            account, *[params.get("orderId")] * 2, params.get("since", ""), int(params.get("cursor", 0)), self.page + 1,
        )  # fmt: skip
        return _page(
            self.page,
            [
                (
                    row["id"],
                    {
                        "executionId": f"E{row['id']}", "orderId": str(row["order_id"]),
                        "clientOrderId": row["client_order_id"], "symbol": row["symbol"], "side": row["side"],
                        "quantity": float(Decimal(row["quantity"])), "price": float(Decimal(row["price"])),
                        "fee": float(Decimal(row["fee"])), "feeCurrency": "USD", "time": row["time"],
                    },
                )
                for row in rows
            ]
        )  # fmt: skip

    @staticmethod
    def _order(row: Any) -> dict[str, Any]:
        return {
            "orderId": str(row["id"]),
            "clientOrderId": row["client_order_id"],
            "symbol": row["symbol"],
            "side": row["side"],
            "orderType": row["type"],
            "timeInForce": row["force"],
            "quantity": float(Decimal(row["quantity"])),
            "limitPrice": None if row["limit_price"] is None else float(Decimal(row["limit_price"])),
            "filledQuantity": float(Decimal(row["filled"])),
            "status": row["status"],
            "reason": row["reason"],
            "time": row["time"],
        }


def _page(size: int, rows: list[tuple[int, Any]]) -> dict[str, Any]:
    more = len(rows) > size
    return {"items": [row for _, row in rows[:size]], "next": str(rows[size - 1][0]) if more else None}


def _fields(request: Request) -> dict[str, Any]:
    try:
        fields = json.loads(request.body)
        for name in ("clientOrderId", "symbol", "side", "orderType", "timeInForce", "quantity"):
            if not isinstance(fields[name], str):
                raise TypeError(name)
        Decimal(fields["quantity"])
        if fields["side"] not in ("BUY", "SELL") or (fields["orderType"] == "LIMIT") != ("limitPrice" in fields):
            raise ValueError("side or price")
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise Rejection(422, _error("invalid", f"The order is not valid: {error}")) from None
    return fields


def _instrument(symbol: str) -> dict[str, Any]:
    listed = LISTED[symbol]
    return {
        "symbol": symbol,
        "exchange": listed.exchange,
        "currency": "USD",
        "lotSize": float(listed.lot),
        "tickSize": float(listed.tick),
        "multiplier": float(listed.multiplier),
        "expiry": listed.expiry,
    }


def _quote(book: Book, symbol: str) -> dict[str, Any]:
    bids, asks = book.levels(symbol)
    return {
        "symbol": symbol,
        "bid": float(bids[0][0]) if bids else None,
        "ask": float(asks[0][0]) if asks else None,
        "bidSize": float(bids[0][1]) if bids else None,
        "askSize": float(asks[0][1]) if asks else None,
        "last": None,
    }


def _error(code: str, message: str) -> dict[str, str]:
    return {"error": code, "message": message}
