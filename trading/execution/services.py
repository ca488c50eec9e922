"""Orders: intend, send, learn the outcome. Money moves here, once.

The intent is committed before anything is sent. What was sent and not answered is unknown, never failed: the venue is
asked for it by its id. Fills count by the venue's execution id.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    Execution,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
    Side,
    Ticket,
)
from trading.execution import trail
from trading.execution.models import OPEN, Fill, Order, OrderState, PortfolioSnapshot, Position
from trading.execution.planning import Planned, Rules, client_order_id
from trading.marketdata import selectors as market
from trading.risk import services as risk
from trading.risk.limits import Book, Proposal
from trading.tenants import parameters

log = structlog.get_logger("quantum.execution")


STALE_AFTER = timedelta(minutes=5)
"""An intent older than this is not sent any more."""


class Hold(Protocol):
    """What a sender holds while it works: a transaction that fails once the work is another's."""

    def __call__(self) -> AbstractContextManager[None]:
        """A transaction under the fence."""


def rules(client_id: UUID, broker: Broker) -> Rules:
    """The rules of a cycle, from what holds for the client and from the venue."""
    now = parameters.in_force(client_id)
    return Rules(
        min_notional=now.decimal("QT_EXECUTION_MIN_NOTIONAL"),
        max_orders=int(now.values["QT_EXECUTION_MAX_ORDERS"]),
        cash_buffer=now.decimal("QT_EXECUTION_CASH_BUFFER"),
        allow_partial=bool(now.values["QT_EXECUTION_ALLOW_PARTIAL"]),
        lot=broker.lot,
        max_notional=now.decimal("QT_MAX_NOTIONAL_PER_TRADE"),
    )


def intend(client_id: UUID, run_id: UUID, planned: Sequence[Planned], *, broker: str) -> list[Order]:
    """Review each planned order and store it as intended or refused, in the caller's transaction, once for a run."""
    existing = list(Order.objects.filter(run_id=run_id).order_by("sequence"))
    if existing:
        return existing
    return [_intend_one(client_id, run_id, sequence, order, broker) for sequence, order in enumerate(planned, 1)]


def _intend_one(client_id: UUID, run_id: UUID, sequence: int, planned: Planned, broker: str) -> Order:
    quote = market.quote(planned.symbol)
    previous = planned.price if quote is None else quote.previous
    proposal = Proposal(planned.symbol, planned.side, planned.quantity, planned.price, previous)
    order = Order(
        client_id=client_id,
        run_id=run_id,
        sequence=sequence,
        client_order_id=client_order_id(client_id, run_id, sequence),
        broker=broker,
        symbol=planned.symbol,
        side=planned.side,
        quantity=planned.quantity,
        reference_price=planned.price,
        previous_price=previous,
        state=OrderState.INTENDED,
    )
    answer = risk.review(client_id, order.client_order_id, proposal, read_book=lambda: read_book(client_id))
    if isinstance(answer, risk.Refusal):
        order.state = OrderState.REFUSED
        order.reason = f"{answer.limit}: {answer.breach.message}"[:300]
        order.finished_at = timezone.now()
    order.save(force_insert=True)
    return order


def read_book(client_id: UUID) -> Book:
    """A client's exposure now, as the review wants it."""
    held = {row.symbol: row.quantity for row in Position.objects.filter(client_id=client_id).exclude(quantity=0)}
    quotes = {symbol: market.quote(symbol) for symbol in held}
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = Fill.objects.filter(client_id=client_id, time__gte=midnight).aggregate(total=Sum("realised_pnl"))
    return Book(
        quantities=held,
        reserved_buys={},
        reserved_sells={},
        prices={symbol: quote.price for symbol, quote in quotes.items() if quote is not None},
        realised_today=today["total"] or Decimal(0),
    )


def submit(order: Order, broker: Broker, *, hold: Hold) -> Order:
    """Bring ``order`` to its outcome from wherever it stands; nothing is ever sent twice.

    ``hold`` opens the sender's fenced transaction. An order that was sent before is asked for, not sent again, unless
    the venue does not have it, would recognise its id, and the intent is fresh. Raises `BrokerUnavailable` or
    `BrokerRefused` when it was surely not taken.
    """
    if order.state == OrderState.INTENDED:
        if timezone.now() - order.created_at > STALE_AFTER:
            return _withdraw(order, "stale: the price that it was meant for is long gone", hold)
        answer = risk.approved(order.client_id, order.client_order_id, _proposal(order))
        if isinstance(answer, risk.Refusal):
            return _withdraw(order, f"{answer.limit}: {answer.breach.message}", hold)
        return _send(order, answer, broker, hold)
    if order.state in (OrderState.SENT, OrderState.UNKNOWN):
        return resolve(order, broker, hold=hold)
    return order


def _proposal(order: Order) -> Proposal:
    return Proposal(order.symbol, Side(order.side), order.quantity, order.reference_price, order.previous_price)


def _send(order: Order, approval: risk.ApprovedOrder, broker: Broker, hold: Hold) -> Order:
    was_sent = order.state != OrderState.INTENDED  # the venue may have it already, or get it late
    with risk.sending() as refusal:
        if refusal is not None:
            reason = f"{refusal.limit}: {refusal.breach.message}"
            return _mark_unknown(order, reason, hold) if was_sent else _withdraw(order, reason, hold)
        with hold():
            is_ours = Order.objects.filter(id=order.id, state=order.state).update(
                state=OrderState.SENT, sent_at=timezone.now()
            )
            if is_ours:
                trail.sent(order)
        if not is_ours:  # somebody else has moved it on since it was read
            order.refresh_from_db()
            return order
        order.state = OrderState.SENT
        proposal = approval.proposal
        ticket = Ticket(approval.client_order_id, proposal.symbol, proposal.side, proposal.quantity)
        try:
            report = broker.place(ticket)
        except OutcomeUnknown as error:
            log.warning("order.unknown", client_order_id=order.client_order_id, error=str(error))
            return _mark_unknown(order, str(error), hold)
        except (BrokerUnavailable, BrokerRefused) as error:
            if was_sent:
                return _mark_unknown(order, f"the venue did not take it again: {error}", hold)
            with hold():
                Order.objects.filter(id=order.id, state=OrderState.SENT).update(state=OrderState.INTENDED, sent_at=None)
                trail.note("not_taken", order, reason=str(error)[:300])
            raise
        except BrokerError as error:  # anything else may have happened after the order was taken
            log.warning("order.unknown", client_order_id=order.client_order_id, error=str(error))
            return _mark_unknown(order, str(error), hold)
    return record(order, report, hold=hold)


def settle_leftovers(client_id: UUID, run_id: UUID, broker: Broker, *, hold: Hold) -> list[Order]:
    """Learn what became of orders that other runs sent, and withdraw what they never did; the orders touched.

    Call it before planning: what an earlier run's order has bought must not be bought again.
    """
    left = Order.objects.filter(client_id=client_id, broker=broker.name, state__in=OPEN).exclude(run_id=run_id)
    return [
        _withdraw(order, "its run ended before it was sent", hold)
        if order.state == OrderState.INTENDED
        else resolve(order, broker, hold=hold)
        for order in left.order_by("id")
    ]


def resolve(order: Order, broker: Broker, *, hold: Hold) -> Order:
    """Learn what became of an order that was sent: the venue is asked for its id."""
    try:
        report = broker.order(order.client_order_id, symbol=order.symbol)
    except BrokerError as error:
        return _mark_unknown(order, f"the venue could not be asked: {error}", hold)
    if report is not None:
        return record(order, report, hold=hold)
    if broker.capabilities.deduplicates_client_ids and timezone.now() - order.created_at <= STALE_AFTER:
        answer = risk.approved(order.client_id, order.client_order_id, _proposal(order))
        if isinstance(answer, risk.ApprovedOrder):
            return _send(order, answer, broker, hold)
    return _mark_unknown(order, "the venue does not show it, which is no proof that it has not taken it", hold)


def record(order: Order, report: OrderReport, *, hold: Hold) -> Order:
    """Write what the venue reported: fills, the position, the order's state, and the freed reservation, at once."""
    with hold():
        locked = Order.objects.select_for_update(no_key=True).get(id=order.id)
        was_open = locked.state in OPEN
        booked = [execution for execution in report.executions if _book(locked, execution)]
        _total(locked)
        locked.broker_order_id = report.broker_order_id[:64]
        locked.reason = report.reason[:300]
        if _is_over(locked, report):
            locked.state = _final_state(locked, report)
            locked.finished_at = timezone.now()
            risk.settle(locked.client_order_id)
        elif locked.state == OrderState.UNKNOWN:
            locked.state = OrderState.SENT
        locked.save()
        trail.booked(locked, booked)
        if was_open and locked.state not in OPEN:
            trail.ended(locked)
    return locked


def _is_over(order: Order, report: OrderReport) -> bool:
    """Whether nothing more will come of it; a venue that says ``filled`` before it shows every execution owes some.

    What it took is the quantity rounded down to its lot.
    """
    owes = report.status is OrderStatus.FILLED and order.filled_quantity < (report.quantity or order.quantity)
    return report.is_final and not owes


def _final_state(order: Order, report: OrderReport) -> OrderState:
    if order.filled_quantity == order.quantity:
        return OrderState.FILLED
    if order.filled_quantity > 0:
        return OrderState.PARTIALLY_FILLED
    return OrderState.REJECTED if report.status is OrderStatus.REJECTED else OrderState.WITHDRAWN


def _book(order: Order, execution: Execution) -> bool:
    """Count one execution; whether it was not counted already."""
    if Fill.objects.filter(
        client_id=order.client_id, broker=order.broker, execution_id=execution.execution_id
    ).exists():
        return False
    position, _ = Position.objects.get_or_create(client_id=order.client_id, symbol=order.symbol)
    position = Position.objects.select_for_update(no_key=True).get(id=position.id)
    signed = Side(order.side).sign * execution.quantity
    realised = apply_fill(position, signed - execution.fee_quantity, execution.price) - execution.fee
    position.realised_pnl += realised
    position.save()
    Fill.objects.create(
        client_id=order.client_id,
        order=order,
        broker=order.broker,
        execution_id=execution.execution_id,
        symbol=order.symbol,
        quantity=signed,
        price=execution.price,
        fee=execution.fee,
        fee_quantity=execution.fee_quantity,
        realised_pnl=realised,
        time=execution.time,
    )
    return True


def apply_fill(position: Position, signed: Decimal, price: Decimal) -> Decimal:
    """Move ``position`` by ``signed`` units at ``price``; the profit on what that closed, by average cost."""
    held, cost = position.quantity, position.average_cost
    position.quantity = held + signed
    if held == 0 or (held > 0) == (signed > 0):
        position.average_cost = ((abs(held) * cost + abs(signed) * price) / abs(held + signed)).quantize(
            Decimal("1e-8")
        )
        return Decimal(0)
    closed = min(abs(held), abs(signed))
    profit = closed * (price - cost) * (1 if held > 0 else -1)
    if position.quantity == 0:
        position.average_cost = Decimal(0)
    elif abs(signed) > abs(held):
        position.average_cost = price
    return profit.quantize(Decimal("1e-8"))


def _total(order: Order) -> None:
    fills = list(order.fills.all())
    filled = sum((abs(fill.quantity) for fill in fills), Decimal(0))
    order.filled_quantity = filled
    order.fees = sum((fill.fee for fill in fills), Decimal(0))
    if filled > 0:
        value = sum((abs(fill.quantity) * fill.price for fill in fills), Decimal(0))
        order.average_price = (value / filled).quantize(Decimal("1e-8"))


def _mark_unknown(order: Order, reason: str, hold: Hold) -> Order:
    with hold():
        was_known = order.state != OrderState.UNKNOWN
        open_still = Order.objects.filter(id=order.id, state__in=OPEN)
        if open_still.update(state=OrderState.UNKNOWN, reason=reason[:300]) and was_known:
            trail.note("unknown", order, reason=reason[:300])
    order.refresh_from_db()
    return order


def _withdraw(order: Order, reason: str, hold: Hold) -> Order:
    """An order that was never sent and will not be."""
    with hold():
        if Order.objects.filter(id=order.id, state=OrderState.INTENDED).update(
            state=OrderState.WITHDRAWN, reason=reason[:300], finished_at=timezone.now()
        ):
            risk.settle(order.client_order_id)
            trail.note("withdrawn", order, reason=reason[:300])
    order.refresh_from_db()
    return order


class NotForgotten(ValueError):
    """The order's outcome is known, or may yet become known by itself."""


def write_off(order_id: UUID, *, by: str) -> Order:
    """Close an order of which the venue has told ``by`` that it was never taken; its reservation is freed.

    Raises `NotForgotten` unless it is sent or unknown, nothing of it is filled, and it is so old that no sender can
    still be at it.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update(no_key=True).get(id=order_id)
        if order.state not in (OrderState.SENT, OrderState.UNKNOWN):
            raise NotForgotten(f"it is {order.get_state_display().lower()}")
        if order.filled_quantity > 0:
            raise NotForgotten("the venue has filled a part of it")
        if timezone.now() - (order.sent_at or order.created_at) <= STALE_AFTER:
            raise NotForgotten(f"it was sent less than {STALE_AFTER.seconds // 60} minutes ago")
        order.state = OrderState.WITHDRAWN
        order.reason = f"written off by {by}: the venue never took it"[:300]
        order.finished_at = timezone.now()
        order.save()
        risk.settle(order.client_order_id)
        trail.note("written_off", order, by=by)
    return order


def snapshot(client_id: UUID, run_id: UUID, *, cash: Decimal, now: datetime) -> PortfolioSnapshot:
    """Keep what the client has now; once for a run."""
    rows = []
    gross = net = Decimal(0)
    for position in Position.objects.filter(client_id=client_id).exclude(quantity=0).order_by("symbol"):
        quote = market.quote(position.symbol)
        price = position.average_cost if quote is None else quote.price
        value = position.quantity * price
        gross += abs(value)
        net += value
        rows.append(
            {
                "symbol": position.symbol,
                "quantity": f"{position.quantity.normalize():f}",
                "price": f"{price.normalize():f}",
                "value": f"{value:.2f}",
                "unrealised_pnl": f"{(price - position.average_cost) * position.quantity:.2f}",
            }
        )
    kept, _ = PortfolioSnapshot.objects.get_or_create(
        run_id=run_id,
        defaults={
            "client_id": client_id,
            "time": now,
            "cash": cash,
            "equity": cash + net,
            "gross_exposure": gross,
            "positions": rows,
        },
    )
    return kept


def in_transaction() -> AbstractContextManager[None]:
    """A hold for whoever sends without a run: a plain transaction."""
    return transaction.atomic()
