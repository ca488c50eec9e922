"""The venues of the drill: each a server on loopback with a ledger of its own, accounts for senders, and prices."""

import json
import signal
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs
from uuid import UUID

from tests.faults.orders.steps import GATEWAY
from tests.venues.ibkr.process import GatewayProcess
from tests.venues.process import VenueProcess

TIMEOUT_SECONDS = 0.6
"""How long a sender waits for an answer."""


@dataclass
class Booked:
    """What a venue's ledger holds under one client order id."""

    orders: int = 0
    """How many orders there are, those that it has rejected apart."""
    received: int = 0
    """How often it was asked to place it, whatever it then did."""
    trades: list[tuple[Decimal, Decimal]] = field(default_factory=list)
    """Quantity, negative for a sell, and price of each."""


class Desk(ABC):
    """One venue. Start it before the settings are read: they name where it is."""

    name: ClassVar[str]
    deduplicates: ClassVar[bool]
    """Whether an id is taken once only, so that sending it again is safe."""
    prices: ClassVar[Mapping[str, str]]
    """The symbols that are traded, with the last close of each."""
    environment: ClassVar[Mapping[str, str]]
    """The settings of the platform for it."""
    client_id: UUID | None = None
    """The one client of a venue with one account; None: a new client for every sender."""

    @property
    @abstractmethod
    def places(self) -> Mapping[int, str]:
        """Its port, and what a step there is called."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """``environment`` and where it is."""

    @abstractmethod
    def account(self, number: int) -> dict[str, Any]:
        """Credentials of an account with money."""

    @abstractmethod
    def books(self) -> dict[str, Booked]:
        """The whole ledger."""

    @abstractmethod
    def fail_order(self, fault: Mapping[str, Any]) -> None:
        """Let the next order meet a fault of `faults`."""

    @abstractmethod
    def fail_question(self, fault: Mapping[str, Any]) -> None:
        """Let the next question about an order meet one."""

    @abstractmethod
    def heal(self) -> None:
        """Let nothing fail any more."""

    def pass_time(self) -> None:  # noqa: B027  # not every venue counts
        """Its limits are free again."""

    @abstractmethod
    def restart(self) -> None:
        """A power cut."""

    @abstractmethod
    def close(self) -> None:
        """Stop it."""


COMMON = {"QT_BROKER_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS), "QT_EXECUTION_MAX_ORDERS": "1"}


class OverHttp(Desk):
    """Binance's and PhillipCapital's."""

    setting: ClassVar[str]
    orders_path: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.venue = VenueProcess(self.name, folder / f"{self.name}.sqlite")
        self._relax()

    @abstractmethod
    def _relax(self) -> None:
        """Lift the limits that its sender, all senders in one, would reach."""

    @property
    def places(self) -> Mapping[int, str]:
        return {self.venue.port: ""}

    def settings(self) -> dict[str, str]:
        return {**COMMON, **self.environment, self.setting: self.venue.url}

    def fail_order(self, fault: Mapping[str, Any]) -> None:
        self.venue.fault(method="POST", path=self.orders_path, **fault)

    def fail_question(self, fault: Mapping[str, Any]) -> None:
        self.venue.fault(method="GET", path=self.orders_path, **fault)

    def heal(self) -> None:
        self.venue.heal()

    def restart(self) -> None:
        self.venue.restart()
        self._relax()

    def close(self) -> None:
        self.venue.close()

    def _books(self, own_id: Callable[[str], str], orders: str, trades: str) -> dict[str, Booked]:
        found: dict[str, Booked] = defaultdict(Booked)
        for row in self.venue.ledger(
            f"SELECT body FROM received WHERE method = 'POST' AND path = '{self.orders_path}' AND NOT turned_away"
        ):
            found[own_id(row["body"])].received += 1
        for row in self.venue.ledger(orders):
            found[row["own"]].orders += 1
        for row in self.venue.ledger(trades):
            sign = 1 if row["side"] == "BUY" else -1
            found[row["own"]].trades.append((sign * Decimal(row["quantity"]), Decimal(row["price"])))
        return dict(found)


class Binance(OverHttp):
    name = "binance"
    deduplicates = False
    prices: ClassVar = {"ETHUSDT": "3000"}
    environment: ClassVar = {"QT_EXECUTION_EXCHANGE": "binance", "QT_MAX_NOTIONAL_PER_TRADE": "1000"}
    setting = "QT_EXECUTION_BINANCE_URL"
    orders_path = "/api/v3/order"

    def _relax(self) -> None:
        self.venue.tell("/limits", weight_per_minute=10_000_000)

    def pass_time(self) -> None:
        self.venue.tell("/windows")

    def account(self, number: int) -> dict[str, Any]:
        key, secret = f"drill-key-{number}", f"drill-secret-{number}"
        self.venue.tell("/account", key=key, secret=secret, balances={"USDT": "100000"})
        return {"api_key": key, "api_secret": secret}

    def books(self) -> dict[str, Booked]:
        return self._books(
            lambda body: parse_qs(body)["newClientOrderId"][0],
            "SELECT client_order_id AS own FROM orders",
            "SELECT client_order_id AS own, side, trades.quantity, trades.price"
            " FROM trades JOIN orders USING (order_id)",
        )


class Phillip(OverHttp):
    name = "phillip"
    deduplicates = False
    prices: ClassVar = {"D05": "43.19"}
    environment: ClassVar = {"QT_EXECUTION_EXCHANGE": "phillip", "QT_MAX_NOTIONAL_PER_TRADE": "9000"}
    setting = "QT_PHILLIP_URL"
    orders_path = "/v1/orders"

    def _relax(self) -> None:
        self.venue.tell("/limits", per_second=100_000)
        self.venue.tell("/market", symbol="D05", bids=[["43.17", "9000000"]], asks=[["43.19", "9000000"]])

    def account(self, number: int) -> dict[str, Any]:
        own, secret = f"drill-{number}", f"drill-secret-{number}"
        self.venue.tell("/account", client_id=own, secret=secret, cash="1000000.00")
        return {"client_id": own, "client_secret": secret, "exchange": "SGX", "request_retries": 0}

    def books(self) -> dict[str, Booked]:
        return self._books(
            lambda body: str(json.loads(body)["clientOrderId"]),
            "SELECT client_order_id AS own FROM orders WHERE status != 'REJECTED'",
            "SELECT client_order_id AS own, side, executions.quantity, executions.price"
            " FROM executions JOIN orders ON orders.id = order_id",
        )


class Ibkr(Desk):
    """One gateway and one client: the login is the client's."""

    name = "ibkr"
    deduplicates = True
    prices: ClassVar = {"AAPL": "200", "MSFT": "400", "SPY": "500"}
    environment: ClassVar = {"QT_EXECUTION_EXCHANGE": "ibkr", "QT_MAX_NOTIONAL_PER_TRADE": "600"}
    client_id = UUID("0193f3a0-0000-7000-8000-0000000000d1")

    def __init__(self, folder: Path) -> None:
        self.venue = GatewayProcess(folder / "ibkr.sqlite")

    @property
    def places(self) -> Mapping[int, str]:
        return {self.venue.port: GATEWAY}

    def settings(self) -> dict[str, str]:
        return {**COMMON, **self.environment, "QT_BROKER_HOSTS": f"127.0.0.1:{self.venue.port}"}

    def account(self, number: int) -> dict[str, Any]:
        return {
            "host": "127.0.0.1", "port": self.venue.port, "client_id": 7, "request_seconds": TIMEOUT_SECONDS,
            "connect_backoff_seconds": 0.1, "connect_retries": 50,
        }  # fmt: skip

    def books(self) -> dict[str, Booked]:
        found: dict[str, Booked] = defaultdict(Booked)
        refs: dict[int, tuple[str, int]] = {}
        for order in self.venue.orders():
            found[order["order_ref"]].orders += 1
            refs[order["perm_id"]] = order["order_ref"], 1 if order["action"] == "BUY" else -1
        for done in self.venue.do("executions"):
            ref, sign = refs[done["perm_id"]]
            found[ref].trades.append((sign * Decimal(done["quantity"]), Decimal(done["price"])))
        return dict(found)

    def fail_order(self, fault: Mapping[str, Any]) -> None:
        self.venue.fault("place", **fault)

    def fail_question(self, fault: Mapping[str, Any]) -> None:
        self.venue.fault("all_open_orders", **fault)

    def heal(self) -> None:
        self.venue.do("clear")

    def restart(self) -> None:
        self.venue.restart(signal.SIGKILL)

    def close(self) -> None:
        self.venue.stop(signal.SIGKILL)


DESKS: dict[str, type[OverHttp] | type[Ibkr]] = {"binance": Binance, "phillip": Phillip, "ibkr": Ibkr}
