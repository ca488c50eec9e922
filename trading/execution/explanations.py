"""What a person says of a difference: that it is right as it is, or that what the venue has is ours after all."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from trading.audit.services import record
from trading.brokers.base import Execution, OrderType, TimeInForce
from trading.execution import outcomes, trail
from trading.execution.books import book
from trading.execution.differences import resolve
from trading.execution.models import Adjustment, Difference, DifferenceKind, Order
from trading.execution.states import OrderState


class NotResolved(ValueError):
    """The difference cannot be resolved like this; the message says why and what can be done."""


def explain(difference_id: UUID, *, by: str, reason: str, now: datetime) -> Difference:
    """Leave the venue's side and ours as they are: ``reason`` says why they differ. In the caller's transaction.

    For a position or a balance the account is from now on expected to have that much more or less than our fills say.
    A missing order is written off, as `outcomes.write_off` does. Raises `NotResolved`.
    """
    row = _locked(difference_id, reason)
    if row.kind == DifferenceKind.SUM:
        raise NotResolved("No reason makes a position anything but the sum of its fills: restore the database.")
    if row.kind == DifferenceKind.MISSING_ORDER:
        _write_off(row, by)
    if row.kind in (DifferenceKind.POSITION, DifferenceKind.BALANCE) and row.quantity is not None:
        is_money = row.kind == DifferenceKind.BALANCE
        adjust(row.client_id, row.broker, row.subject, row.quantity, is_money=is_money, by=by, reason=reason, of=row,
               now=now)  # fmt: skip
    resolve(row, by, reason, now)
    return row


def adopt(difference_id: UUID, *, by: str, reason: str, now: datetime) -> Difference:
    """Take an unknown order or fill of the venue into our books, in the caller's transaction; raises `NotResolved`."""
    row = _locked(difference_id, reason)
    if row.kind not in (DifferenceKind.UNKNOWN_ORDER, DifferenceKind.UNKNOWN_FILL):
        raise NotResolved("Only an order or a fill that we do not know is adopted: explain this one.")
    if row.kind == DifferenceKind.UNKNOWN_ORDER and not row.data["client_order_id"]:
        raise NotResolved(
            "It has no client order id, so we could not ask for it: cancel it at the venue, or explain it."
        )
    order = Order.objects.filter(
        client_id=row.client_id, broker=row.broker, broker_order_id=row.data["broker_order_id"]
    ).first()
    if order is None:
        order = _adopted(row, by, now)
        if order.is_live:
            outcomes.reserve_again(order)
    if row.kind == DifferenceKind.UNKNOWN_FILL:
        _take_in(order, _execution(row))
    trail.note("adopted", order, by=by, difference=row.id)
    resolve(row, by, reason, now)
    return row


def adjust(
    client_id: UUID, broker: str, asset: str, quantity: Decimal, *, is_money: bool, by: str, reason: str, now: datetime,
    of: Difference | None = None,
) -> None:  # fmt: skip
    """Expect ``quantity`` more of ``asset`` in the account than our fills say, in the caller's transaction."""
    made = Adjustment.objects.create(
        client_id=client_id, broker=broker, asset=asset, quantity=quantity, is_money=is_money, by=by,
        reason=reason[:300], difference=of, time=now,
    )  # fmt: skip
    told = {"broker": broker, "asset": asset, "quantity": quantity, "reason": reason[:300], "by": by}
    record("account.adjusted", client_id=client_id, subject=f"adjustment:{made.id}", data=told)


def _locked(difference_id: UUID, reason: str) -> Difference:
    row = Difference.objects.select_for_update(no_key=True).filter(id=difference_id).first()
    if row is None:
        raise NotResolved("There is no such difference.")
    if row.resolved_at is not None:
        raise NotResolved(f"It was resolved by {row.resolved_by}: {row.resolution}")
    if not reason.strip() or "\x00" in reason:
        raise NotResolved("Say why: the reason is kept.")
    return row


def _write_off(row: Difference, by: str) -> None:
    order = Order.objects.get(client_id=row.client_id, client_order_id=row.subject)
    if order.is_live:
        try:
            outcomes.write_off(order.id, by=by)
        except outcomes.NotForgotten as error:
            raise NotResolved(f"The order cannot be written off: {error}.") from error


def _adopted(row: Difference, by: str, now: datetime) -> Order:
    said = row.data
    is_open = row.kind == DifferenceKind.UNKNOWN_ORDER
    own = said["client_order_id"] or f"{row.broker}:{said['broker_order_id']}"
    if Order.objects.filter(client_order_id=own[:64]).exists():
        raise NotResolved("An order of that id is known already: look at it, and explain this.")
    limit = Decimal(said["limit_price"]) if said.get("limit_price") else None
    price = limit or Decimal(said.get("price") or 0)
    return Order.objects.create(
        client_id=row.client_id,
        run_id=row.id,
        sequence=1,
        client_order_id=own[:64],
        broker=row.broker,
        symbol=row.symbol,
        side=said["side"],
        quantity=Decimal(said["quantity"]),
        order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        limit_price=limit,
        time_in_force=TimeInForce.GTC,
        reference_price=price,
        previous_price=price,
        state=OrderState.OPEN if is_open else OrderState.FILLED,
        broker_order_id=said["broker_order_id"],
        reason=f"adopted by {by}"[:300],
        sent_at=now,
        finished_at=None if is_open else now,
    )


def _execution(row: Difference) -> Execution:
    said = row.data
    return Execution(
        row.subject,
        Decimal(said["quantity"]),
        Decimal(said["price"]),
        Decimal(said["fee"]),
        datetime.fromisoformat(said["time"]),
        said["fee_asset"],
        Decimal(said["fee_quantity"]),
    )


def _take_in(order: Order, part: Execution) -> None:
    """Book a fill of an order that was never ours: what it was for is what was filled of it."""
    order = Order.objects.select_for_update(no_key=True).get(id=order.id)
    made = book(order, [part])
    order.quantity = max(order.quantity, order.filled_quantity)
    order.save(update_fields=["quantity", "filled_quantity", "average_price", "fees"])
    trail.booked(order, made)
