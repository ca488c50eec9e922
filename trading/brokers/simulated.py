"""What venues of our own keep of an order's executions: a list in its row, money as text."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Protocol

from trading.brokers.base import FINAL, Execution, OrderReport, OrderStatus, Side

SMALLEST = Decimal("1e-8")
"""What prices and amounts are rounded to, half up."""
BOOKING_HORIZON = timedelta(seconds=20)
"""How long the transaction that takes an order may last at most."""
OPEN = [status.value for status in OrderStatus if status not in FINAL]


class Kept(Protocol):
    """An order's row."""

    id: int
    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    limit_price: Decimal | None
    status: str
    reason: str
    fills: list[dict[str, Any]]


def rounded(amount: Decimal) -> Decimal:
    """``amount`` as it is kept."""
    return amount.quantize(SMALLEST, ROUND_HALF_UP)


def fill(quantity: Decimal, price: Decimal, fee: Decimal, time: datetime) -> dict[str, str]:
    """An execution as a row keeps it."""
    return {"quantity": str(quantity), "price": str(price), "fee": str(fee), "time": time.isoformat()}


def report(row: Kept, venue: str, currency: str) -> OrderReport:
    """A row as the interface has it."""
    parts = tuple(
        Execution(
            f"{venue}-{row.id}-{number}",
            Decimal(part["quantity"]),
            Decimal(part["price"]),
            Decimal(part["fee"]),
            datetime.fromisoformat(part["time"]),
            fee_asset=currency,
        )
        for number, part in enumerate(row.fills, 1)
    )
    return OrderReport(
        row.client_order_id,
        f"{venue}-{row.id}",
        OrderStatus(row.status),
        parts,
        row.reason,
        symbol=row.symbol,
        side=Side(row.side),
        quantity=row.quantity,
        limit_price=row.limit_price,
    )
