"""An order in the place of another that is open: the two never stand together, and risk reviews what grows."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from trading.brokers import registry
from trading.brokers.accounts import open_session
from trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    OrderType,
    Side,
    Ticket,
    TimeInForce,
)
from trading.brokers.instruments import Quote
from trading.execution import changes, services, trail
from trading.execution.differences import blocking
from trading.execution.exposure import book_for
from trading.execution.models import Order
from trading.execution.outcomes import SEND_WITHIN, Hold, mark_unknown, move, record, withdraw
from trading.execution.planning import client_order_id
from trading.execution.states import OrderState
from trading.jobs.models import JobRun
from trading.jobs.services import enqueue
from trading.marketdata import selectors as market
from trading.risk import services as risk
from trading.risk.limits import Breach, Proposal

log = structlog.get_logger("quantum.execution")

REPLACEABLE = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)
JOB = "order-replace"
"""The job that does what `request` asks for."""


class NotReplaceable(ValueError):
    """The order, or its venue, lets nothing stand in its place; the message says what to do instead."""


def is_replaceable(order: Order) -> bool:
    """Whether another order may stand in its place, as far as it is known here."""
    return order.state in REPLACEABLE and order.order_type == OrderType.LIMIT and order.cancel_requested_at is None


def venue_replaces(client_id: UUID, broker: str) -> bool:
    """Whether the venue can put an order in the place of another in one request. Raises `BrokerError`."""
    try:
        if registry.stand_in(broker) != broker:  # the orders of a real venue are not touched meanwhile
            return False
    except registry.UnknownBroker:
        return False
    with open_session(client_id, broker) as session:
        return session.capabilities.replaces


def request(order: Order, *, quantity: Decimal, limit_price: Decimal, by: str) -> JobRun:
    """Have a run put ``quantity`` at ``limit_price`` in the place of what is left of an order, in a transaction.

    Raises `NotReplaceable` where it is certain that it would not, and while another replacement of it is under way.
    """
    old = Order.objects.select_for_update(no_key=True).get(id=order.id)
    if not is_replaceable(old):
        why = "being cancelled" if old.cancel_requested_at and old.is_live else old.get_state_display().lower()
        raise NotReplaceable(f"It is {why}: only an open limit order is replaced.")
    refusal = risk.stopped()
    if refusal is not None:
        raise NotReplaceable(f"Nothing is sent now: {refusal.breach.message}.")
    wanted = {"order_id": str(old.id), "quantity": str(quantity), "limit_price": str(limit_price), "by": by}
    enqueued = enqueue(JOB, wanted, client_id=old.client_id, triggered_by=by)
    if not enqueued.created:
        raise NotReplaceable("It is being replaced already; wait until that is over.")
    return enqueued.run


def replace(
    order: Order, broker: Broker, *, quantity: Decimal, limit_price: Decimal, quote: Quote, by: str, hold: Hold
) -> Order:
    """Have ``quantity`` at ``limit_price`` stand in the place of what is left of ``order``; the new order.

    ``by`` is the person who wants it, which is all the approval that `AUTONOMOUS_ENABLED` asks for.
    It is refused, and the old one stays as it is, when risk does not let it grow. Whether the old one has ended is
    asked for afterwards. Raises `NotReplaceable`. Must not be called in a transaction.
    """
    if not broker.capabilities.replaces:
        raise NotReplaceable(f"{broker.name} cannot replace: cancel the order, then send another.")
    with transaction.atomic():
        old = Order.objects.select_for_update(no_key=True).get(id=order.id)
        if old.state not in REPLACEABLE or old.order_type != OrderType.LIMIT:
            raise NotReplaceable(f"it is {old.get_state_display().lower()}: only an open limit order is replaced")
        if changes.is_due_to_end(old, timezone.now()):
            raise NotReplaceable("it is being cancelled: nothing is put in its place")
        new, answer = _intend(old, quantity, limit_price, quote)
        trail.note("replacement_intended", new, replaces=old.client_order_id, by=by, state=new.state)
    if isinstance(answer, risk.Refusal):
        return new
    try:
        return _send(new, old, answer, broker, hold)
    finally:
        services.resolve(Order.objects.get(id=old.id), broker, hold=hold)


def _intend(
    old: Order, quantity: Decimal, limit_price: Decimal, quote: Quote
) -> tuple[Order, risk.ApprovedOrder | risk.Refusal]:
    side = Side(old.side)
    known = market.quote(old.symbol)
    previous = old.previous_price if known is None else known.previous
    number = Order.objects.filter(run_id=old.id).count() + 1
    own = client_order_id(old.client_id, old.id, number)
    proposal = Proposal(
        old.symbol,
        side,
        quantity,
        limit_price,
        previous,
        bid=quote.bid,
        ask=quote.ask,
        is_autonomous=False,
    )
    found = blocking(old.client_id, old.broker, old.symbol, side)
    if found is not None:
        breach = Breach(found.ours, found.theirs, f"{found}: nothing is sent until this is explained")
        answer: risk.ApprovedOrder | risk.Refusal = risk.Refusal("reconciliation", breach)
    else:
        answer = risk.review_instead(old.client_id, own, proposal, of=old.client_order_id, book=book_for(old.broker))
    refused = isinstance(answer, risk.Refusal)
    new = Order.objects.create(
        client_id=old.client_id,
        run_id=old.id,
        sequence=number,
        client_order_id=own,
        broker=old.broker,
        symbol=old.symbol,
        side=side,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        limit_price=limit_price,
        time_in_force=TimeInForce(old.time_in_force),
        expires_at=old.expires_at,
        reference_price=limit_price,
        previous_price=previous,
        state=OrderState.REFUSED if refused else OrderState.INTENDED,
        reason=f"{answer.limit}: {answer.breach.message}"[:300] if isinstance(answer, risk.Refusal) else "",
        finished_at=timezone.now() if refused else None,
    )
    return new, answer


def _send(new: Order, old: Order, approval: risk.ApprovedOrder, broker: Broker, hold: Hold) -> Order:
    with risk.sending() as lock:
        if lock.refusal is not None:
            return withdraw(new, f"{lock.refusal.limit}: {lock.refusal.breach.message}", hold=hold)
        sent_at = timezone.now()
        with hold():
            # Whoever wants it gone from here on finds the new one, which is sent.
            standing = Order.objects.select_for_update(no_key=True).get(id=old.id)
            is_wanted = not changes.is_due_to_end(standing, sent_at)
            is_ours = is_wanted and move(new, OrderState.SENT, sent_at=sent_at)
            if is_ours:
                lock.leaves(new.client_order_id, sent_at + SEND_WITHIN)
                trail.sent(new)
        if not is_wanted:
            return withdraw(new, "the order that it was to replace is being cancelled", hold=hold)
        if not is_ours:  # somebody has cancelled it meanwhile
            new.refresh_from_db()
            return new
        try:
            report = broker.replace(old.client_order_id, _ticket(new, approval, sent_at + SEND_WITHIN))
        except (BrokerUnavailable, BrokerRefused) as error:  # surely not taken: the old one stands
            with hold():
                risk.answered(new.client_order_id)
                move(new, OrderState.INTENDED, sent_at=None)
            return withdraw(new, f"the venue did not take it: {error}", hold=hold)
        except BrokerError as error:
            log.warning("order.unknown", client_order_id=new.client_order_id, error=str(error))
            return mark_unknown(new, str(error), hold=hold, is_over=True)
        return record(new, report, hold=hold)


def _ticket(new: Order, approval: risk.ApprovedOrder, send_by: datetime) -> Ticket:
    proposal = approval.proposal
    return Ticket(
        approval.client_order_id,
        proposal.symbol,
        proposal.side,
        proposal.quantity,
        OrderType.LIMIT,
        new.limit_price,
        TimeInForce(new.time_in_force),
        send_by,
    )
