"""The routes of the REST API: who may, which parameters, and what is answered."""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

from tests.venues.binance.book import SCHEMA, Book, NewOrder, milliseconds, new_client_id, order_body
from tests.venues.binance.limits import Limits
from tests.venues.binance.market import PATHS, PublicData
from tests.venues.binance.rules import SYMBOLS, client_id, number, reject, shown, symbol_of, wanted
from tests.venues.server import Ledger, Rejection, Request, Response, Venue

DAY = 24 * 3600 * 1000
PUBLIC = {"/api/v3/ping", "/api/v3/time", "/api/v3/exchangeInfo", *PATHS}
KEY_ONLY = {"/api/v3/userDataStream"}


class BinanceVenue(Venue):
    """The venue behind the routes."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        self.ledger = Ledger(ledger, SCHEMA)
        self.limits = Limits()
        self.offset = 0
        with self.ledger.transaction() as connection:
            Book(connection, self.now()).seed()
        self._routes: dict[tuple[str, str], Callable[[Book, str, dict[str, str]], Any]] = {
            ("GET", "/api/v3/ping"): lambda *_: {},
            ("GET", "/api/v3/time"): lambda *_: {"serverTime": self.now()},
            ("GET", "/api/v3/exchangeInfo"): self._exchange_info,
            **{("GET", path): route for path, route in PublicData(self.now).routes().items()},
            ("GET", "/api/v3/account"): self._account,
            ("GET", "/api/v3/order"): self._order,
            ("POST", "/api/v3/order"): self._place,
            ("POST", "/api/v3/order/test"): self._test,
            ("DELETE", "/api/v3/order"): self._cancel,
            ("POST", "/api/v3/order/cancelReplace"): self._replace,
            ("GET", "/api/v3/openOrders"): self._open_orders,
            ("DELETE", "/api/v3/openOrders"): self._cancel_all,
            ("GET", "/api/v3/allOrders"): self._all_orders,
            ("GET", "/api/v3/myTrades"): self._my_trades,
            ("GET", "/api/v3/rateLimit/order"): self._order_counts,
            ("POST", "/api/v3/userDataStream"): lambda *_: {"listenKey": uuid.uuid4().hex + uuid.uuid4().hex[:28]},
            ("PUT", "/api/v3/userDataStream"): lambda *_: {},
            ("DELETE", "/api/v3/userDataStream"): lambda *_: {},
        }

    def now(self) -> int:
        """The venue's clock in milliseconds."""
        return milliseconds(self.offset)

    def control(self, request: Request) -> Response:
        """``/market`` symbol, bids, asks · ``/limits`` · ``/windows``, which then begin anew · ``/clock`` offset ·
        ``/account`` key, secret, balances.
        """
        fields = json.loads(request.body or b"{}")
        match request.path:
            case "/market":
                with self.ledger.transaction() as connection:
                    Book(connection, self.now()).set_market(fields["symbol"], fields["bids"], fields["asks"])
            case "/windows":
                self.limits.begin_anew()
            case "/limits":
                for name, value in fields.items():
                    setattr(self.limits, name, value)
            case "/clock":
                self.offset = fields["offset"]
            case "/account":
                with self.ledger.transaction() as connection:
                    Book(connection, self.now()).add_account(**fields)
            case _:
                return super().control(request)
        return Response(200, {})

    def answer(self, request: Request) -> Response:
        """Weigh, authenticate, route."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            return Response(404, None, raw=b"<html><body><h2>404 Not found</h2></body></html>")
        params = request.params
        headers = self.limits.weigh(
            request.address,
            request.method,
            request.path,
            has_symbol="symbol" in params or "symbols" in params,
            now=time.time(),
        )
        try:
            key = "" if request.path in PUBLIC else self._authenticate(request, params)
            with self.ledger.transaction() as connection:
                body = route(Book(connection, self.now()), key, params)
            if (request.method, request.path) in {("POST", "/api/v3/order"), ("POST", "/api/v3/order/cancelReplace")}:
                short, day = self.limits.counts(key, time.time())
                headers |= {"X-MBX-ORDER-COUNT-10S": str(short), "X-MBX-ORDER-COUNT-1D": str(day)}
        except Rejection as rejection:
            rejection.response.headers = {**headers, **rejection.response.headers}
            raise
        if isinstance(body, Response):
            return Response(body.status, body.body, headers)
        return Response(200, body, headers)

    def _authenticate(self, request: Request, params: dict[str, str]) -> str:
        key = request.headers.get("x-mbx-apikey", "")
        if not key or not key.replace("-", "").isalnum():
            reject(-2014, "API-key format invalid.", 401)
        rows = self.ledger.rows("SELECT secret, can_trade FROM accounts WHERE api_key = ?", key)
        if not rows:
            reject(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if request.path in KEY_ONLY:
            return key
        wanted(params, "timestamp", "signature")
        if self._signature(rows[0]["secret"], request) != params["signature"].lower():
            reject(-1022, "Signature for this request is not valid.")
        if not params["timestamp"].isdigit():
            reject(-1100, "Illegal characters found in parameter 'timestamp'; legal range is '^[0-9]{1,20}$'.")
        window, sent, now = int(params.get("recvWindow", "5000")), int(params["timestamp"]), self.now()
        if window > 60_000:
            reject(-1131, "recvWindow must be less than 60000.")
        if sent >= now + 1000:
            reject(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - sent > window:
            reject(-1021, "Timestamp for this request is outside of the recvWindow.")
        if request.method != "GET" and not rows[0]["can_trade"]:
            reject(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return key

    @staticmethod
    def _signature(secret: str, request: Request) -> str:
        """Over the query and then the form, both without the signature's own parameter."""
        signed = ""
        for text in (request.query, request.body.decode("utf-8", "replace")):
            signed += "&".join(part for part in text.split("&") if part and not part.startswith("signature="))
        return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()

    def _exchange_info(self, book: Book, key: str, params: dict[str, str]) -> Any:
        if "symbols" in params:
            names = json.loads(params["symbols"])
        elif "symbol" in params:
            names = [symbol_of(params).name]
        else:
            names = list(SYMBOLS)
        if not set(names) <= set(SYMBOLS):
            reject(-1121, "Invalid symbol.")
        return {
            "timezone": "UTC",
            "serverTime": self.now(),
            "rateLimits": self.limits.described(),
            "exchangeFilters": [],
            "symbols": [SYMBOLS[name].info() for name in names],
        }

    def _account(self, book: Book, key: str, params: dict[str, str]) -> Any:
        rows = self.ledger.rows("SELECT asset, free, locked FROM balances WHERE api_key = ? ORDER BY asset", key)
        if params.get("omitZeroBalances") == "true":
            rows = [row for row in rows if Decimal(row["free"]) + Decimal(row["locked"])]
        rates = {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"}
        return {
            "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
            "commissionRates": rates, "canTrade": True, "canWithdraw": False, "canDeposit": False, "brokered": False,
            "requireSelfTradePrevention": False, "preventSor": False, "updateTime": self.now(), "accountType": "SPOT",
            "balances": [
                {"asset": row["asset"], "free": shown(Decimal(row["free"])), "locked": shown(Decimal(row["locked"]))}
                for row in rows
            ],
            "permissions": ["SPOT"], "uid": 354937868,
        }  # fmt: skip

    def _new_order(self, book: Book, params: dict[str, str]) -> NewOrder:
        symbol = symbol_of(params)
        wanted(params, "side", "type")
        if params["side"] not in ("BUY", "SELL"):
            reject(-1117, "Invalid side.")
        if params["type"] not in ("MARKET", "LIMIT", "LIMIT_MAKER"):
            reject(-1116, "Invalid orderType.")
        own = client_id(params, "newClientOrderId") or new_client_id()
        if params["type"] == "MARKET":
            for name in ("timeInForce", "price"):
                if name in params:
                    reject(-1106, f"Parameter '{name}' sent when not required.")
            if "quoteOrderQty" in params:
                spent = number(params, "quoteOrderQty")
                asks = book.levels(symbol.name)[1 if params["side"] == "BUY" else 0]
                price = asks[0][0] if asks else Decimal(1)
                quantity = (spent / price / symbol.step).to_integral_value(ROUND_DOWN) * symbol.step
                return NewOrder(symbol, own, params["side"], "MARKET", "IOC", None, quantity, spent)
            wanted(params, "quantity")
            return NewOrder(symbol, own, params["side"], "MARKET", "IOC", None, number(params, "quantity"))
        wanted(params, "quantity", "price")
        force = params.get("timeInForce", "GTC" if params["type"] == "LIMIT_MAKER" else "")
        if not force:
            reject(-1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.")
        if force not in ("GTC", "IOC"):
            reject(-1115, "Invalid timeInForce.")
        return NewOrder(
            symbol, own, params["side"], params["type"], force, number(params, "price"), number(params, "quantity")
        )

    def _place(self, book: Book, key: str, params: dict[str, str]) -> Any:
        new = self._new_order(book, params)
        self.limits.count_order(key, time.time())
        row = book.place(key, new)
        assert row is not None
        kind = params.get("newOrderRespType", "FULL" if new.type in ("MARKET", "LIMIT") else "ACK")
        body = {**order_body(row), "transactTime": row["updated"]}
        if kind == "ACK":
            names = ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
            return {name: body[name] for name in names}
        if kind == "FULL":
            body["fills"] = [
                {
                    "price": shown(Decimal(trade["price"])),
                    "qty": shown(Decimal(trade["quantity"])),
                    "commission": shown(Decimal(trade["commission"])),
                    "commissionAsset": trade["asset"],
                    "tradeId": trade["id"],
                }
                for trade in book.trades(row["order_id"])
            ]
        return body

    def _test(self, book: Book, key: str, params: dict[str, str]) -> Any:
        book.place(key, self._new_order(book, params), is_test=True)
        return {}

    @staticmethod
    def _ids(params: dict[str, str], id_name: str = "orderId", own_name: str = "origClientOrderId") -> Any:
        if id_name not in params and own_name not in params:
            reject(-1102, f"Param '{own_name}' or '{id_name}' must be sent, but both were empty/null!")
        order_id = params.get(id_name)
        if order_id is not None and not order_id.isdigit():
            reject(-1100, f"Illegal characters found in parameter '{id_name}'; legal range is '^[0-9]{{1,20}}$'.")
        return (int(order_id) if order_id else None), client_id(params, own_name)

    def _order(self, book: Book, key: str, params: dict[str, str]) -> Any:
        row = book.find(key, symbol_of(params).name, *self._ids(params))
        if row is None:
            reject(-2013, "Order does not exist.")
        return _stored(row)

    def _cancel(self, book: Book, key: str, params: dict[str, str]) -> Any:
        return self._cancelled(book, key, symbol_of(params).name, *self._ids(params), params)

    def _cancelled(self, book: Book, key: str, symbol: str, order_id: Any, own: Any, params: dict[str, str]) -> Any:
        row = book.cancel(key, symbol, order_id, own)
        body = {**order_body(row), "origClientOrderId": row["client_order_id"], "transactTime": row["updated"]}
        return {**body, "clientOrderId": client_id(params, "cancelNewClientOrderId") or new_client_id()}

    def _cancel_all(self, book: Book, key: str, params: dict[str, str]) -> Any:
        symbol = symbol_of(params).name
        rows = self._open(key, symbol)
        if not rows:
            reject(-2011, "Unknown order sent.")
        return [self._cancelled(book, key, symbol, row["order_id"], None, {}) for row in rows]

    def _replace(self, book: Book, key: str, params: dict[str, str]) -> Any:
        wanted(params, "cancelReplaceMode")
        new = self._new_order(book, params)
        ids = self._ids(params, "cancelOrderId", "cancelOrigClientOrderId")
        stops = params["cancelReplaceMode"] == "STOP_ON_FAILURE"
        data: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
        try:
            data["cancelResponse"] = self._cancelled(book, key, new.symbol.name, *ids, params)
        except Rejection as rejection:
            data |= {"cancelResult": "FAILURE", "cancelResponse": rejection.response.body}
            if stops:
                raise Rejection(400, {"code": -2022, "msg": "Order cancel-replace failed.", "data": data}) from None
        names = ("cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId")
        try:
            data["newOrderResponse"] = self._place(book, key, {k: v for k, v in params.items() if k not in names})
            data["newOrderResult"] = "SUCCESS"
        except Rejection as rejection:
            data |= {"newOrderResult": "FAILURE", "newOrderResponse": rejection.response.body}
        if data["cancelResult"] == data["newOrderResult"] == "SUCCESS":
            return data
        both = data["cancelResult"] == data["newOrderResult"]
        code, words = (-2022, "failed") if both else (-2021, "partially failed")
        # What was cancelled stays cancelled, so this is an answer and not an error that undoes it.
        return Response(400 if both else 409, {"code": code, "msg": f"Order cancel-replace {words}.", "data": data})

    def _open(self, key: str, symbol: str | None) -> list[Any]:
        return self.ledger.rows(
            "SELECT * FROM orders WHERE api_key = ? AND (? IS NULL OR symbol = ?)"
            " AND status IN ('NEW', 'PARTIALLY_FILLED') ORDER BY order_id",
            key, symbol, symbol,
        )  # fmt: skip

    def _open_orders(self, book: Book, key: str, params: dict[str, str]) -> Any:
        return [_stored(row) for row in self._open(key, symbol_of(params).name if "symbol" in params else None)]

    def _all_orders(self, book: Book, key: str, params: dict[str, str]) -> Any:
        rows = self.ledger.rows(
            "SELECT * FROM orders WHERE api_key = ? AND symbol = ? AND order_id >= ? AND time >= ? ORDER BY order_id",
            key, symbol_of(params).name, int(params.get("orderId", 0)), int(params.get("startTime", 0)),
        )  # fmt: skip
        limit = min(int(params.get("limit", "500")), 1000)
        return [
            _stored(row) for row in (rows[:limit] if "orderId" in params or "startTime" in params else rows[-limit:])
        ]

    def _my_trades(self, book: Book, key: str, params: dict[str, str]) -> Any:
        if {"startTime", "endTime"} <= set(params) and int(params["endTime"]) - int(params["startTime"]) > DAY:
            reject(-1127, "More than 24 hours between startTime and endTime.")
        rows = self.ledger.rows(
            "SELECT * FROM trades WHERE api_key = ? AND symbol = ? AND id >= ? AND time >= ?"
            " AND time <= ? AND (? IS NULL OR order_id = ?) ORDER BY id",
            key, symbol_of(params).name, int(params.get("fromId", 0)), int(params.get("startTime", 0)),
            int(params.get("endTime", 2**62)), *[int(params["orderId"]) if "orderId" in params else None] * 2,
        )  # fmt: skip
        limit = min(int(params.get("limit", "500")), 1000)
        rows = rows[:limit] if {"fromId", "startTime", "orderId"} & set(params) else rows[-limit:]
        return [
            {
                "symbol": row["symbol"], "id": row["id"], "orderId": row["order_id"], "orderListId": -1,
                "price": shown(Decimal(row["price"])), "qty": shown(Decimal(row["quantity"])),
                "quoteQty": shown(Decimal(row["price"]) * Decimal(row["quantity"])),
                "commission": shown(Decimal(row["commission"])), "commissionAsset": row["asset"], "time": row["time"],
                "isBuyer": bool(row["is_buyer"]), "isMaker": bool(row["is_maker"]), "isBestMatch": True,
            }
            for row in rows
        ]  # fmt: skip

    def _order_counts(self, book: Book, key: str, params: dict[str, str]) -> Any:
        limits = [row for row in self.limits.described() if row["rateLimitType"] == "ORDERS"]
        counts = self.limits.counts(key, time.time())
        return [{**row, "count": count} for row, count in zip(limits, counts, strict=True)]


def _stored(row: Any) -> dict[str, Any]:
    more = {"stopPrice": "0.00000000", "icebergQty": "0.00000000", "time": row["time"], "updateTime": row["updated"],
            "isWorking": True}  # fmt: skip
    return {**order_body(row), **more}
