"""Binance Spot, by its protocol on loopback."""

import shutil
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from django.test import override_settings

from tests.conformance.bench import Bench, Fault, Operation, Traded
from tests.venues.process import VenueProcess
from trading.brokers.base import Broker
from trading.brokers.registry import open_session
from trading.core.ids import uuid7

PLACES: dict[Operation, list[tuple[str, str]]] = {
    "place": [("POST", "/api/v3/order")],
    "cancel": [("DELETE", "/api/v3/order")],
    "order": [("GET", "/api/v3/order")],
    "read": [("GET", "/api/v3/openOrders"), ("GET", "/api/v3/myTrades"), ("GET", "/api/v3/account")],
}


def fields(kind: Fault, operation: Operation) -> dict[str, Any]:
    """The fault as the venue's control port has it; the client waits one second."""
    refused = {"code": -2010, "msg": "Account has insufficient balance for requested action."}
    vague = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
    return {
        Fault.LOST_REQUEST: {"process": "never", "answer": "drop"},
        Fault.LOST_ANSWER: {"answer": "hang", "delay": 1.6},
        Fault.LATE_BOOKING: {"process": "late", "answer": "drop", "delay": 1.0},
        Fault.GARBAGE: {"answer": "garbage"},
        Fault.WRONG_ID: {"answer": "replace", "replace": {"clientOrderId": "another", "origClientOrderId": "another"}},
        Fault.REFUSED_BUT_BOOKED: {
            "answer": "status",
            "status": 400,
            "body": refused if operation == "place" else vague,
        },
        Fault.SERVER_ERROR: {"answer": "status", "status": 502, "body": "<html>Bad Gateway</html>"},
        Fault.SLOW: {"delay": 0.4},
        Fault.RATE_LIMITED: {
            "process": "never",
            "answer": "status",
            "status": 429,
            "headers": {"Retry-After": "3"},
            "body": {"code": -1003, "msg": "Too much request weight used."},
        },
    }[kind]


class BinanceBench(Bench):
    symbol: ClassVar = "BTCUSDT"
    quantity: ClassVar = Decimal("0.35007")  # of two levels of the book
    far_bid: ClassVar = Decimal("50000.01")
    near_bid: ClassVar = Decimal("61000")
    faults: ClassVar = frozenset(Fault)
    secrets: ClassVar = ("test-secret", "test-key", "wrong-secret", "wrong-key")

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self.venue = VenueProcess("binance", self._folder / "ledger.sqlite")
        self._settings = override_settings(QT_EXECUTION_BINANCE_URL=self.venue.url, QT_BROKER_TIMEOUT_SECONDS=1.0)
        self._settings.enable()

    def open(self) -> Broker:
        return open_session("binance", uuid7(), credentials={"api_key": "test-key", "api_secret": "test-secret"})

    def open_with_bad_credentials(self) -> Broker:
        return open_session("binance", uuid7(), credentials={"api_key": "wrong-key", "api_secret": "wrong-secret"})

    def booked(self, client_order_id: str) -> int:
        return len(self.venue.ledger(f"SELECT 1 FROM orders WHERE client_order_id = '{client_order_id}'"))

    def traded(self, client_order_id: str) -> list[Traded]:
        rows = self.venue.ledger(
            "SELECT trades.quantity, trades.price FROM trades JOIN orders USING (order_id)"
            f" WHERE client_order_id = '{client_order_id}'"
        )
        return [Traded(Decimal(row["quantity"]), Decimal(row["price"])) for row in rows]

    def make_shallow(self) -> Decimal:
        self.venue.tell("/market", symbol=self.symbol, bids=[["60000.00", "1"]], asks=[["60000.01", "0.00001"]])
        return Decimal("0.00001")

    def fault(self, kind: Fault, operation: Operation) -> None:
        for method, path in PLACES[operation]:
            self.venue.fault(method=method, path=path, **fields(kind, operation))

    def restart(self) -> None:
        self.venue.restart()

    def close(self) -> None:
        self._settings.disable()
        self.venue.close()
        shutil.rmtree(self._folder)


BENCH = BinanceBench
