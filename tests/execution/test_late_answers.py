"""Venues that answer in parts: what they have shown counts, what they owe stays open."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.execution.conftest import Venue, buy, intend
from trading.brokers.base import Execution, OrderReport, OrderStatus
from trading.execution import services
from trading.execution.models import Order, OrderState, Position
from trading.risk.models import Reservation
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = services.in_transaction
AT = datetime(2026, 11, 20, tzinfo=UTC)


def _part(number: int, quantity: str) -> Execution:
    return Execution(f"x{number}", Decimal(quantity), Decimal(100), Decimal(0), AT)


def _unknown(desk: Client, venue: Venue) -> Order:
    venue.fails = ["lost answer"]
    (order,) = intend(desk, buy("5"))
    order = services.submit(order, venue, hold=HOLD)
    assert order.state == OrderState.UNKNOWN
    return order


def _held(desk: Client) -> Decimal:
    return Position.objects.get(client=desk, symbol="AAA").quantity


def test_filled_is_believed_when_every_execution_is_there(desk: Client, market: None, venue: Venue) -> None:
    order = _unknown(desk, venue)
    report = OrderReport(order.client_order_id, "v", OrderStatus.FILLED, (_part(1, "2"),))
    order = services.record(order, report, hold=HOLD)
    assert (order.state, order.filled_quantity, order.finished_at) == (OrderState.PARTIALLY_FILLED, 2, None)
    assert (_held(desk), Reservation.objects.count()) == (2, 1)
    order = services.record(order, replace(report, executions=(_part(1, "2"), _part(2, "3"))), hold=HOLD)
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, 5)
    assert (_held(desk), Reservation.objects.count()) == (5, 0)


def test_a_part_that_was_cancelled_with_its_rest_is_final(desk: Client, market: None, venue: Venue) -> None:
    order = _unknown(desk, venue)
    open_still = OrderReport(order.client_order_id, "v", OrderStatus.PARTIALLY_FILLED, (_part(1, "2"),))
    assert services.record(order, open_still, hold=HOLD).state == OrderState.PARTIALLY_FILLED
    order = services.record(order, replace(open_still, status=OrderStatus.CANCELLED), hold=HOLD)
    assert (order.state, order.filled_quantity, _held(desk)) == (OrderState.EXPIRED, 2, 2)
    assert not Reservation.objects.exists()


def test_what_the_venue_keeps_for_its_fee_is_not_held(desk: Client, market: None, venue: Venue) -> None:
    """5 bought at 100, of which 0.005 is the fee: 500 is spent, 4.995 is held at 100, and 0.50 is lost."""
    order = _unknown(desk, venue)
    part = replace(_part(1, "5"), fee=Decimal("0.5"), fee_asset="AAA", fee_quantity=Decimal("0.005"))
    order = services.record(order, OrderReport(order.client_order_id, "v", OrderStatus.FILLED, (part,)), hold=HOLD)
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, 5)
    position = Position.objects.get(client=desk, symbol="AAA")
    assert (position.quantity, position.average_cost, position.realised_pnl) == (Decimal("4.995"), 100, Decimal("-0.5"))
