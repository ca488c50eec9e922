"""Orders and what becomes of them: from targets to wished positions, from those to fills and trades, and stops."""

import numpy as np

from trading.quant.kernels import Floats, Integers, kernel
from trading.quant.records import SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING, Records, Terms

DUST = 1e-12
"""Of the position or of the equity: what is smaller is the rounding of a sum, and no order."""


@kernel
def room_nb(most: float, gross: float) -> float:
    """What the gross notional may still grow by up to ``most``; nothing where rounding alone has left it."""
    room = most - gross
    return room if room > DUST * most else 0.0


@kernel
def near_nb(goal: float, held: float) -> bool:
    """Whether a position is what is wished for, but for rounding."""
    return abs(goal - held) <= DUST * abs(held)


@kernel
def floor_nb(quantity: float, lot: float) -> float:
    """The largest multiple of ``lot`` not above ``quantity``, a millionth of a lot short counts as whole."""
    return quantity if lot == 0.0 else np.floor(quantity / lot + 1e-6) * lot


@kernel
def price_nb(reference: float, side: float, amount: float, volume: float, terms: Terms) -> float:
    """The fill price of ``amount`` after slippage; ``side`` is 1 to buy, -1 to sell."""
    moved = terms.slippage
    if terms.impact > 0.0:
        rate = amount / volume
        moved += terms.impact * rate * rate
    return reference * (1.0 + side * moved)


@kernel
def affordable_nb(
    t: int, s: int, price: float, side: float, closing: float, cash: float, marks: Floats, multiplier: Floats,
    book: Records, terms: Terms,
) -> float:  # fmt: skip
    """How much may be opened after ``closing``: the gross notional may reach ``max_leverage`` times the equity left
    after costs.

    With a leverage of 1 and only long positions, this is what the cash pays for, fees included.
    """
    equity, gross = cash, 0.0
    for j in range(book.shape[0]):
        if book[j].quantity != 0.0:
            mark = marks[t, j]
            if np.isnan(mark):
                mark = book[j].last
            equity += book[j].quantity * multiplier[j] * mark
            gross += abs(book[j].quantity) * multiplier[j] * mark
    reference = marks[t, s]
    cost = (price - reference) * side + price * terms.fee
    equity -= closing * multiplier[s] * cost
    gross -= closing * multiplier[s] * reference
    room = room_nb(terms.max_leverage * equity, gross)
    quantity: float = room / (multiplier[s] * (reference + terms.max_leverage * cost))
    return quantity


@kernel
def close_trade_nb(s: int, t: int, reason: int, multiplier: Floats, book: Records, trades: Records, count: int) -> None:
    """Write the trade that ``book`` holds and forget it."""
    state = book[s]
    trade = trades[count]
    direction = 1 if state.quantity > 0.0 else -1
    trade["symbol"] = s
    trade["direction"] = direction
    trade["entry_bar"] = state.entry_bar
    trade["exit_bar"] = t
    trade["quantity"] = state.entered
    trade["entry_price"] = state.entry_value / state.entered
    trade["exit_price"] = state.exit_value / state.exited
    trade["fees"] = state.fees
    trade["borrow"] = state.borrow
    pnl = direction * multiplier[s] * (state.exit_value - state.entry_value) - state.fees - state.borrow
    trade["pnl"] = pnl
    trade["return"] = pnl / (state.entry_value * multiplier[s])
    trade["reason"] = reason
    state.entered = state.entry_value = state.exited = state.exit_value = state.fees = state.borrow = 0.0


@kernel
def execute_nb(
    t: int, s: int, reference: float, slips: bool, reason: int, cash: float, marks: Floats, volume: Floats,
    multiplier: Floats, lot: Floats, terms: Terms, book: Records, fills: Records, trades: Records, counts: Integers,
) -> float:  # fmt: skip
    """Fill the order of symbol ``s`` as far as volume and equity allow, and record it; the cash left."""
    state = book[s]
    held = state.quantity
    order = state.goal - held
    side = 1.0 if order > 0.0 else -1.0
    amount = abs(order)
    whole = True
    traded = 0.0
    if terms.participation < np.inf:
        traded = volume[t, s]
        room = terms.participation * traded - state.used if traded > 0.0 else 0.0
        if amount > room:
            whole = False
            amount = floor_nb(room, lot[s]) if room > 0.0 else 0.0
            if amount == 0.0:
                return cash
    closing = min(amount, abs(held)) if held * side < 0.0 else 0.0
    price = price_nb(reference, side, amount, traded, terms) if slips else reference
    if amount > closing and terms.max_leverage < np.inf:
        limit = affordable_nb(t, s, price, side, closing, cash, marks, multiplier, book, terms)
        if amount - closing > limit:
            amount = closing + floor_nb(limit, lot[s])
            state.working = False
            whole = False
            if amount == 0.0:
                return cash
            price = price_nb(reference, side, amount, traded, terms) if slips else reference
    notional = amount * price * multiplier[s]
    fee = notional * terms.fee
    state.used += amount
    fill = fills[counts[0]]
    counts[0] += 1
    fill["bar"] = t
    fill["symbol"] = s
    fill["quantity"] = side * amount
    fill["price"] = price
    fill["fee"] = fee
    fill["slippage"] = abs(price - reference) * amount * multiplier[s]
    fill["reason"] = reason
    if closing > 0.0:
        state.exited += closing
        state.exit_value += closing * price
        state.fees += fee * (closing / amount)
        if closing == abs(held):
            close_trade_nb(s, t, reason, multiplier, book, trades, counts[1])
            counts[1] += 1
    opening = amount - closing
    if opening > 0.0:
        if state.entered == 0.0:
            state.entry_bar = t
            state.best = price
        state.entered += opening
        state.entry_value += opening * price
        state.fees += fee * (opening / amount)
    if whole:
        state.quantity = state.goal
        state.working = False
    else:
        state.quantity = 0.0 if closing == abs(held) and opening == 0.0 else held + side * amount
        if terms.participation == np.inf:
            state.working = False
    left: float = cash - side * notional - fee
    fill["position"] = state.quantity
    fill["cash"] = left
    return left


@kernel
def trade_orders_nb(
    t: int, cash: float, marks: Floats, volume: Floats, multiplier: Floats, lot: Floats, terms: Terms, book: Records,
    fills: Records, trades: Records, counts: Integers,
) -> float:  # fmt: skip
    """Fill every working order at this bar's price: sells before buys, then by column. The cash left."""
    for side in (-1.0, 1.0):
        for s in range(book.shape[0]):
            state = book[s]
            if state.working and (state.goal - state.quantity) * side > 0.0 and not np.isnan(marks[t, s]):
                cash = execute_nb(
                    t, s, marks[t, s], True, state.reason, cash, marks, volume, multiplier, lot, terms, book, fills,
                    trades, counts,
                )  # fmt: skip
    return cash


@kernel
def triggered_nb(
    direction: float, entry: float, best: float, open_: float, high: float, low: float, terms: Terms
) -> tuple[float, int]:
    """The price at which a stop fills within this bar and its reason; NaN when none does.

    A bar that opens beyond a level fills at its open. Of two levels inside one bar the stop is taken to come first,
    because the bar does not say which did. ``best`` is from earlier bars: the path inside this one is not known.
    """
    # Prices times the direction, so that a short position reads like a long one.
    first, worst, finest = direction * open_, direction * low, direction * high
    if direction < 0.0:
        worst, finest = direction * high, direction * low
    loss = direction * entry - entry * terms.stop_loss
    trail = direction * best - best * terms.trailing
    profit = direction * entry + entry * terms.take_profit
    level, reason = (loss, STOP_LOSS) if loss >= trail else (trail, TRAILING)
    if first <= level:
        return open_, reason
    if first >= profit:
        return open_, TAKE_PROFIT
    if worst <= level:
        return direction * level, reason
    if finest >= profit:
        return direction * profit, TAKE_PROFIT
    return np.nan, SIGNAL


@kernel
def stop_nb(
    t: int, cash: float, open_: Floats, high: Floats, low: Floats, volume: Floats, multiplier: Floats, lot: Floats,
    terms: Terms, book: Records, fills: Records, trades: Records, counts: Integers,
) -> float:  # fmt: skip
    """Close what a stop closes within bar ``t``; the cash left."""
    for s in range(book.shape[0]):
        state = book[s]
        if state.quantity == 0.0 or np.isnan(open_[t, s]):
            continue
        direction = 1.0 if state.quantity > 0.0 else -1.0
        price, reason = triggered_nb(
            direction, state.entry_value / state.entered, state.best, open_[t, s], high[t, s], low[t, s], terms
        )
        if np.isnan(price):
            state.best = max(state.best, high[t, s]) if direction > 0.0 else min(state.best, low[t, s])
            continue
        state.goal = 0.0
        state.working = True
        state.blocked = True
        state.reason = reason
        cash = execute_nb(
            t, s, price, reason != TAKE_PROFIT, reason, cash, open_, volume, multiplier, lot, terms, book, fills,
            trades, counts,
        )  # fmt: skip
    return cash


@kernel
def borrow_nb(elapsed: float, multiplier: Floats, book: Records) -> float:
    """What the short positions cost over ``elapsed`` (the rate included), at the last closes; noted in each trade."""
    total = 0.0
    for s in range(book.shape[0]):
        if book[s].quantity < 0.0:
            cost = -book[s].quantity * multiplier[s] * book[s].last * elapsed
            book[s].borrow += cost
            total += cost
    return total


@kernel
def decide_nb(
    t: int, equity: float, targets: Floats, scale: Floats, multiplier: Floats, lot: Floats, always: bool, book: Records
) -> bool:
    """Turn this bar's targets into wished positions; whether any order works now. ValueError for an infinite target."""
    working = False
    for s in range(book.shape[0]):
        state = book[s]
        target = targets[t, s]
        if np.isinf(target):
            raise ValueError("targets are finite numbers, or NaN for no change")
        changed = target != state.acted
        if not np.isnan(target) and (changed or (always and not state.blocked)) and state.last > 0.0:
            weight = target * (scale[0, 0] if scale.shape[0] == 1 else scale[t, s])
            if target == 0.0:
                weight = 0.0
            if not np.isnan(weight):
                quantity = floor_nb(abs(weight) * equity / (state.last * multiplier[s]), lot[s])
                state.goal = quantity if weight > 0.0 else -quantity if weight < 0.0 else 0.0
                if near_nb(state.goal, state.quantity):
                    state.goal = state.quantity
                state.acted = target
                state.blocked = False
                state.working = state.goal != state.quantity
                state.reason = SIGNAL
        working = working or state.working
    return working
