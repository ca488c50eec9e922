"""Bars: the open, high, low, close and volume of one or several symbols over the same times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trading.quant.kernels import Floats, Integers, frozen, kernel

DAY_NS = 86_400_000_000_000

FAULTS = {
    1: "a price is not positive and finite",
    2: "some of open, high, low, close are missing and some are not; leave out all of a bar or none",
    3: "high is below open or close, or low is above",
    4: "volume is negative or infinite",
}


class BadBars(ValueError):
    """The bars contradict themselves; the message names the bar, the symbol and the fault."""


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Bars:
    """Bars of ``S`` symbols over ``T`` times, checked when made and read-only from then on.

    ``time``: shape (T,), int64 nanoseconds since 1970 UTC, strictly increasing: the time at which the bar opens.
    ``open``, ``high``, ``low``, ``close``: shape (T, S), in the quote currency, above zero. A bar that a symbol does
    not have (before its listing, on its holiday) is NaN in all four; nothing is filled there and the last close values
    the position. ``volume``: shape (T, S), in units of the symbol; NaN counts as zero.
    ``symbols``: S different names, in the order of the columns. ``complete``: no bar is known to be missing.
    """

    time: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    symbols: tuple[str, ...]
    complete: bool

    def __init__(
        self,
        time: npt.ArrayLike,
        open: npt.ArrayLike,
        high: npt.ArrayLike,
        low: npt.ArrayLike,
        close: npt.ArrayLike,
        volume: npt.ArrayLike,
        symbols: Sequence[str] = (),
    ) -> None:
        """Arrays of shape (T,) count as one symbol. Raises `BadBars`."""
        times = np.ascontiguousarray(time)
        if np.issubdtype(times.dtype, np.datetime64):
            times = times.astype("datetime64[ns]")
        elif not np.issubdtype(times.dtype, np.integer):
            raise BadBars(f"time holds {times.dtype}; give int64 nanoseconds or datetime64")
        times = times.astype(np.int64).view()
        times.flags.writeable = False
        columns = {}
        for name, values in (("open", open), ("high", high), ("low", low), ("close", close), ("volume", volume)):
            array = frozen(values)
            columns[name] = array.reshape(-1, 1) if array.ndim == 1 else array
        shape = columns["close"].shape
        if times.ndim != 1 or len(shape) != 2 or shape[0] < 1 or shape[1] < 1:
            raise BadBars("time has shape (T,), prices and volume (T,) or (T, S), with at least one bar and symbol")
        for name, array in columns.items():
            if array.shape != shape or shape[0] != times.shape[0]:
                raise BadBars(f"{name} has shape {array.shape}, close {shape}, time {times.shape}: they must agree")
        names = tuple(symbols) or tuple(f"S{index}" if shape[1] > 1 else "" for index in range(shape[1]))
        if len(names) != shape[1] or len(set(names)) != len(names):
            raise BadBars(f"{shape[1]} different symbols are needed, given: {', '.join(names)}")
        fault, bar, column = check_nb(
            times, columns["open"], columns["high"], columns["low"], columns["close"], columns["volume"]
        )
        if fault == 5:
            raise BadBars(f"time does not increase at bar {bar}; sort the bars and drop doubles")
        if fault:
            raise BadBars(f"bar {bar} of {names[column] or 'the symbol'}: {FAULTS[fault]}")
        object.__setattr__(self, "complete", bar < 0)
        object.__setattr__(self, "time", times)
        for name, array in columns.items():
            object.__setattr__(self, name, array)
        object.__setattr__(self, "symbols", names)

    def __len__(self) -> int:
        """The number of bars, T."""
        return int(self.time.shape[0])

    def window(self, start: int, stop: int) -> Self:
        """The bars ``start`` to ``stop`` (exclusive), without a copy and without a second check."""
        if not 0 <= start < stop <= len(self):
            raise BadBars(f"there are bars 0 to {len(self)}, not {start} to {stop}")
        return self._with(lambda array: array[start:stop], self.symbols)

    def select(self, columns: Sequence[int]) -> Self:
        """The symbols in ``columns``, in that order."""
        chosen = list(columns)
        return self._with(
            lambda array: frozen(array[:, chosen]) if array.ndim == 2 else array,
            tuple(self.symbols[column] for column in chosen),
        )

    def _with(self, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], symbols: tuple[str, ...]) -> Self:
        other = object.__new__(type(self))
        for name in ("time", "open", "high", "low", "close", "volume"):
            object.__setattr__(other, name, change(getattr(self, name)))
        object.__setattr__(other, "symbols", symbols)
        object.__setattr__(other, "complete", self.complete)
        return other


def last_known(prices: Floats) -> Floats:
    """Each missing price replaced by the last one before it, by column, shape (T, S); NaN before the first."""
    rows = np.where(np.isnan(prices), 0, np.arange(prices.shape[0])[:, None])
    filled: Floats = np.take_along_axis(prices, np.maximum.accumulate(rows, axis=0), axis=0)
    return filled


@kernel
def check_nb(
    time: Integers, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
) -> tuple[int, int, int]:
    """The first fault of `FAULTS` (5: time) with its bar and column; (0, -1, 0) for none, (0, 0, 0) with missing
    bars."""
    bars, symbols = close.shape
    first = -1
    for t in range(bars):
        if t > 0 and time[t] <= time[t - 1]:
            return 5, t, 0
        for s in range(symbols):
            o, h, lo, c = open_[t, s], high[t, s], low[t, s], close[t, s]
            # Every comparison with NaN is false, so the usual bar passes with these alone.
            if 0.0 < lo <= o <= h < np.inf and lo <= c <= h and (volume[t, s] >= 0.0 or np.isnan(volume[t, s])):
                if volume[t, s] == np.inf:
                    return 4, t, s
                continue
            missing = int(np.isnan(o)) + int(np.isnan(h)) + int(np.isnan(lo)) + int(np.isnan(c))
            if missing == 4:
                first = 0
                continue
            if missing:
                return 2, t, s
            for price in (o, h, lo, c):
                if not 0.0 < price < np.inf:
                    return 1, t, s
            if h < max(o, c) or lo > min(o, c):
                return 3, t, s
            return 4, t, s
    return 0, first, 0
