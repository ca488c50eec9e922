"""The kernel of the engine: one pass over the bars, one book a symbol, one purse for all."""

import numpy as np

from trading.quant.kernels import Floats, Integers, kernel
from trading.quant.orders import borrow_nb, close_trade_nb, decide_nb, stop_nb, trade_orders_nb
from trading.quant.records import OPEN, RUIN, Records, Terms

BLOCK = 32
"""Bars that are searched for a change at once."""


@kernel
def grown_nb(records: Records, used: int, more: int) -> Records:
    """The ``used`` records, with room for ``more`` and as many again."""
    larger = np.empty(2 * records.shape[0] + more, records.dtype)
    larger[:used] = records[:used]
    return larger


@kernel
def differs_nb(values: Floats, known: float) -> bool:
    """Whether any value is another than ``known``; NaN is none. Without a way out, so that it is done by vectors."""
    found = False
    for k in range(values.shape[0]):
        found |= (values[k] < known) | (values[k] > known)
    return found


@kernel
def changed_nb(targets: Floats, t: int, acted: Floats) -> bool:
    """Whether a target of bar ``t`` is another than the one acted on; NaN is none."""
    changed = False
    for s in range(acted.shape[0]):
        changed |= (targets[t, s] < acted[s]) | (targets[t, s] > acted[s])
    return changed


@kernel
def quiet_nb(
    t: int, cash: float, close: Floats, targets: Floats, multiplier: Floats, book: Records, acted: Floats,
    equity: Floats,
) -> tuple[int, float]:  # fmt: skip
    """Value the positions from bar ``t`` to the bar where a target changes, the equity is gone or the data end.

    Nothing else may happen meanwhile: no order works, no stop and no borrowing is on, no bar is missing. The bar
    reached and the equity there; the arithmetic is that of `mark_nb`, many bars at a time.
    """
    bars, symbols = close.shape
    end = t
    for s in range(symbols):
        acted[s] = book[s].acted
    while end < bars - 1:
        until = min(bars - 1, end + BLOCK)
        changed = False
        for s in range(symbols):
            changed |= differs_nb(targets[end:until, s], acted[s])
        if changed:
            break
        end = until
    while end < bars - 1 and not changed_nb(targets, end, acted):
        end += 1
    stretch = equity[t : end + 1]
    stretch[:] = cash
    for s in range(symbols):
        if book[s].quantity != 0.0:
            units = book[s].quantity * multiplier[s]
            prices = close[t : end + 1, s]
            for k in range(stretch.shape[0]):
                stretch[k] += units * prices[k]
    gone = False
    for k in range(stretch.shape[0]):
        gone |= stretch[k] <= 0.0
    if gone:
        end = t
        while equity[end] > 0.0:
            end += 1
    for s in range(symbols):
        book[s].last = close[end, s]
    return end, equity[end]


@kernel
def mark_nb(t: int, cash: float, close: Floats, multiplier: Floats, book: Records) -> float:
    """The equity at the close of bar ``t``; a symbol without a bar counts at its last close."""
    value = cash
    for s in range(book.shape[0]):
        if not np.isnan(close[t, s]):
            book[s].last = close[t, s]
        if book[s].quantity != 0.0:
            value += book[s].quantity * multiplier[s] * book[s].last
    return value


@kernel
def calm_nb(terms: Terms, book: Records) -> bool:
    """Whether nothing can happen before a target changes, given that no order works."""
    for s in range(book.shape[0]):
        if book[s].quantity != 0.0 and (terms.any_stop or (terms.borrow_per_ns > 0.0 and book[s].quantity < 0.0)):
            return False
    return not terms.always


@kernel
def simulate_nb(
    time: Integers, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats, targets: Floats,
    scale: Floats, multiplier: Floats, lot: Floats, complete: bool, terms: Terms, book: Records, fills: Records,
    trades: Records, equity: Floats, cashes: Floats,
) -> tuple[Records, Records, int, int, int]:  # fmt: skip
    """Fill ``equity`` (T,), and ``cashes`` (T,) unless that is empty; fills, trades, how many of each, bar of ruin or
    -1.

    ``book`` holds zeros. ``fills`` and ``trades`` are room that is grown when it is too small. ``scale`` is (1, 1) or
    (T, S). ``complete``: no bar is missing.
    """
    bars, symbols = close.shape
    marks = close if terms.fill_at_close else open_
    counts, acted = np.zeros(2, np.int64), np.zeros(symbols)
    cash = terms.cash
    working, ruined = False, -1
    t = 0
    while t < bars:
        if complete and not working and ruined < 0 and cashes.shape[0] == 0 and calm_nb(terms, book):
            t, value = quiet_nb(t, cash, close, targets, multiplier, book, acted, equity)
        else:
            if counts[0] + 2 * symbols > fills.shape[0]:
                fills = grown_nb(fills, counts[0], 2 * symbols)
            if counts[1] + 3 * symbols > trades.shape[0]:
                trades = grown_nb(trades, counts[1], 3 * symbols)
            if terms.borrow_per_ns > 0.0 and t > 0:
                cash -= borrow_nb(terms.borrow_per_ns * (time[t] - time[t - 1]), multiplier, book)
            if terms.participation < np.inf:
                for s in range(symbols):
                    book[s].used = 0.0
            if working and not terms.fill_at_close:
                cash = trade_orders_nb(t, cash, marks, volume, multiplier, lot, terms, book, fills, trades, counts)
            if terms.any_stop:
                cash = stop_nb(t, cash, open_, high, low, volume, multiplier, lot, terms, book, fills, trades, counts)
            if working and terms.fill_at_close:
                cash = trade_orders_nb(t, cash, marks, volume, multiplier, lot, terms, book, fills, trades, counts)
            value = mark_nb(t, cash, close, multiplier, book)
            equity[t] = value
            if cashes.shape[0] > 0:
                cashes[t] = cash
        if ruined < 0 and value <= 0.0:
            ruined = t
            for s in range(symbols):
                book[s].goal = 0.0
                book[s].reason = RUIN
                book[s].working = book[s].quantity != 0.0
        working = ruined >= 0 or decide_nb(t, value, targets, scale, multiplier, lot, terms.always, book)
        t += 1
    if counts[1] + symbols > trades.shape[0]:
        trades = grown_nb(trades, counts[1], symbols)
    for s in range(symbols):
        state = book[s]
        if state.quantity != 0.0:
            left = abs(state.quantity)
            state.exited += left
            state.exit_value += left * state.last
            close_trade_nb(s, bars - 1, OPEN, multiplier, book, trades, counts[1])
            counts[1] += 1
    return fills, trades, counts[0], counts[1], ruined


@kernel
def positions_nb(fills: Records, bars: int, symbols: int) -> Floats:
    """Shape (T, S): what was held over each close, from the fills in their order."""
    result = np.zeros((bars, symbols))
    until = np.full(symbols, -1, np.int64)
    for number in range(fills.shape[0] - 1, -1, -1):
        fill = fills[number]
        bar, s = fill["bar"], fill["symbol"]
        end = bars if until[s] < 0 else until[s]
        for t in range(bar, end):
            result[t, s] = fill["position"]
        until[s] = bar
    return result


@kernel
def cash_nb(fills: Records, bars: int, initial: float) -> Floats:
    """Shape (T,): the cash at each close when only fills move it."""
    result = np.empty(bars)
    cash, start = initial, 0
    for number in range(fills.shape[0]):
        bar = fills[number]["bar"]
        for t in range(start, bar):
            result[t] = cash
        start = bar
        cash = fills[number]["cash"]
    for t in range(start, bars):
        result[t] = cash
    return result
