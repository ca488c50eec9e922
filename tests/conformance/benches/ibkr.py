"""Interactive Brokers: a gateway on loopback and the process of its login, both kept over the tests of a session."""

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import connection

from tests.conformance.bench import Bench, Fault, Operation, Traded
from tests.venues.ibkr.process import PROJECT, GatewayProcess
from trading.brokers.adapters.ibkr import ADAPTER
from trading.brokers.adapters.ibkr.login import IbkrCredentials
from trading.brokers.base import Broker, BrokerUnavailable
from trading.brokers.models import IbkrLogin
from trading.tenants.models import Client

CLIENT_ID = UUID("0193f3a0-0000-7000-8000-00000000001b")
REQUEST_SECONDS = 1.0
PLACE = {
    Fault.LOST_REQUEST: ("lose", {}),
    Fault.LOST_ANSWER: ("silent", {}),
    Fault.LATE_BOOKING: ("late", {"seconds": REQUEST_SECONDS * 5 + 1}),
    Fault.GARBAGE: ("garbage", {}),
    Fault.WRONG_ID: ("wrong_id", {}),
    Fault.REFUSED_BUT_BOOKED: ("refuse_booked", {}),
    Fault.SERVER_ERROR: ("refuse_booked", {"code": 504}),
    Fault.SLOW: ("slow", {"seconds": REQUEST_SECONDS / 2}),
}
READ = {
    Fault.LOST_REQUEST: ("drop", {}),
    Fault.LOST_ANSWER: ("silent", {}),
    Fault.LATE_BOOKING: ("slow", {"seconds": REQUEST_SECONDS + 1}),
    Fault.GARBAGE: ("garbage", {}),
    Fault.WRONG_ID: ("silent", {}),
    Fault.REFUSED_BUT_BOOKED: ("error", {"code": 321}),
    Fault.SERVER_ERROR: ("error", {"code": 504}),
    Fault.SLOW: ("slow", {"seconds": REQUEST_SECONDS / 2}),
}


@cache
def venue() -> GatewayProcess:
    """The gateway, with a ledger in a folder of its own."""
    folder = tempfile.TemporaryDirectory(prefix="qt-ibkr-")
    process = GatewayProcess(Path(folder.name) / "ledger.db")
    atexit.register(folder.cleanup)
    atexit.register(process.stop)
    return process


@cache
def gateways() -> "subprocess.Popen[bytes]":
    """``python -m workers.gateway`` on the database and the Redis of this test process."""
    python = os.environ.get("IBKR_TEST_PYTHON", sys.executable)  # one whose environment holds the other library
    return subprocess.Popen([python, "-m", "workers.gateway"], cwd=PROJECT, env=environment())


def end_gateways() -> None:
    """End the process of `gateways`, if it was started."""
    if gateways.cache_info().currsize:
        gateways().terminate()
        gateways().wait()
        gateways.cache_clear()
        warm.cache_clear()


@cache
def warm(session: Callable[[], Broker]) -> None:
    """Wait until the login's process serves: it starts slowly on a busy machine."""
    for attempt in range(4):
        try:
            session().balances()
        except BrokerUnavailable:
            if attempt == 3:
                raise
        else:
            return


def environment() -> dict[str, str]:
    """The settings of the tests, told to another process."""
    database = connection.settings_dict
    place = f"{database['NAME']}?host={database['HOST']}&port={database['PORT']}"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings.base",
        "DATABASE_URL": f"postgres://{database['USER']}@/{place}",
        "DATABASE_APP_URL": f"postgres://{settings.DATABASE_ROLES['app']}@/{place}",
        "DATABASE_OPERATOR_URL": f"postgres://{settings.DATABASE_ROLES['operator']}@/{place}",
        "REDIS_URL": settings.REDIS_URL,
        "QT_BROKER_HOSTS": f"127.0.0.1:{venue().port}",
    }


def credentials() -> IbkrCredentials:
    """Of the bench's client."""
    return IbkrCredentials(
        host="127.0.0.1", port=venue().port, client_id=7, request_seconds=REQUEST_SECONDS, connect_backoff_seconds=0.1,
        connect_retries=50,
    )  # fmt: skip


class IbkrBench(Bench):
    symbol: ClassVar = "AAPL"
    quantity: ClassVar = Decimal(10)
    far_bid: ClassVar = Decimal(150)
    near_bid: ClassVar = Decimal(210)
    faults: ClassVar = frozenset(PLACE)

    def __init__(self) -> None:
        Client.objects.create(id=CLIENT_ID, name="Bench of a gateway")
        venue().do("reset")
        gateways()
        warm(type(self)._session)

    def open(self) -> Broker:
        return self._session()

    @staticmethod
    def _session() -> Broker:
        return ADAPTER.open(CLIENT_ID, credentials())

    def booked(self, client_order_id: str) -> int:
        return len(venue().orders(client_order_id))

    def traded(self, client_order_id: str) -> list[Traded]:
        numbers = {order["perm_id"] for order in venue().orders(client_order_id)}
        return [
            Traded(Decimal(done["quantity"]), Decimal(done["price"]))
            for done in venue().do("executions")
            if done["perm_id"] in numbers
        ]

    def make_shallow(self) -> Decimal:
        venue().do("depth", quantity="1")
        return Decimal(1)

    def fault(self, kind: Fault, operation: Operation) -> None:
        if operation == "place":
            name, values = PLACE[kind]
            venue().fault("place", name, **values)
        elif operation == "cancel":
            venue().fault("cancel", "silent")
        else:
            name, values = READ[kind]
            asked = ["all_open_orders"] if operation == "order" else ["all_open_orders", "positions", "summary"]
            for question in asked:
                venue().fault(question, name, **values)

    def restart(self) -> None:
        venue().restart()

    def close(self) -> None:
        # The process lives on; without its row it takes the lease anew.
        IbkrLogin.objects.all().delete()


BENCH = IbkrBench
