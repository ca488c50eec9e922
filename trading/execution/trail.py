"""What of an order's life stands in the audit log: each entry in the transaction of what it tells."""

from typing import Any

from trading.audit.services import record
from trading.execution.books import Booked
from trading.execution.models import Order
from trading.risk.services import Refusal


def note(action: str, order: Order, **data: Any) -> None:
    """``order.ACTION`` in its client's chain, which is locked from here on: the transaction's last act."""
    told = {"client_order_id": order.client_order_id, "broker": order.broker, "run": order.run_id, **data}
    record(f"order.{action}", client_id=order.client_id, subject=f"order:{order.id}", data=told)


def refused(order: Order, refusal: Refusal) -> None:
    """It was not let as far as its review."""
    told = {"limit": refusal.limit, "message": refusal.breach.message, "side": order.side, "quantity": order.quantity}
    note("refused", order, symbol=order.symbol, **told)


def sent(order: Order) -> None:
    """It goes out with this commit."""
    note("sent", order, side=order.side, quantity=order.quantity, symbol=order.symbol)


def booked(order: Order, made: Booked) -> None:
    """New fills, each of which counts from here on, and corrected ones, with what stood before."""
    for part in made.new:
        told = {"execution_id": part.execution_id, "quantity": part.quantity, "price": part.price}
        note("filled", order, side=order.side, symbol=order.symbol, fee=part.fee, **told)
    for part, before in made.corrected:
        told = {"execution_id": part.execution_id, "quantity": part.quantity, "price": part.price}
        note("fill_corrected", order, symbol=order.symbol, fee=part.fee, before=before, **told)


def ended(order: Order) -> None:
    """Nothing more comes of it."""
    note(
        "ended", order, state=order.state, filled=order.filled_quantity, price=order.average_price, reason=order.reason
    )
