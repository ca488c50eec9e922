"""One symbol, market orders at the next open, fees and a fixed slippage: the plain case, and the kernel of sweeps.

The arithmetic is that of `trading.quant.orders`, operation by operation, so that fills, trades and figures are the same
to the bit; the tests compare them. What is left out (stops, borrowing, participation, several symbols) goes the general
way, `trading.quant.simulation`, and so does an account that is ruined.
"""

import numpy as np

from trading.quant.kernels import Floats, kernel
from trading.quant.orders import floor_nb, near_nb, room_nb
from trading.quant.performance import (
    CLOSED,
    FEES,
    GAINS,
    LOSSES,
    NOTIONAL,
    RETURNS,
    SLIPPAGE,
    WINS,
    metrics_nb,
)
from trading.quant.records import OPEN, SIGNAL, Records, Terms
from trading.quant.rolling import prefix_sums_nb
from trading.quant.signals import breakout_nb, crossing_of_sums_nb, reversion_nb
from trading.quant.simulation import BLOCK, differs_nb, grown_nb

CROSSING, BREAKOUT, REVERSION = 0, 1, 2
"""Rules that a sweep knows as kernels. Their numbers: fast, slow, target below; entry, exit, short; entry, exit, short
of a z-score whose window comes fourth."""


@kernel
def lean_nb(
    open_: Floats, close: Floats, targets: Floats, fraction: float, multiplier: float, lot: float, terms: Terms,
    equity: Floats, gross: Floats, sums: Floats, fills: Records, trades: Records,
) -> tuple[Records, Records, int, int, bool]:  # fmt: skip
    """Fill ``equity`` (T,), and ``gross`` (T,) unless it is empty, and add to ``sums``.

    Fills, trades, how many of each, and whether it came to the end; it does not where the equity falls to zero or a
    target is infinite, and then the rest of the answer is of no use. Without room in ``fills`` none are kept, and no
    trades; room that is too small is grown.
    """
    bars = close.shape[0]
    cash, held, acted = terms.cash, 0.0, 0.0
    entered = entry_value = exited = exit_value = fees = 0.0
    start = entry_bar = filled = closed = 0
    keeping, summing = fills.shape[0] > 0, gross.shape[0] > 0
    while True:
        end = start
        while end < bars - 1:
            until = min(bars - 1, end + BLOCK)
            if differs_nb(targets[end:until], acted):
                break
            end = until
        while end < bars - 1 and not (targets[end] < acted or targets[end] > acted):
            end += 1
        units = held * multiplier
        stretch, prices = equity[start : end + 1], close[start : end + 1]
        gone = False
        if held == 0.0:
            stretch[:] = cash
            gone = cash <= 0.0
        else:
            for k in range(stretch.shape[0]):
                stretch[k] = cash + units * prices[k]
            for k in range(stretch.shape[0]):
                gone |= stretch[k] <= 0.0
        if gone or np.isinf(targets[end]):
            return fills, trades, filled, closed, False
        if summing:
            size = abs(held) * multiplier
            notionals = gross[start : end + 1]
            for k in range(notionals.shape[0]):
                notionals[k] = size * prices[k]
        if end == bars - 1:
            break
        acted = targets[end]
        weight = acted * fraction
        quantity = floor_nb(abs(weight) * stretch[end - start] / (close[end] * multiplier), lot)
        goal = quantity if weight > 0.0 else -quantity if weight < 0.0 else 0.0
        start = end + 1
        if near_nb(goal, held):
            # Valued as before from here on; the next stretch begins with the next bar.
            continue
        reference = open_[start]
        side = 1.0 if goal - held > 0.0 else -1.0
        amount = abs(goal - held)
        closing = min(amount, abs(held)) if held * side < 0.0 else 0.0
        price = reference * (1.0 + side * terms.slippage)
        whole = True
        if amount > closing and terms.max_leverage < np.inf:
            left, carried = cash, 0.0
            if held != 0.0:
                left += held * multiplier * reference
                carried += abs(held) * multiplier * reference
            cost = (price - reference) * side + price * terms.fee
            left -= closing * multiplier * cost
            carried -= closing * multiplier * reference
            room = room_nb(terms.max_leverage * left, carried)
            limit = room / (multiplier * (reference + terms.max_leverage * cost))
            if amount - closing > limit:
                amount = closing + floor_nb(limit, lot)
                whole = False
                if amount == 0.0:
                    continue
        notional = amount * price * multiplier
        fee = notional * terms.fee
        slipped = abs(price - reference) * amount * multiplier
        sums[NOTIONAL] += notional
        sums[FEES] += fee
        sums[SLIPPAGE] += slipped
        if closing > 0.0:
            exited += closing
            exit_value += closing * price
            fees += fee * (closing / amount)
            if closing == abs(held):
                direction = 1 if held > 0.0 else -1
                pnl = direction * multiplier * (exit_value - entry_value) - fees
                sums[CLOSED] += 1.0
                sums[WINS] += 1.0 if pnl > 0.0 else 0.0
                sums[GAINS] += max(pnl, 0.0)
                sums[LOSSES] -= min(pnl, 0.0)
                sums[RETURNS] += pnl / (entry_value * multiplier)
                if keeping:
                    if closed == trades.shape[0]:
                        trades = grown_nb(trades, closed, 1)
                    write_trade_nb(
                        trades[closed], direction, entry_bar, start, entered, entry_value, exited, exit_value, fees,
                        pnl, multiplier, SIGNAL,
                    )  # fmt: skip
                    closed += 1
                entered = entry_value = exited = exit_value = fees = 0.0
        opening = amount - closing
        if opening > 0.0:
            if entered == 0.0:
                entry_bar = start
            entered += opening
            entry_value += opening * price
            fees += fee * (opening / amount)
        part = 0.0 if closing == abs(held) and opening == 0.0 else held + side * amount
        held = goal if whole else part
        cash = cash - side * notional - fee
        if keeping:
            if filled == fills.shape[0]:
                fills = grown_nb(fills, filled, 1)
            fill = fills[filled]
            filled += 1
            fill["bar"] = start
            fill["symbol"] = 0
            fill["quantity"] = side * amount
            fill["price"] = price
            fill["fee"] = fee
            fill["slippage"] = slipped
            fill["position"] = held
            fill["cash"] = cash
            fill["reason"] = SIGNAL
    if keeping and held != 0.0:
        if closed == trades.shape[0]:
            trades = grown_nb(trades, closed, 1)
        exited += abs(held)
        exit_value += abs(held) * close[bars - 1]
        direction = 1 if held > 0.0 else -1
        pnl = direction * multiplier * (exit_value - entry_value) - fees
        write_trade_nb(
            trades[closed], direction, entry_bar, bars - 1, entered, entry_value, exited, exit_value, fees, pnl,
            multiplier, OPEN,
        )  # fmt: skip
        closed += 1
    return fills, trades, filled, closed, True


@kernel
def write_trade_nb(
    trade: Records, direction: int, entry_bar: int, exit_bar: int, entered: float, entry_value: float, exited: float,
    exit_value: float, fees: float, pnl: float, multiplier: float, reason: int,
) -> None:  # fmt: skip
    """Write one trade of the one symbol."""
    trade["symbol"] = 0
    trade["direction"] = direction
    trade["entry_bar"] = entry_bar
    trade["exit_bar"] = exit_bar
    trade["quantity"] = entered
    trade["entry_price"] = entry_value / entered
    trade["exit_price"] = exit_value / exited
    trade["fees"] = fees
    trade["borrow"] = 0.0
    trade["pnl"] = pnl
    trade["return"] = pnl / (entry_value * multiplier)
    trade["reason"] = reason


@kernel
def sweep_nb(
    rule: int, numbers: Floats, open_: Floats, high: Floats, low: Floats, close: Floats, scores: Floats,
    fraction: float, multiplier: float, lot: float, terms: Terms, periods: float, risk_free: float, minimum: float,
    fills: Records, trades: Records, table: Floats,
) -> None:  # fmt: skip
    """Fill a row of ``table`` with figures for each row of ``numbers``; with NaN alone where the equity fell to zero.

    ``fills`` and ``trades`` are empty: none are kept.
    ``scores``: shape (W, T), the z-scores that reversion reads, one row for each value of its fourth number.
    """
    bars = close.shape[0]
    targets, equity, gross, scratch = np.empty(bars), np.empty(bars), np.empty(bars), np.empty(bars)
    sums = np.empty(9)
    prefix = prefix_sums_nb(close)
    for n in range(numbers.shape[0]):
        first, second, third = numbers[n, 0], numbers[n, 1], numbers[n, 2]
        if rule == CROSSING:
            crossing_of_sums_nb(prefix, int(first), int(second), third, targets)
        elif rule == BREAKOUT:
            breakout_nb(high, low, close, int(first), int(second), third > 0.0, targets)
        else:
            targets[:] = np.nan
            window = int(numbers[n, 3])
            row = scores[window]
            warm = 0
            while warm < bars and np.isnan(row[warm]):
                warm += 1
            reversion_nb(row[warm:], first, second, third > 0.0, targets[warm:])
        sums[:] = 0.0
        if lean_nb(open_, close, targets, fraction, multiplier, lot, terms, equity, gross, sums, fills, trades)[4]:
            metrics_nb(equity, gross, sums, periods, risk_free, minimum, scratch, table[n])
        else:
            table[n] = np.nan
