"""What becomes of an order that a venue does not show: it ends past the venue's booking horizon, and no sooner."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from tests.conformance.bench import Bench, Fault
from tests.conformance.orders import limit, market
from trading.brokers.base import Broker, BrokerError, BrokerUnavailable, OrderStatus, OutcomeUnknown, Ticket
from trading.core.ids import uuid7
from trading.execution import reconciliation, services
from trading.execution.differences import blocking
from trading.execution.models import Order, Position
from trading.execution.outcomes import CONFIRMED_AFTER, SEND_WITHIN
from trading.execution.states import OrderState
from trading.tenants.models import Client
from workers.jobs.order_reconcile import SOON

HOLD = services.in_transaction
PAST = timedelta(minutes=2)


def sent(broker: Broker, ticket: Ticket, *, ago: timedelta) -> Order:
    """Our row of an order that went out so long ago, and was not answered."""
    now = timezone.now()
    return Order.objects.create(
        client=Client.objects.create(name=f"Desk {uuid7()}"), run_id=uuid7(), sequence=1, broker=broker.name,
        client_order_id=ticket.client_order_id, symbol=ticket.symbol, side=ticket.side, quantity=ticket.quantity,
        reference_price=1, previous_price=1, state=OrderState.UNKNOWN, sent_at=now - ago,
    )  # fmt: skip


def ask(order: Order, broker: Broker) -> Order:
    return services.resolve(Order.objects.get(id=order.id), broker, hold=HOLD)


def ask_again(order: Order, broker: Broker) -> Order:
    """As if the first answer had been given some seconds ago."""
    row = Order.objects.get(id=order.id)
    assert row.missed_at is not None
    Order.objects.filter(id=order.id).update(missed_at=row.missed_at - CONFIRMED_AFTER)
    return ask(order, broker)


def test_within_a_minute_every_order_has_an_outcome(bench: Bench, broker: Broker) -> None:
    """Asked again every few seconds: the horizon, the question after it, and the one that confirms."""
    horizon = broker.capabilities.booking_horizon
    assert horizon is not None
    assert horizon > timedelta(0)
    assert SEND_WITHIN + horizon + SOON + max(CONFIRMED_AFTER, SOON) <= timedelta(seconds=60)


def test_who_comes_too_late_does_not_send(bench: Bench, broker: Broker) -> None:
    late = replace(market(bench), send_by=datetime.now(UTC) - timedelta(milliseconds=1))
    with pytest.raises(BrokerUnavailable) as error:
        broker.place(late)
    assert (error.value.code, bench.booked(late.client_order_id)) == ("too_late", 0)
    assert broker.order(late.client_order_id, symbol=bench.symbol) is None
    in_time = replace(market(bench), send_by=datetime.now(UTC) + timedelta(seconds=20))
    assert broker.place(in_time).status is OrderStatus.FILLED
    if broker.capabilities.replaces:
        old = limit(bench, bench.far_bid)
        broker.place(old)
        new = replace(limit(bench, bench.far_bid), send_by=datetime.now(UTC) - timedelta(milliseconds=1))
        with pytest.raises(BrokerUnavailable) as error:
            broker.replace(old.client_order_id, new)
        assert (error.value.code, bench.booked(new.client_order_id)) == ("too_late", 0)


def test_an_order_that_never_arrived_ends_past_the_horizon(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    early = sent(
        broker, replace(ticket, client_order_id=f"{ticket.client_order_id[:20]}-early"), ago=timedelta(seconds=1)
    )
    assert (ask(early, broker).state, ask(early, broker).missed_at) == (OrderState.UNKNOWN, None)
    order = sent(broker, ticket, ago=PAST)
    assert ask(order, broker).state == OrderState.UNKNOWN
    assert ask(order, broker).state == OrderState.UNKNOWN, "at once is no confirmation"
    assert ask_again(order, broker).state == OrderState.NOT_BOOKED
    assert bench.booked(ticket.client_order_id) == 0


@pytest.mark.needs(Fault.LOST_REQUEST)
def test_an_order_that_was_lost_on_its_way_ends_past_the_horizon(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    bench.fault(Fault.LOST_REQUEST, "place")
    with pytest.raises(OutcomeUnknown):
        broker.place(ticket)
    order = sent(broker, ticket, ago=PAST)
    assert ask(order, broker).state == OrderState.UNKNOWN
    assert ask_again(order, broker).state == OrderState.NOT_BOOKED
    assert bench.booked(ticket.client_order_id) == 0


def test_an_answer_that_is_not_whole_confirms_nothing(bench: Bench, broker: Broker, fault: Fault) -> None:
    """Neither as the first nor as the second: only what the venue has answered in full counts."""
    order = sent(broker, market(bench), ago=PAST)
    for _ in range(2):
        bench.fault(fault, "order")
        try:
            services.learn(Order.objects.get(id=order.id), broker, hold=HOLD)
        except BrokerError as error:
            kept = Order.objects.get(id=order.id)
            assert (kept.state, kept.missed_at) == (OrderState.UNKNOWN, None), error
            time.sleep((error.retry_after or 0) + 0.1)
        else:  # the venue did answer: slowly, or the adapter has asked it again
            Order.objects.filter(id=order.id).update(missed_at=None)
    assert Order.objects.get(id=order.id).state == OrderState.UNKNOWN


@pytest.mark.needs(Fault.LATE_BOOKING)
def test_what_is_booked_against_all_promises_is_counted_and_blocks_its_symbol(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    bench.fault(Fault.LATE_BOOKING, "place")
    with pytest.raises(OutcomeUnknown):
        broker.place(ticket)
    order = sent(broker, ticket, ago=PAST)
    Order.objects.filter(id=order.id).update(state=OrderState.NOT_BOOKED, finished_at=timezone.now())
    deadline = time.monotonic() + 10
    while bench.booked(ticket.client_order_id) == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    reconciliation.reconcile(order.client_id, broker, hold=HOLD, now=timezone.now())
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, ticket.quantity)
    kept = Position.objects.get(client=order.client).quantity
    assert kept >= ticket.quantity * Decimal("0.99"), "less what the venue kept for its fee"
    found = blocking(order.client_id, broker.name, bench.symbol, ticket.side)
    assert found is not None
