"""The mock venue: its orders are rows of the same database, its prices follow from the time."""

from decimal import Decimal
from typing import ClassVar

from django.utils import timezone

from tests.conformance.bench import Bench, Traded
from trading.brokers.adapters.mock import market
from trading.brokers.base import Broker
from trading.brokers.models import MockOrder
from trading.brokers.registry import open_session
from trading.core.ids import uuid7
from trading.tenants.models import Client


class MockBench(Bench):
    symbol: ClassVar = f"IND-{market.expiries(timezone.now())[1]:%Y%m}"
    quantity: ClassVar = Decimal(3)
    far_bid: ClassVar = Decimal(4000)
    near_bid: ClassVar = Decimal(6000)

    def __init__(self) -> None:
        self._client = Client.objects.create(name=f"Bench {uuid7()}")

    def open(self) -> Broker:
        return open_session("mock", self._client.id)

    def booked(self, client_order_id: str) -> int:
        return MockOrder.objects.filter(client_order_id=client_order_id).exclude(status="rejected").count()

    def traded(self, client_order_id: str) -> list[Traded]:
        rows = MockOrder.objects.filter(client_order_id=client_order_id)
        return [Traded(Decimal(part["quantity"]), Decimal(part["price"])) for row in rows for part in row.fills]

    def make_shallow(self) -> Decimal:
        return Decimal(50)  # it is never deeper


BENCH = MockBench
