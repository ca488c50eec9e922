"""From target weights to orders: pure arithmetic on decimals."""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from trading.brokers.base import Side, TimeInForce
from trading.brokers.instruments import Instrument, floor_to

SMALLEST = Decimal("1e-8")
"""What quantities are kept to."""


@dataclass(frozen=True)
class Rules:
    """What the orders of one cycle must keep to; amounts in the account's currency.

    ``min_notional``: smaller orders are not worth their fee. ``max_orders``: in one cycle. ``cash_buffer``: kept out
    of the equity that weights are taken of. ``allow_partial``: whether a sell may close a part of a position. ``lot``:
    what quantities are multiples of where the instrument says nothing else. ``max_notional``: larger moves take several
    cycles; not positive: no cap.
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
    instruments: Mapping[str, Instrument] | None = None,
) -> Sequence[Planned]:
    """The orders that bring ``held`` towards ``weights``: sells before buys, the largest first.

    ``weights`` are fractions of equity, at most 1 in sum; a held symbol without one is sold. A symbol without a price
    is left alone, and so is one of ``unsettled``, whose last order may have been filled without our knowing. The buys
    come to no more than the cash above the buffer and what the planned sells bring. ``instruments`` are the venue's
    own rules for each symbol: its lot, and the least and the most that it takes.
    """
    traded = instruments or {}
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
        wanted = min(abs(change), _cap(price, rules))
        quantity = fit(wanted, price, rules, traded.get(symbol), closes_all=closes_all and wanted == have)
        if quantity <= 0:
            continue
        order = Planned(symbol, Side.SELL if change < 0 else Side.BUY, quantity, price)
        (sells if change < 0 else buys).append(order)
    for orders in (sells, buys):
        orders.sort(key=lambda order: (-order.quantity * order.price, order.symbol))
    sells = sells[: rules.max_orders]
    proceeds = sum((order.quantity * order.price for order in sells), Decimal(0))
    return [*sells, *_affordable(buys, cash + proceeds - rules.cash_buffer, rules, traded)][: rules.max_orders]


def fit(
    quantity: Decimal, price: Decimal, rules: Rules, instrument: Instrument | None, *, closes_all: bool = False
) -> Decimal:
    """``quantity`` rounded down to what the venue takes and the rules want; 0 where that is too little.

    What ``closes_all`` of a position may be worth less than the rules' minimum, but not less than the venue's.
    """
    lot = rules.lot if instrument is None else max(instrument.lot, SMALLEST)
    most = quantity if instrument is None or instrument.max_quantity is None else instrument.max_quantity
    fitted = floor_to(min(max(quantity, Decimal(0)), most), lot)
    if instrument is not None and (
        fitted < instrument.min_quantity or fitted * price * instrument.multiplier < instrument.min_notional
    ):
        return Decimal(0)
    is_whole = closes_all and fitted == quantity
    return fitted if is_whole or fitted * price >= rules.min_notional else Decimal(0)


def _affordable(
    buys: Sequence[Planned], budget: Decimal, rules: Rules, instruments: Mapping[str, Instrument]
) -> list[Planned]:
    kept = []
    for order in buys:
        most = min(order.quantity, max(budget, Decimal(0)) / order.price)
        quantity = fit(most, order.price, rules, instruments.get(order.symbol))
        if quantity > 0:
            kept.append(replace(order, quantity=quantity))
            budget -= quantity * order.price
    return kept


def _cap(price: Decimal, rules: Rules) -> Decimal:
    return rules.max_notional / price if rules.max_notional > 0 else Decimal("Infinity")


def client_order_id(client_id: UUID, run_id: UUID, sequence: int) -> str:
    """The id of the ``sequence``-th order of a run: the same however often the run is tried; 32 characters."""
    text = f"{client_id}:{run_id}:{sequence}"
    return "qt-" + hashlib.sha256(text.encode()).hexdigest()[:29]
