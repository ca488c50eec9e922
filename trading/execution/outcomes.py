"""What becomes of an order: every change of its state passes here, and the table of states decides what may follow."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from trading.brokers.base import Execution, OrderReport, OrderStatus, Side, TimeInForce
from trading.execution import differences, trail
from trading.execution.books import Booked, book
from trading.execution.models import DifferenceKind, Order
from trading.execution.states import AT_VENUE, ENDED, LIVE, NEVER_TAKEN, TRANSITIONS, OrderState, check
from trading.risk import services as risk
from trading.risk.limits import Proposal

log = structlog.get_logger("quantum.execution")

STALE_AFTER = timedelta(minutes=5)
"""An intent older than this is not sent any more."""
SEND_WITHIN = timedelta(seconds=10)
"""An order that was not begun to be sent so long after that was committed is not sent by that sender."""
CONFIRMED_AFTER = timedelta(seconds=4)
"""A venue that has no such order, and has none so long after either, has none."""


class Hold(Protocol):
    """What a sender holds while it works: a transaction that fails once the work is another's."""

    def __call__(self) -> AbstractContextManager[None]:
        """A transaction under the fence."""


def move(order: Order, after: OrderState, **changes: Any) -> bool:
    """Bring ``order`` from the state that it was read in to ``after``; whether it still stood there.

    ``changes`` are other columns of the same update. Raises `states.NotPermitted` for what the table does not have.
    """
    check(OrderState(order.state), after)
    changes = {**changes, "state": after, "finished_at": timezone.now() if after in ENDED else None}
    if not Order.objects.filter(id=order.id, state=order.state).update(**changes):
        return False
    for name, value in changes.items():
        setattr(order, name, value)
    return True


def record(order: Order, report: OrderReport, *, hold: Hold) -> Order:
    """Write what the venue reported: fills, the position, the order's state, and the freed reservation, at once.

    Fills always count: those of an order that had ended, and those beyond its quantity, are real. What the report says
    of the state counts where the table of states lets it follow; a report that is older than what we know does not.
    """
    with hold():
        locked = Order.objects.select_for_update(no_key=True).get(id=order.id)
        before = OrderState(locked.state)
        booked = book(locked, report.executions)
        locked.broker_order_id = report.broker_order_id[:64] or locked.broker_order_id
        locked.reason = report.reason[:300]
        locked.save(update_fields=["filled_quantity", "average_price", "fees", "broker_order_id", "reason"])
        after = _after(locked, report, timezone.now())
        if after in TRANSITIONS[before]:
            move(locked, after)
        _release(locked, before, booked)
        _tell(locked, before, booked)
    return locked


def record_fills(order: Order, executions: Sequence[Execution], *, hold: Hold) -> Order:
    """Book executions that a venue's list of fills shows; of the order's state it says only what they make of it."""
    with hold():
        locked = Order.objects.select_for_update(no_key=True).get(id=order.id)
        before = OrderState(locked.state)
        booked = book(locked, executions)
        locked.save(update_fields=["filled_quantity", "average_price", "fees"])
        is_all = locked.filled_quantity >= locked.quantity
        after = OrderState.FILLED if is_all else OrderState.PARTIALLY_FILLED
        if (
            locked.filled_quantity > 0
            and after in TRANSITIONS[before]
            and (is_all or before in AT_VENUE or before in NEVER_TAKEN)
        ):
            move(locked, after)
        _release(locked, before, booked)
        _tell(locked, before, booked)
    return locked


def reserve_again(order: Order) -> None:
    """Count what may still come of an order that is open at its venue and for which nothing is reserved.

    Without a review, for it is there already: what is reviewed from now on finds that much less room.
    """
    proposal = Proposal(order.symbol, Side(order.side), order.left, order.reference_price, order.previous_price)
    risk.count(order.client_id, order.client_order_id, proposal)


def _release(order: Order, before: OrderState, booked: Booked) -> None:
    """Keep reserved only what may still come of it, and again what was freed too early."""
    if order.state in ENDED:
        risk.settle(order.client_order_id)
        return
    risk.answered(order.client_order_id)
    if booked.corrected:  # to less, perhaps: that may be traded yet
        risk.settle(order.client_order_id)
    if (before in NEVER_TAKEN or booked.corrected) and order.left > 0:
        reserve_again(order)
    if order.filled_quantity > 0:
        risk.keep(order.client_order_id, order.left)


def _after(order: Order, report: OrderReport, now: datetime) -> OrderState:
    """The state that a report speaks of.

    A venue that says ``filled`` before it shows every execution owes some, and the order is not over. What it took is
    the quantity rounded down to its lot, so that less than was asked for may be all.
    """
    taken = order.quantity if report.quantity is None else min(report.quantity, order.quantity)
    has_all = order.filled_quantity >= taken
    if order.filled_quantity >= order.quantity or (report.status is OrderStatus.FILLED and has_all):
        return OrderState.FILLED
    if not report.is_final or report.status is OrderStatus.FILLED:
        return OrderState.PARTIALLY_FILLED if order.filled_quantity > 0 else OrderState.OPEN
    if report.status is OrderStatus.REJECTED and order.filled_quantity == 0:
        return OrderState.REJECTED
    return OrderState.EXPIRED if _has_expired(order, now) else OrderState.CANCELLED


def _has_expired(order: Order, now: datetime) -> bool:
    """Whether its time in force has ended it, rather than somebody who wanted it gone."""
    if order.expires_at is not None and now >= order.expires_at:
        return True
    return order.time_in_force == TimeInForce.IOC and order.cancel_requested_at is None


def _tell(order: Order, before: OrderState, booked: Booked) -> None:
    """The audit log, and the alarms: last in the transaction."""
    trail.booked(order, booked)
    for part in booked.new:
        if part.fee_unvalued:
            _alarm("fee_unvalued", order, execution_id=part.execution_id, asset=part.fee_asset, taken=part.fee_unvalued)
    after = OrderState(order.state)
    if before in LIVE and after in ENDED:
        trail.ended(order)
    if not booked.new and before == after:
        return
    told = {"state": after, "was": before, "filled": order.filled_quantity, "ordered": order.quantity}
    if order.filled_quantity > order.quantity and booked.new:
        _alarm("overfilled", order, **told)
        _differ(order, DifferenceKind.OVERFILLED, str(order.quantity), str(order.filled_quantity))
    if before in ENDED and booked.new:
        _alarm("filled_late", order, **told)
    elif before in ENDED:
        _alarm("revived", order, **told)
    if before in NEVER_TAKEN:
        _differ(order, DifferenceKind.REVIVED, before, after)


def _alarm(what: str, order: Order, **told: Any) -> None:
    log.error(
        f"order.{what}", client_order_id=order.client_order_id, **{key: str(value) for key, value in told.items()}
    )
    trail.note(what, order, **told)


def _differ(order: Order, kind: DifferenceKind, ours: str, theirs: str) -> None:
    one = differences.Found(kind, order.symbol, order.client_order_id, ours, theirs)
    differences.report(order.client_id, order.broker, [one], now=timezone.now())


def mark_unknown(order: Order, reason: str, *, hold: Hold, is_over: bool = False, **changes: Any) -> Order:
    """What the venue has, or may have, and does not speak of. ``changes`` are other columns of the same update.

    ``is_over``: its sender says so, which begins to send it no more.
    """
    changes["reason"] = reason[:300]
    with hold():
        if is_over:
            risk.answered(order.client_order_id)
        if order.state == OrderState.UNKNOWN:
            Order.objects.filter(id=order.id, state=OrderState.UNKNOWN).update(**changes)
        elif OrderState.UNKNOWN in TRANSITIONS[OrderState(order.state)] and move(order, OrderState.UNKNOWN, **changes):
            trail.note("unknown", order, reason=reason[:300])
    order.refresh_from_db()
    return order


def withdraw(order: Order, reason: str, *, hold: Hold) -> Order:
    """Close an order that was never sent and will not be; one that somebody else has moved on stays as it is."""
    with hold():
        if order.state == OrderState.INTENDED and move(order, OrderState.WITHDRAWN, reason=reason[:300]):
            risk.settle(order.client_order_id)
            trail.note("withdrawn", order, reason=reason[:300])
    order.refresh_from_db()
    return order


def give_up(order: Order, reason: str, *, hold: Hold) -> Order:
    """Close an order that went out, that the venue does not have and will not book any more.

    Should the venue show it after all, it lives again: see docs/orders.md.
    """
    with hold():
        if order.state in AT_VENUE[:2] and move(order, OrderState.NOT_BOOKED, reason=reason[:300]):
            risk.settle(order.client_order_id)
            trail.note("not_booked", order, reason=reason[:300])
    order.refresh_from_db()
    return order


def reduce(order: Order, quantity: Decimal, reason: str, *, hold: Hold) -> Order:
    """Ask for less in an order that was not sent yet: ``quantity``, which its approval covers. Never for more."""
    with hold():
        intended = Order.objects.filter(id=order.id, state=OrderState.INTENDED, quantity__gt=quantity)
        if quantity > 0 and intended.update(quantity=quantity):
            risk.keep(order.client_order_id, quantity)
            trail.note("reduced", order, to=quantity, reason=reason[:300], **{"from": order.quantity})
    order.refresh_from_db()
    return order


class NotForgotten(ValueError):
    """The order's outcome is known, or may yet become known by itself."""


def write_off(order_id: UUID, *, by: str) -> Order:
    """Close an order that the venue, as it has told ``by``, never took or no longer has; its reservation is freed.

    What was sent or is unknown, with nothing filled and so old that no sender can still be at it, was not booked. What
    was open, or is filled in part, is cancelled, with what was filled of it, and only when a cancel was asked for and
    stays unanswered. Raises `NotForgotten` for any other. Should the venue show it after all, the next comparison says
    so.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update(no_key=True).get(id=order_id)
        if order.state not in AT_VENUE:
            raise NotForgotten(f"it is {order.get_state_display().lower()}")
        was_taken = order.state not in AT_VENUE[:2] or order.filled_quantity > 0
        since = order.cancel_requested_at if was_taken else order.sent_at or order.created_at
        if since is None:
            raise NotForgotten("the venue has had it: cancel it first")
        if timezone.now() - since <= STALE_AFTER:
            what = "asked to be cancelled" if was_taken else "sent"
            raise NotForgotten(f"it was {what} less than {STALE_AFTER.seconds // 60} minutes ago")
        after = OrderState.CANCELLED if was_taken else OrderState.NOT_BOOKED
        why = "no longer has it" if was_taken else "never took it"
        move(order, after, reason=f"written off by {by}: the venue {why}"[:300])
        risk.settle(order.client_order_id)
        trail.note("written_off", order, by=by)
    return order
