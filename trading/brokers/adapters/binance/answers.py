"""What Binance answers, as the interface has it."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from trading.brokers.adapters.binance.filters import Rules
from trading.brokers.base import Execution, OrderReport, OrderStatus, Side

STATUSES = {
    "NEW": OrderStatus.ACCEPTED,
    "PENDING_NEW": OrderStatus.ACCEPTED,
    "PENDING_CANCEL": OrderStatus.ACCEPTED,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "EXPIRED_IN_MATCH": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
}
UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What reading an answer raises that is not what was asked for."""

SMALLEST = Decimal("1e-8")

Convert = Callable[[str, Decimal], Decimal | None]
"""The worth of an amount of an asset in the account's currency; None where nobody tells it."""


def moment(milliseconds: Any) -> datetime:
    """A time of the venue."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def execution(rules: Rules, trade: Mapping[str, Any], time: Any, convert: Convert) -> Execution:
    """A trade: of ``myTrades``, or of the ``fills`` of a new order, which have no time of their own."""
    quantity, price = _positive(trade["qty"]), _positive(trade["price"])
    commission, asset = Decimal(trade["commission"]), str(trade["commissionAsset"])
    if commission < 0 or not commission.is_finite():
        raise ValueError("a commission is not negative")
    fee: Decimal | None
    if asset == rules.quote:
        fee = commission
    elif asset == rules.base:
        fee = commission * price
    else:
        fee = convert(asset, commission) if commission else commission
    return Execution(
        execution_id=f"{rules.symbol}-{int(trade.get('tradeId', trade.get('id')))}",
        quantity=quantity,
        price=price,
        fee=(fee or Decimal(0)).quantize(SMALLEST, ROUND_HALF_UP),
        time=moment(time),
        fee_asset=asset,
        fee_quantity=commission if asset == rules.base else Decimal(0),
        fee_unvalued=commission if fee is None else Decimal(0),
    )


def report(
    rules: Rules, order: Mapping[str, Any], executions: Iterable[Execution], *, client_order_id: str, reason: str = ""
) -> OrderReport:
    """An order with its executions. Raises one of `UNREADABLE` for another order's, or where trades are behind."""
    parts = tuple(sorted(executions, key=lambda part: int(part.execution_id.rpartition("-")[2])))
    if order["symbol"] != rules.symbol:
        raise ValueError("this is about another symbol")
    if client_order_id not in (order.get("origClientOrderId"), order["clientOrderId"]):
        raise ValueError("this is about another order")
    if sum((part.quantity for part in parts), Decimal(0)) != Decimal(order["executedQty"]):
        raise ValueError("trades are missing: they are behind the order")
    price = Decimal(order["price"])
    return OrderReport(
        client_order_id=client_order_id,
        broker_order_id=str(int(order["orderId"])),
        status=STATUSES[order["status"]],
        executions=parts,
        reason=reason or _reason(order["status"]),
        symbol=rules.symbol,
        side=Side(order["side"].lower()),
        quantity=_positive(order["origQty"]),
        limit_price=price if price > 0 else None,
    )


def _reason(status: str) -> str:
    if status.startswith("EXPIRED"):
        return "the rest could not be traded at once"
    return ""


def _positive(text: Any) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or value <= 0:
        raise ValueError(f"{text!r} is not a positive number")
    return value


def optional(text: Any) -> Decimal | None:
    """A price that may be missing, which the venue writes as 0."""
    value = Decimal(text)
    return value if value.is_finite() and value > 0 else None
