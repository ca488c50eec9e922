"""What the engine keeps while the bars pass and what it leaves: fills, trades, one book a symbol, the terms."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[Any]

SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING, RUIN, OPEN = 0, 1, 2, 3, 4, 5
REASONS = ("signal", "stop_loss", "take_profit", "trailing", "ruin", "open")
"""Why a fill happened or a trade ended, by the number in ``reason``; an open trade is valued at the last close."""

FILL = np.dtype(
    [
        ("bar", np.int64),
        ("symbol", np.int64),
        ("quantity", np.float64),
        ("price", np.float64),
        ("fee", np.float64),
        ("slippage", np.float64),
        ("position", np.float64),
        ("cash", np.float64),
        ("reason", np.int64),
    ]
)
"""One fill: bar and column, signed quantity, price, fee and slippage in the quote currency, the position and the cash
that it leaves, number of the reason."""

TRADE = np.dtype(
    [
        ("symbol", np.int64),
        ("direction", np.int64),
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        ("quantity", np.float64),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("fees", np.float64),
        ("borrow", np.float64),
        ("pnl", np.float64),
        ("return", np.float64),
        ("reason", np.int64),
    ]
)
"""One trade, from flat to flat: total quantity entered, mean prices, profit after fees and borrowing, return on what
was entered. ``exit_bar`` of an open trade is the last bar, ``exit_price`` its close (or the mean with what was sold
before)."""

BOOK = np.dtype(
    [
        ("quantity", np.float64),
        ("goal", np.float64),
        ("acted", np.float64),
        ("last", np.float64),
        ("best", np.float64),
        ("entered", np.float64),
        ("entry_value", np.float64),
        ("exited", np.float64),
        ("exit_value", np.float64),
        ("fees", np.float64),
        ("borrow", np.float64),
        ("used", np.float64),
        ("entry_bar", np.int64),
        ("reason", np.int64),
        ("working", np.bool_),
        ("blocked", np.bool_),
    ],
    align=True,
)
"""What is known of one symbol while the bars pass: position, wished position, last target acted on, last close, best
price since the entry, the open trade, volume used in this bar, whether an order works, whether a stop blocks the
target."""


class Terms(NamedTuple):
    """The numbers that a simulation runs under, as the kernel takes them; what does not apply is zero or infinite."""

    cash: float
    fill_at_close: bool
    always: bool
    max_leverage: float
    fee: float
    borrow_per_ns: float
    slippage: float
    participation: float
    impact: float
    stop_loss: float
    take_profit: float
    trailing: float
    any_stop: bool
