"""From target weights to orders: pure arithmetic on decimals."""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from uuid import UUID

from trading.brokers.base import Side, TimeInForce


@dataclass(frozen=True)
class Rules:
    """What the orders of one cycle must keep to; amounts in the account's currency.

    ``min_notional``: smaller orders are not worth their fee. ``max_orders``: in one cycle. ``cash_buffer``: kept out
    of the equity that weights are taken of. ``allow_partial``: whether a sell may close a part of a position. ``lot``:
    what quantities are multiples of. ``max_notional``: larger moves take several cycles; not positive: no cap.
    """

    min_notional: Decimal
    max_orders: int
    cash_buffer: Decimal
    allow_partial: bool
    lot: Decimal
    max_notional: Decimal


@dataclass(frozen=True)
class Planned:
    """One order of a plan: at the market, or within a limit, of which what is left may rest until ``expires_at``."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.IOC
    expires_at: datetime | None = None


def plan(
    weights: Mapping[str, Decimal],
    held: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    *,
    cash: Decimal,
    rules: Rules,
    unsettled: Set[str] = frozenset(),
) -> Sequence[Planned]:
    """The orders that bring ``held`` towards ``weights``: sells before buys, the largest first.

    ``weights`` are fractions of equity, at most 1 in sum; a held symbol without one is sold. A symbol without a price
    is left alone, and so is one of ``unsettled``, whose last order may have been filled without our knowing. The buys
    come to no more than the cash above the buffer and what the planned sells bring.
    """
    equity = cash + sum(
        (quantity * prices[symbol] for symbol, quantity in held.items() if symbol in prices), Decimal(0)
    )
    investable = max(equity - rules.cash_buffer, Decimal(0))
    sells: list[Planned] = []
    buys: list[Planned] = []
    for symbol in sorted({*weights, *held}):
        price = prices.get(symbol)
        if price is None or price <= 0 or symbol in unsettled:
            continue
        have = held.get(symbol, Decimal(0))
        change = weights.get(symbol, Decimal(0)) * investable / price - have
        closes_all = change < 0 and weights.get(symbol, Decimal(0)) == 0
        if change < 0 and not closes_all and not rules.allow_partial:
            continue
        quantity = _rounded(min(abs(change), _cap(price, rules)), rules.lot)
        if quantity <= 0 or (quantity * price < rules.min_notional and not (closes_all and quantity == have)):
            continue
        order = Planned(symbol, Side.SELL if change < 0 else Side.BUY, quantity, price)
        (sells if change < 0 else buys).append(order)
    for orders in (sells, buys):
        orders.sort(key=lambda order: (-order.quantity * order.price, order.symbol))
    sells = sells[: rules.max_orders]
    proceeds = sum((order.quantity * order.price for order in sells), Decimal(0))
    return [*sells, *_affordable(buys, cash + proceeds - rules.cash_buffer, rules)][: rules.max_orders]


def _affordable(buys: Sequence[Planned], budget: Decimal, rules: Rules) -> list[Planned]:
    kept = []
    for order in buys:
        quantity = min(order.quantity, _rounded(max(budget, Decimal(0)) / order.price, rules.lot))
        if quantity > 0 and quantity * order.price >= rules.min_notional:
            kept.append(replace(order, quantity=quantity))
            budget -= quantity * order.price
    return kept


def _cap(price: Decimal, rules: Rules) -> Decimal:
    return rules.max_notional / price if rules.max_notional > 0 else Decimal("Infinity")


def _rounded(quantity: Decimal, lot: Decimal) -> Decimal:
    return (quantity / lot).to_integral_value(ROUND_DOWN) * lot


def client_order_id(client_id: UUID, run_id: UUID, sequence: int) -> str:
    """The id of the ``sequence``-th order of a run: the same however often the run is tried; 32 characters."""
    text = f"{client_id}:{run_id}:{sequence}"
    return "qt-" + hashlib.sha256(text.encode()).hexdigest()[:29]
