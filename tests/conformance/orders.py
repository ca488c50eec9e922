"""Tickets for the suite."""

from dataclasses import replace
from decimal import Decimal

from tests.conformance.bench import Bench
from trading.brokers.base import OrderType, Side, Ticket, TimeInForce
from trading.core.ids import uuid7


def market(bench: Bench, side: Side = Side.BUY, quantity: Decimal | None = None) -> Ticket:
    return Ticket(f"qt-{uuid7().hex[:29]}", bench.symbol, side, quantity or bench.quantity)


def limit(bench: Bench, price: Decimal, *, force: TimeInForce = TimeInForce.GTC) -> Ticket:
    return replace(market(bench), order_type=OrderType.LIMIT, limit_price=price, time_in_force=force)
