"""Production code broken on purpose, in a drill's own processes alone: each form must make the drill fail."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx

from trading.brokers import http
from trading.brokers.adapters.binance.session import BinanceBroker
from trading.brokers.adapters.ibkr.broker import IbkrBroker
from trading.brokers.adapters.phillip.session import PhillipBroker
from trading.brokers.base import Broker, OrderReport, OrderStatus, OutcomeUnknown, Ticket
from trading.execution import outcomes, services
from trading.execution.models import Order
from trading.execution.states import OrderState

SESSIONS: tuple[type[Broker], ...] = (BinanceBroker, PhillipBroker, IbkrBroker)


def _around_place(change: Callable[[Callable[[Any, Ticket], OrderReport], Any, Ticket], OrderReport]) -> None:
    for session in SESSIONS:
        place = session.place

        def changed(self: Any, ticket: Ticket, place: Any = place) -> OrderReport:
            return change(place, self, ticket)

        session.place = changed  # type: ignore[method-assign]


def without_intent() -> None:
    """That an order goes out is not written down before it does."""

    def change(place: Any, session: Any, ticket: Ticket) -> OrderReport:
        Order.objects.filter(client_order_id=ticket.client_order_id).update(state=OrderState.INTENDED)
        report: OrderReport = place(session, ticket)
        return report

    _around_place(change)


def without_asking() -> None:
    """What was sent and not answered is sent again, and the venue not asked."""
    for session in SESSIONS:
        session.capabilities = replace(session.capabilities, deduplicates_client_ids=True)
        session.order = lambda self, client_order_id, *, symbol: None  # type: ignore[method-assign]


def without_unknown() -> None:
    """An order without an answer is taken for one that was rejected."""

    def change(place: Any, session: Any, ticket: Ticket) -> OrderReport:
        try:
            report: OrderReport = place(session, ticket)
        except OutcomeUnknown:
            return OrderReport(ticket.client_order_id, "", OrderStatus.REJECTED)
        return report

    _around_place(change)


def without_care() -> None:
    """A request without an answer is repeated at once, whatever it does."""

    def send(self: Any, request: httpx.Request, **_: Any) -> httpx.Response:
        try:
            answer: httpx.Response = self._client.send(request)
        except httpx.TransportError:
            answer = self._client.send(request)
        return answer

    http.Line.send = send  # type: ignore[method-assign]


def without_horizon() -> None:
    """A venue that does not show an order is believed at once."""
    services._may_be_booked_until = lambda order, broker: order.sent_at
    services.CONFIRMED_AFTER = timedelta(0)  # type: ignore[attr-defined]  # the name that its own code uses


def without_fills() -> None:
    """An order's last execution is not taken over."""
    record = outcomes.record

    def forgetting(order: Order, report: OrderReport, **options: Any) -> Order:
        return record(order, replace(report, executions=report.executions[:-1]), **options)

    outcomes.record = forgetting
    services.record = forgetting  # type: ignore[attr-defined]  # the name that its own code uses


KNOWN: dict[str, Callable[[], None]] = {
    "intent": without_intent,
    "asking": without_asking,
    "unknown": without_unknown,
    "care": without_care,
    "horizon": without_horizon,
    "fills": without_fills,
}
