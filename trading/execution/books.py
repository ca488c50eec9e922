"""Fills and what they add up to. An execution counts once, by the venue's id; a corrected one is counted anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from uuid import UUID

import structlog
from django.db.models import F, Sum

from trading.brokers.base import Execution, Side
from trading.execution.models import Fill, Order, Position

log = structlog.get_logger("quantum.execution")

SMALLEST = Decimal("1e-8")
"""What quantities and prices are kept to."""


@dataclass(frozen=True)
class Booked:
    """What a report added: executions that are new, and those that the venue has corrected, with what stood before."""

    new: list[Execution]
    corrected: list[tuple[Execution, dict[str, Decimal]]]


def book(order: Order, executions: Sequence[Execution]) -> Booked:
    """Count what is not counted yet, in the caller's transaction, which holds the order's row.

    The order's totals are set, not saved. The position's quantity follows by the database itself.
    """
    known = {
        fill.execution_id: fill
        for fill in Fill.objects.filter(
            client_id=order.client_id, broker=order.broker, execution_id__in=[part.execution_id for part in executions]
        )
    }
    made = Booked([], [])
    for part in executions:
        fill = known.get(part.execution_id)
        if fill is None and part.quantity != 0:
            known[part.execution_id] = _book(order, part)
            made.new.append(part)
        elif fill is not None and fill.order_id == order.id and (before := _differs(fill, part)):
            _correct(fill, order, part)
            made.corrected.append((part, before))
        elif fill is not None and fill.order_id != order.id:
            log.error("fill.of_another_order", execution_id=part.execution_id, order=str(order.id))
    if made.new or made.corrected:
        _total(order)
    return made


def _book(order: Order, part: Execution) -> Fill:
    position = _locked(order.client_id, order.symbol)
    signed, kept = _signed(Side(order.side).sign, part)
    realised = apply_fill(position, signed - kept, part.price) - part.fee
    fill = Fill.objects.create(
        client_id=order.client_id,
        order=order,
        broker=order.broker,
        execution_id=part.execution_id,
        symbol=order.symbol,
        quantity=signed,
        price=part.price,
        fee=part.fee,
        fee_quantity=kept,
        fee_asset=part.fee_asset[:32],
        realised_pnl=realised,
        time=part.time,
    )
    position.realised_pnl += realised
    position.save(update_fields=["average_cost", "realised_pnl", "updated_at"])
    return fill


def _locked(client_id: UUID, symbol: str) -> Position:
    Position.objects.get_or_create(client_id=client_id, symbol=symbol)
    return Position.objects.select_for_update(no_key=True).get(client_id=client_id, symbol=symbol)


def _signed(sign: int, part: Execution) -> tuple[Decimal, Decimal]:
    """The quantity, negative for a sell, and what the venue kept of it, as they are stored."""
    signed = sign * part.quantity
    return signed.quantize(SMALLEST, ROUND_HALF_EVEN), part.fee_quantity.quantize(SMALLEST, ROUND_HALF_EVEN)


def is_booked(fill: Fill | None, part: Execution) -> bool:
    """Whether ``fill`` is the execution as the venue tells it now."""
    return part.quantity == 0 if fill is None else not _differs(fill, part)


def _differs(fill: Fill, part: Execution) -> dict[str, Decimal]:
    """What stands in ``fill`` where the venue says another thing by now; empty when it says the same.

    A fee counts only where there was none: venues that take it in another asset tell its worth at the price of now.
    """
    signed, kept = _signed(1 if fill.quantity > 0 else -1, part)
    before: dict[str, Decimal] = {}
    if fill.quantity != signed or fill.fee_quantity != kept:
        before["quantity"] = abs(fill.quantity)
    if fill.price != part.price.quantize(SMALLEST):
        before["price"] = fill.price
    if fill.fee == 0 and part.fee.quantize(SMALLEST) != 0:
        before["fee"] = fill.fee
    return before


def _correct(fill: Fill, order: Order, part: Execution) -> None:
    position = _locked(fill.client_id, fill.symbol)
    if part.quantity == 0:  # busted: it was never traded, which the audit log remembers
        fill.delete()
        _replay(position)
        return
    fill.quantity, fill.fee_quantity = _signed(Side(order.side).sign, part)
    fill.price = part.price
    if fill.fee == 0:
        fill.fee = part.fee
    fill.save(update_fields=["quantity", "fee_quantity", "price", "fee"])
    _replay(position)


def _replay(position: Position) -> None:
    """Work out cost and profit anew from all fills, in the order in which they were booked."""
    run = Position(quantity=Decimal(0), average_cost=Decimal(0))
    total = Decimal(0)
    for fill in Fill.objects.filter(client_id=position.client_id, symbol=position.symbol).order_by("id"):
        realised = apply_fill(run, fill.quantity - fill.fee_quantity, fill.price) - fill.fee
        total += realised
        if fill.realised_pnl != realised:
            Fill.objects.filter(id=fill.id).update(realised_pnl=realised)
    position.average_cost, position.realised_pnl = run.average_cost, total
    position.save(update_fields=["average_cost", "realised_pnl", "updated_at"])


def apply_fill(position: Position, signed: Decimal, price: Decimal) -> Decimal:
    """Move ``position`` by ``signed`` units at ``price``; the profit on what that closed, by average cost."""
    held, cost = position.quantity, position.average_cost
    position.quantity = held + signed
    if held == 0 or (held > 0) == (signed > 0):
        if position.quantity != 0:
            position.average_cost = ((abs(held) * cost + abs(signed) * price) / abs(position.quantity)).quantize(
                SMALLEST
            )
        return Decimal(0)
    closed = min(abs(held), abs(signed))
    profit = closed * (price - cost) * (1 if held > 0 else -1)
    if position.quantity == 0:
        position.average_cost = Decimal(0)
    elif abs(signed) > abs(held):
        position.average_cost = price.quantize(SMALLEST)
    return profit.quantize(SMALLEST)


def _total(order: Order) -> None:
    fills = list(order.fills.all())
    filled = sum((abs(fill.quantity) for fill in fills), Decimal(0))
    order.filled_quantity = filled
    order.fees = sum((fill.fee for fill in fills), Decimal(0))
    order.average_price = None
    if filled > 0:
        value = sum((abs(fill.quantity) * fill.price for fill in fills), Decimal(0))
        order.average_price = (value / filled).quantize(SMALLEST)


@dataclass(frozen=True)
class Mismatch:
    """A position that is not what its fills add up to."""

    client_id: UUID
    symbol: str
    position: Decimal
    fills: Decimal


def mismatches(client_id: UUID | None = None) -> list[Mismatch]:
    """Positions that differ from Σ(quantity - fee_quantity) of their fills: of one client, or of all. None should."""
    fills, positions = Fill.objects.all(), Position.objects.all()
    if client_id is not None:
        fills, positions = fills.filter(client_id=client_id), positions.filter(client_id=client_id)
    sums = {
        (row["client_id"], row["symbol"]): row["total"]
        for row in fills.order_by().values("client_id", "symbol").annotate(total=Sum(F("quantity") - F("fee_quantity")))
    }
    held = {(row.client_id, row.symbol): row.quantity for row in positions}
    return [
        Mismatch(*key, held.get(key, Decimal(0)), sums.get(key, Decimal(0)))
        for key in sorted({*sums, *held})
        if held.get(key, Decimal(0)) != sums.get(key, Decimal(0))
    ]
