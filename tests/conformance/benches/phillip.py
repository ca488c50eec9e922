"""A REST API as PhillipCapital's, on loopback."""

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
    "place": [("POST", "/v1/orders")],
    "cancel": [("DELETE", "/v1/orders")],
    "order": [("GET", "/v1/orders")],
    "read": [("GET", "/v1/orders"), ("GET", "/v1/executions"), ("GET", "/v1/positions"), ("GET", "/v1/ledger")],
}


def fields(kind: Fault) -> dict[str, Any]:
    """The fault as the venue's control port has it; the client waits one second."""
    return {
        Fault.LOST_REQUEST: {"process": "never", "answer": "drop"},
        Fault.LOST_ANSWER: {"answer": "hang", "delay": 1.6},
        Fault.LATE_BOOKING: {"process": "late", "answer": "drop", "delay": 1.0},
        Fault.GARBAGE: {"answer": "garbage"},
        Fault.WRONG_ID: {"answer": "replace", "replace": {"clientOrderId": "another", "items": [{}]}},
        Fault.REFUSED_BUT_BOOKED: {"answer": "status", "status": 400, "body": {"error": "invalid"}},
        Fault.SERVER_ERROR: {"answer": "status", "status": 502, "body": "<html>Bad Gateway</html>"},
        Fault.SLOW: {"delay": 0.4},
        Fault.RATE_LIMITED: {"process": "never", "answer": "status", "status": 429, "headers": {"Retry-After": "3"}},
    }[kind]


class PhillipBench(Bench):
    symbol: ClassVar = "D05"
    quantity: ClassVar = Decimal(300)  # of two levels of the book
    far_bid: ClassVar = Decimal("40.01")
    near_bid: ClassVar = Decimal(50)
    faults: ClassVar = frozenset(Fault)
    secrets: ClassVar = ("test-client-secret", "wrong-secret", "Bearer ", "Basic ")

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self.venue = VenueProcess("phillip", self._folder / "ledger.sqlite")
        self._settings = override_settings(QT_PHILLIP_URL=self.venue.url, QT_BROKER_TIMEOUT_SECONDS=1.0)
        self._settings.enable()

    def open(self) -> Broker:
        return self._open("test-client-secret")

    def open_with_bad_credentials(self) -> Broker:
        return self._open("wrong-secret")

    def _open(self, secret: str) -> Broker:
        credentials = {"client_id": "test-client", "client_secret": secret, "exchange": "SGX", "request_retries": 0}
        return open_session("phillip", uuid7(), credentials=credentials)

    def booked(self, client_order_id: str) -> int:
        return len(
            self.venue.ledger(
                f"SELECT 1 FROM orders WHERE client_order_id = '{client_order_id}' AND status != 'REJECTED'"
            )
        )

    def traded(self, client_order_id: str) -> list[Traded]:
        rows = self.venue.ledger(
            "SELECT executions.quantity, price FROM executions JOIN orders ON orders.id = order_id"
            f" WHERE client_order_id = '{client_order_id}'"
        )
        return [Traded(Decimal(row["quantity"]), Decimal(row["price"])) for row in rows]

    def make_shallow(self) -> Decimal:
        self.venue.tell("/market", symbol=self.symbol, bids=[["43.17", "100"]], asks=[["43.19", "100"]])
        return Decimal(100)

    def fault(self, kind: Fault, operation: Operation) -> None:
        for method, path in PLACES[operation]:
            self.venue.fault(method=method, path=path, **fields(kind))

    def restart(self) -> None:
        self.venue.restart()

    def close(self) -> None:
        self._settings.disable()
        self.venue.close()
        shutil.rmtree(self._folder)


BENCH = PhillipBench
