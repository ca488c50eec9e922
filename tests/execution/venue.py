"""A venue in memory with a ledger of its own, which can be told to fail in the ways that venues do."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import Literal

from trading.brokers.base import (
    Account,
    BrokerUnavailable,
    Capabilities,
    Execution,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
    Ticket,
)

Fault = Literal["", "unreachable", "accepts and hangs up", "loses it and hangs up"]


class Venue:
    """Fills all at 100, for a fee of 1."""

    name = "fake"
    lot = Decimal("0.001")

    def __init__(self, *, deduplicates: bool = True, horizon: timedelta | None = None) -> None:
        self.deduplicates = deduplicates
        self.horizon = horizon
        self.fault: Fault = ""
        self.is_hiding = False
        self.submissions: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self._reports: dict[str, OrderReport] = {}
        self._lock = Lock()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            deduplicates_client_ids=self.deduplicates, queries_by_client_id=True, booking_horizon=self.horizon
        )

    def place(self, ticket: Ticket) -> OrderReport:
        with self._lock:
            self.submissions[ticket.client_order_id] += 1
            if self.fault == "unreachable":
                raise BrokerUnavailable("no route", broker=self.name, operation="submit", code="down")
            if self.fault != "loses it and hangs up":
                self._accept(ticket)
            if self.fault:
                raise OutcomeUnknown("hung up", broker=self.name, operation="submit", code="lost")
            return self._reports[ticket.client_order_id]

    def _accept(self, ticket: Ticket) -> None:
        known = ticket.client_order_id
        if known in self._reports and self.deduplicates:
            return
        self.accepted[known] += 1
        part = Execution(
            f"e-{sum(self.accepted.values())}", ticket.quantity, Decimal(100), Decimal(1), datetime.now(UTC)
        )
        self._reports[known] = OrderReport(known, f"v-{known}", OrderStatus.FILLED, (part,))

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        return None if self.is_hiding else self._reports.get(client_order_id)

    def account(self) -> Account:
        return Account(Decimal(1_000_000), "USD")
