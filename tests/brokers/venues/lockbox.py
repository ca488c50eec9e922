"""A venue that lets in whoever has the right secret, in a folder of its own: `tests.brokers.lockbox` adds it."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import Field, SecretStr

from trading.brokers import hosts
from trading.brokers.base import (
    AccountFill,
    Balance,
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    Capabilities,
    Credentials,
    Holding,
    OrderReport,
    Ticket,
)
from trading.brokers.instruments import Instrument, Quote

RIGHT = "right-secret-of-the-lockbox"
FAULT: list[str] = []
"""``elsewhere``: its host is refused by a process of the adapter's own; ``down``: not reached; ``crash``: a defect of
the adapter. The last two say the secret, as a careless adapter may."""
OPENED: list["LockboxCredentials"] = []


class LockboxCredentials(Credentials):
    """A key, a secret, and perhaps a host."""

    api_key: SecretStr = Field(min_length=4, max_length=200)
    api_secret: SecretStr = Field(min_length=4, max_length=200)
    host: str = "lockbox.example"
    port: int = 443


class Lockbox(Broker):
    """A session; it only tells balances."""

    name = "lockbox"
    capabilities = Capabilities(deduplicates_client_ids=True, queries_by_client_id=True)
    currency = "USD"
    lot = Decimal(1)

    def __init__(self, credentials: LockboxCredentials) -> None:
        self._secret = credentials.api_secret.get_secret_value()

    def balances(self) -> tuple[Balance, ...]:
        if FAULT == ["crash"]:
            raise ZeroDivisionError(f"a defect at hand of {self._secret}")
        if FAULT == ["elsewhere"]:  # as an adapter whose connection is another process's passes it on
            raise BrokerRefused("not listed", broker=self.name, operation="balances", code="host_refused",
                                context={"field": "host"})  # fmt: skip
        if FAULT == ["down"]:
            raise BrokerUnavailable(f"no route, by {self._secret}", broker=self.name, operation="balances", code="down")
        if not self._secret.startswith(RIGHT):
            raise BrokerRefused(
                f"{self._secret!r} is not right",
                broker=self.name,
                operation="balances",
                code="bad_credentials",
                context={"sent": [self._secret], "url": f"/x?s={self._secret}"},
            )
        return (Balance("USD", Decimal(1)),)

    def place(self, ticket: Ticket) -> OrderReport:
        raise self.unsupported("place")

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        raise self.unsupported("cancel")

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        raise self.unsupported("order")

    def open_orders(self) -> tuple[OrderReport, ...]:
        raise self.unsupported("open_orders")

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        raise self.unsupported("fills")

    def positions(self) -> tuple[Holding, ...]:
        raise self.unsupported("positions")

    def instrument(self, symbol: str) -> Instrument:
        raise self.unsupported("instrument")

    def quote(self, symbol: str) -> Quote:
        raise self.unsupported("quote")


class LockboxAdapter:
    """Opens sessions with whoever names a host that is listed."""

    name = "lockbox"
    is_simulated = True
    credentials = LockboxCredentials

    def open(self, client_id: UUID, credentials: Credentials) -> Lockbox:
        assert isinstance(credentials, LockboxCredentials)
        hosts.pin(
            credentials.host,
            credentials.port,
            broker=self.name,
            own=("lockbox.example",),
            resolve=lambda host, port: ["93.184.216.34"],
        )
        OPENED.append(credentials)
        return Lockbox(credentials)


ADAPTER = LockboxAdapter()
