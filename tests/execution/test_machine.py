"""Orders, fills and positions on the real database against a model that only adds up, under whatever a venue does.

The venue takes, loses, fills, overfills, corrects, cancels and answers late, in whatever order hypothesis thinks of;
reports reach us twice, in part, and after newer ones.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.execution.conftest import make_market, quoted
from trading.brokers.base import (
    BrokerRefused,
    BrokerUnavailable,
    Capabilities,
    Execution,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
    Side,
    Ticket,
    TimeInForce,
)
from trading.core.scope import platform_scope
from trading.execution import books, changes, outcomes, services
from trading.execution.models import Fill, Order, Position
from trading.execution.outcomes import STALE_AFTER
from trading.execution.planning import Planned
from trading.execution.states import AT_VENUE, LIVE, TRANSITIONS, OrderState
from trading.marketdata.models import Candle
from trading.risk.models import Guard, Reservation
from trading.tenants.models import Client

HOLD = services.in_transaction
AT = datetime(2026, 11, 20, tzinfo=UTC)
PRICE = Decimal(100)
SYMBOLS = ("AAA", "BBB")
HOWS = ("takes", "takes", "takes", "rejects", "loses the answer", "loses the request", "unreachable")

quantities = st.integers(1, 40).map(lambda units: Decimal(units) / 8)
prices = st.integers(9_000, 11_000).map(lambda cents: Decimal(cents) / 100)


@dataclass
class Kept:
    """An order as the venue has it."""

    ticket: Ticket
    status: OrderStatus = OrderStatus.ACCEPTED
    parts: dict[str, Execution] = field(default_factory=dict)

    def report(self) -> OrderReport:
        own = self.ticket.client_order_id
        return OrderReport(own, f"v-{own}", self.status, tuple(self.parts.values()), quantity=self.ticket.quantity)


class Exchange:
    """A venue that does as it is told, with a ledger of its own."""

    name = "exchange"
    lot = Decimal("0.125")

    def __init__(self, *, deduplicates: bool) -> None:
        self.capabilities = Capabilities(
            deduplicates_client_ids=deduplicates, queries_by_client_id=True, booking_horizon=timedelta(seconds=20)
        )
        self.lost: dict[str, Ticket] = {}
        self.orders: dict[str, Kept] = {}
        self.taken: list[str] = []
        self.sent: list[str] = []
        self.how = "takes"
        self.is_away = False

    def place(self, ticket: Ticket) -> OrderReport:
        if self.how == "unreachable":  # surely not taken, so that it may be sent again
            raise BrokerUnavailable("no route", broker=self.name, operation="place", code="down")
        self.sent.append(ticket.client_order_id)
        if self.how == "loses the request":
            self.lost[ticket.client_order_id] = ticket
        elif ticket.client_order_id not in self.orders:
            self.taken.append(ticket.client_order_id)
            status = OrderStatus.REJECTED if self.how == "rejects" else OrderStatus.ACCEPTED
            self.orders[ticket.client_order_id] = Kept(ticket, status)
        if self.how.startswith("loses"):
            raise OutcomeUnknown("no answer", broker=self.name, operation="place", code="timeout")
        return self.orders[ticket.client_order_id].report()

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        if self.is_away:
            raise BrokerUnavailable("no route", broker=self.name, operation="order", code="down")
        kept = self.orders.get(client_order_id)
        return None if kept is None else kept.report()

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        if self.is_away:
            raise OutcomeUnknown("no answer", broker=self.name, operation="cancel", code="timeout")
        kept = self.orders.get(client_order_id)
        if kept is None:
            raise BrokerRefused("unknown", broker=self.name, operation="cancel", code="unknown_order")
        if kept.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED):
            kept.status = OrderStatus.CANCELLED
        return kept.report()


def reachable() -> dict[str, set[str]]:
    """From each state, itself and all that the table leads to."""
    found: dict[str, set[str]] = {}
    for start in OrderState:
        seen, todo = {start}, [start]
        while todo:
            for after in TRANSITIONS[todo.pop()] - seen:
                seen.add(after)
                todo.append(after)
        found[start] = {str(state) for state in seen}
    return found


REACHABLE = reachable()


class Life(RuleBasedStateMachine):
    """What may happen to a client's orders at one venue."""

    placed = Bundle("placed")
    reports = Bundle("reports")

    def __init__(self) -> None:
        super().__init__()
        self.scope = platform_scope()
        self.scope.__enter__()
        self.numbers = count(1)
        self.booked: dict[str, tuple[str, str, Execution]] = {}  # by execution id: order, symbol, what stands
        self.sides: dict[str, tuple[str, Side]] = {}
        self.states: dict[str, str] = {}
        self.revived: set[str] = set()

    def teardown(self) -> None:
        self.scope.__exit__()

    @initialize(target=placed, deduplicates=st.booleans(), first=quantities, second=quantities)
    def open(self, deduplicates: bool, first: Decimal, second: Decimal) -> Any:
        """A client with a purchase and a sale that rest."""
        Guard.objects.get_or_create(id=1)
        if not Candle.objects.exists():
            make_market(dict.fromkeys(SYMBOLS, (100, 100)))
        self.client = Client.objects.create(name=f"Desk {uuid4()}")
        self.venue: Any = Exchange(deduplicates=deduplicates)
        bought = self.place("AAA", Side.BUY, first, "takes")
        return multiple(bought, self.place("AAA", Side.SELL, second, "takes"))

    # --- What we do ---------------------------------------------------------------------------------------------------

    @rule(target=placed, symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(Side), quantity=quantities,
          how=st.sampled_from(HOWS))  # fmt: skip
    def place(self, symbol: str, side: Side, quantity: Decimal, how: str) -> Any:
        planned = Planned(symbol, side, quantity, PRICE, limit_price=PRICE, time_in_force=TimeInForce.GTC)
        with transaction.atomic():
            (order,) = services.intend(
                self.client.id, uuid4(), [planned], broker="exchange", quotes={symbol: quoted(symbol, PRICE)}
            )
        self.sides[order.client_order_id] = symbol, side
        self.submit(order.client_order_id, how)
        return order.client_order_id

    @rule(own=placed, how=st.sampled_from(HOWS))
    def submit(self, own: str, how: str) -> None:
        self.venue.how = how
        try:
            services.submit(self.get(own), self.venue, hold=HOLD)
        except BrokerUnavailable:
            assert self.get(own).state == OrderState.INTENDED
        self.learnt(own)

    @rule(own=placed, is_away=st.booleans())
    def resolve(self, own: str, is_away: bool) -> None:
        order = self.get(own)
        if order.state not in AT_VENUE:
            return
        self.venue.is_away, self.venue.how = is_away, "takes"
        after = services.resolve(order, self.venue, hold=HOLD)
        self.venue.is_away = False
        if is_away:
            assert after.state in (OrderState.UNKNOWN, order.state)
        else:
            self.learnt(own)

    @rule(own=placed, is_away=st.booleans())
    def cancel(self, own: str, is_away: bool) -> None:
        self.venue.is_away = is_away
        try:
            changes.cancel(self.get(own).id, self.venue, by="model", hold=HOLD, now=timezone.now())
        except changes.NotCancelled:
            assert self.get(own).state not in LIVE
        self.venue.is_away = False
        if not is_away:
            self.learnt(own)

    @rule(own=placed)
    def write_off(self, own: str) -> None:
        order = self.get(own)
        Order.objects.filter(id=order.id).update(sent_at=order.sent_at and timezone.now() - STALE_AFTER * 2)
        try:
            outcomes.write_off(order.id, by="model")
        except outcomes.NotForgotten:
            waits = order.state in (OrderState.SENT, OrderState.UNKNOWN)
            assert not waits or order.filled_quantity > 0 or order.sent_at is None

    @rule(own=placed)
    def miss(self, own: str) -> None:
        """The venue has had its time to book it, and was found without it a moment ago."""
        now = timezone.now()
        Order.objects.filter(client_order_id=own, state__in=AT_VENUE).update(
            sent_at=now - timedelta(minutes=1), missed_at=now - timedelta(seconds=5)
        )
        before, kept = self.get(own), self.venue.orders.get(own)
        self.resolve(own, is_away=False)
        if before.state in (OrderState.SENT, OrderState.UNKNOWN) and not services.is_acknowledged(before):
            assert (self.get(own).state == OrderState.NOT_BOOKED) == (kept is None)

    @rule(own=placed)
    def grow_old(self, own: str) -> None:
        Order.objects.filter(client_order_id=own).update(created_at=timezone.now() - STALE_AFTER - timedelta(seconds=9))

    # --- What the venue does ------------------------------------------------------------------------------------------

    @rule(own=placed, quantity=quantities, price=prices, keeps=st.booleans(), at_once=st.booleans())
    def fill(self, own: str, quantity: Decimal, price: Decimal, keeps: bool, at_once: bool) -> None:
        """More than was ordered too, and after the end."""
        kept = self.venue.orders.get(own)
        if kept is None:
            return
        fee = Decimal("0.001") * quantity if keeps and kept.ticket.side is Side.BUY else Decimal(0)
        key = f"{own}-{next(self.numbers)}"
        kept.parts[key] = Execution(key, quantity, price, fee * price, AT, fee_quantity=fee)
        filled = sum((part.quantity for part in kept.parts.values()), Decimal(0))
        if kept.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED):
            is_all = filled >= kept.ticket.quantity
            kept.status = OrderStatus.FILLED if is_all else OrderStatus.PARTIALLY_FILLED
        if at_once:
            self.hear(kept.report())

    @rule(own=placed, price=prices)
    def correct(self, own: str, price: Decimal) -> None:
        kept = self.venue.orders.get(own)
        if kept is None or not kept.parts:
            return
        key = next(iter(kept.parts))
        kept.parts[key] = replace(kept.parts[key], price=price)
        self.hear(kept.report())

    @rule(own=placed)
    def book_late(self, own: str) -> None:
        """What was lost arrives after all, past every horizon too."""
        ticket = self.venue.lost.pop(own, None)
        if ticket is not None and own not in self.venue.orders:
            self.venue.taken.append(own)
            self.venue.orders[own] = Kept(ticket)

    @rule(own=placed)
    def end(self, own: str) -> None:
        kept = self.venue.orders.get(own)
        if kept is not None and kept.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED):
            kept.status = OrderStatus.CANCELLED

    # --- What reaches us ----------------------------------------------------------------------------------------------

    @rule(target=reports, own=placed)
    def report(self, own: str) -> Any:
        kept = self.venue.orders.get(own)
        return multiple() if kept is None else kept.report()

    @rule(said=reports)
    def hear(self, said: OrderReport) -> None:
        """Now or much later, once or several times."""
        before = self.get(said.client_order_id)
        services.record(before, said, hold=HOLD)
        self.book(said.client_order_id, said.executions)
        after = self.get(said.client_order_id)
        if before.state not in LIVE and after.state in LIVE:
            self.revived.add(said.client_order_id)

    @rule(own=placed)
    def hear_at_once(self, own: str) -> None:
        kept = self.venue.orders.get(own)
        if kept is not None:
            self.hear(kept.report())

    @rule(own=placed)
    def hear_of_a_fill(self, own: str) -> None:
        kept = self.venue.orders.get(own)
        if kept is not None and kept.parts:
            part = list(kept.parts.values())[-1]
            before = self.get(own)
            outcomes.record_fills(before, [part], hold=HOLD)
            self.book(own, [part])
            if before.state not in LIVE and self.get(own).state in LIVE:
                self.revived.add(own)

    # --- The model ----------------------------------------------------------------------------------------------------

    def get(self, own: str) -> Order:
        return Order.objects.get(client_order_id=own)

    def learnt(self, own: str) -> None:
        """The venue was asked, or answered: all that it has of the order is known, if it was heard."""
        order, kept = self.get(own), self.venue.orders.get(own)
        if kept is None or order.broker_order_id == "" or order.state == OrderState.UNKNOWN:
            return
        shown = {fill.execution_id for fill in Fill.objects.filter(order=order)}
        if shown >= kept.parts.keys():
            self.book(own, kept.parts.values())

    def book(self, own: str, parts: Any) -> None:
        symbol, _ = self.sides[own]
        for part in parts:
            self.booked[part.execution_id] = own, symbol, part

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "client"):
            return
        fills = list(Fill.objects.filter(client=self.client).select_related("order"))
        held = dict.fromkeys(SYMBOLS, Decimal(0))
        flows = dict.fromkeys(SYMBOLS, Decimal(0))
        by_order: dict[str, Decimal] = {}
        for own, symbol, part in self.booked.values():
            sign = self.sides[own][1].sign
            held[symbol] += sign * part.quantity - part.fee_quantity
            by_order[own] = by_order.get(own, Decimal(0)) + part.quantity
        assert {fill.execution_id for fill in fills} == set(self.booked), "each execution counts once"
        for fill in fills:
            flows[fill.symbol] -= (fill.quantity - fill.fee_quantity) * fill.price + fill.fee
        positions = {row.symbol: row for row in Position.objects.filter(client=self.client)}
        for symbol in SYMBOLS:
            row = positions.get(symbol, Position(quantity=Decimal(0), average_cost=Decimal(0), realised_pnl=Decimal(0)))
            assert row.quantity == held[symbol], "to the last decimal"
            worth = row.quantity * row.average_cost
            assert abs(row.realised_pnl - flows[symbol] - worth) < Decimal("0.0001"), "what came in and what is held"
        assert books.mismatches(self.client.id) == []
        for order in Order.objects.filter(client=self.client):
            assert order.filled_quantity == by_order.get(order.client_order_id, 0)

    @invariant()
    def keeps_to_the_table(self) -> None:
        if not hasattr(self, "client"):
            return
        reserved = {row.client_order_id: abs(row.quantity) for row in Reservation.objects.filter(client=self.client)}
        for order in Order.objects.filter(client=self.client).exclude(state=OrderState.REFUSED):
            own = order.client_order_id
            before = self.states.get(own, OrderState.INTENDED)
            assert order.state in REACHABLE[before], f"{before} to {order.state}"
            self.states[own] = order.state
            if order.filled_quantity >= order.quantity:
                assert order.state == OrderState.FILLED
            if order.state == OrderState.FILLED:
                assert order.filled_quantity >= order.quantity
            if order.state in LIVE and own not in self.revived:
                assert reserved[own] == order.left, "what may still come of it is reserved"
            if order.state not in LIVE:
                assert own not in reserved, "nothing is reserved for what has ended"

    @invariant()
    def is_taken_once(self) -> None:
        if not hasattr(self, "client"):
            return
        assert len(self.venue.taken) == len(set(self.venue.taken))
        if not self.venue.capabilities.deduplicates_client_ids:
            reached = [own for own in self.venue.sent if own in self.venue.orders]
            assert len(reached) == len(set(reached)), "never sent again to a venue that would book it twice"


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(600)
def test_whatever_happens_orders_fills_and_positions_agree(settings: Any) -> None:
    settings.QT_MAX_NOTIONAL_PER_TRADE = settings.QT_MAX_DAILY_LOSS = Decimal(1_000_000)
    settings.QT_MAX_PRICE_MOVE_PCT = Decimal(50)
    run_state_machine_as_test(
        Life,
        settings=bounds(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
