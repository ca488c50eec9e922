"""Orders that are wanted otherwise after they were sent: cancelled, or ended by their time."""

from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction

from trading.brokers.base import Broker, BrokerError, BrokerRefused
from trading.execution import trail
from trading.execution.models import Order
from trading.execution.outcomes import STALE_AFTER, Hold, move, record, withdraw
from trading.execution.services import learn
from trading.execution.states import OrderState
from trading.risk import services as risk

log = structlog.get_logger("quantum.execution")


class NotCancelled(ValueError):
    """The order has ended, so that there is nothing to cancel."""


def request_cancel(order_id: UUID, *, by: str, now: datetime) -> Order:
    """Want an order gone: one that was not sent ends here, one that the venue has, or may have, is cancelled there.

    `cancel_at_venue` does that, and each reconciliation does until the venue has said that it is gone. Raises
    `NotCancelled` for an order that has ended.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update(no_key=True).get(id=order_id)
        if not order.is_live:
            raise NotCancelled(f"it is {order.get_state_display().lower()}")
        if order.cancel_requested_at is None:
            order.cancel_requested_at = now
            order.save(update_fields=["cancel_requested_at"])
            trail.note("cancel_requested", order, by=by)
        if order.state == OrderState.INTENDED:
            move(order, OrderState.WITHDRAWN, reason=f"cancelled by {by} before it was sent"[:300])
            risk.settle(order.client_order_id)
            trail.ended(order)
    return order


def is_due_to_end(order: Order, now: datetime) -> bool:
    """Whether what is left of it is to be cancelled: somebody wants it gone, or its time is over."""
    return order.cancel_requested_at is not None or (order.expires_at is not None and now >= order.expires_at)


def end_stale(client_id: UUID, *, hold: Hold, now: datetime) -> int:
    """Withdraw what was approved and not sent for so long that nobody sends it any more; how many.

    Otherwise the room of a run that has died would stay reserved until another cycle at the same venue.
    """
    left = Order.objects.filter(client_id=client_id, state=OrderState.INTENDED, created_at__lt=now - STALE_AFTER)
    ended = [withdraw(order, "stale: nobody has sent it, and its price is long gone", hold=hold) for order in left]
    return sum(order.state == OrderState.WITHDRAWN for order in ended)


def cancel_at_venue(order: Order, broker: Broker, *, hold: Hold) -> Order:
    """Cancel what is left of an order at its venue, and write down how it stands after that.

    Raises `BrokerError` when that is not known; asking again is safe. An order that the venue does not have is asked
    for by its id, for that is no proof yet.
    """
    if order.state == OrderState.INTENDED or not order.is_live:
        return order
    try:
        report = broker.cancel(order.client_order_id, symbol=order.symbol)
    except BrokerRefused as error:
        if error.code != "unknown_order":
            raise
        return learn(order, broker, hold=hold)
    return record(order, report, hold=hold)


def cancel(order_id: UUID, broker: Broker, *, by: str, hold: Hold, now: datetime) -> Order:
    """Want an order gone and cancel it now; where the venue does not answer, reconciliation goes on with it."""
    order = request_cancel(order_id, by=by, now=now)
    try:
        return cancel_at_venue(order, broker, hold=hold)
    except BrokerError as error:
        log.warning("order.cancel_unanswered", client_order_id=order.client_order_id, error=str(error))
        order.refresh_from_db()
        return order
