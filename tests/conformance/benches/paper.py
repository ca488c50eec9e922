"""The paper venue: its books are tables of the same database, and its market is a dictionary."""

from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar

from tests.conformance.bench import Bench, Traded
from trading.brokers import quotes
from trading.brokers.base import Broker
from trading.brokers.models import PaperOrder
from trading.brokers.quotes import LastTrade
from trading.brokers.registry import open_session
from trading.brokers.services import open_paper_account
from trading.core.ids import uuid7
from trading.tenants.models import Client


class PaperBench(Bench):
    symbol: ClassVar = "AAA"
    quantity: ClassVar = Decimal("3.007")
    far_bid: ClassVar = Decimal("90")
    near_bid: ClassVar = Decimal("110")

    def __init__(self) -> None:
        self._trades = {"AAA": LastTrade(Decimal("100.03"), Decimal(1_000_000))}
        self._source: Callable[[str], LastTrade | None] | None = quotes._source
        quotes.provide(self._trades.get)
        self._client = Client.objects.create(name=f"Bench {uuid7()}")
        open_paper_account(self._client.id, cash=Decimal(100_000))

    def open(self) -> Broker:
        return open_session("paper", self._client.id)

    def booked(self, client_order_id: str) -> int:
        return PaperOrder.objects.filter(client_order_id=client_order_id).exclude(status="rejected").count()

    def traded(self, client_order_id: str) -> list[Traded]:
        rows = PaperOrder.objects.filter(client_order_id=client_order_id, filled_quantity__gt=0)
        return [Traded(row.filled_quantity, row.price) for row in rows]

    def make_shallow(self) -> Decimal:
        self._trades["AAA"] = LastTrade(Decimal("100.03"), Decimal("0.02"))
        return Decimal("0.002")  # a tenth of the bar's volume

    def close(self) -> None:
        assert self._source is not None
        quotes.provide(self._source)


BENCH = PaperBench
