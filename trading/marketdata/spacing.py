"""How far apart candles lie, and whether that can be bars of the length that they are said to have.

Gaps are no fault: nights, weekends, holidays, halts and minutes without a trade are left out of honest data. Neither is
a bar that a session's end or a change of the clock has cut short.
"""

from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

TIMEFRAMES: Final = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
CUT_SHORT: Final = 0.5
"""Of a bar's length: the first of a session that is cut by the clock begins as near as this to the second."""
USUALLY: Final = 0.8
"""Of a bar's length: a week that begins on its first day of trading, and a day when the clocks change, stay above."""
FAR: Final = 2
"""Bar lengths: the usual distance of bars that are longer than they are said to be."""
NEIGHBOURS: Final = 0.1
"""The share of candles that follow on the one before, in data that have their length and many gaps."""
FEWEST: Final = 5
"""Candles, from which a usual distance is read."""

_SECONDS: Final = (("weeks", 604_800), ("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


def fault(symbol: str, times: npt.NDArray[np.int64], timeframe: str) -> str | None:
    """Why the candles of ``symbol`` that begin at ``times`` cannot be bars of ``timeframe``; None when they can.

    ``times``: int64 nanoseconds since 1970 UTC, increasing. ``timeframe``: a key of `TIMEFRAMES`.
    """
    length = TIMEFRAMES[timeframe] // timedelta(microseconds=1) * 1_000
    apart = np.diff(times)
    if not apart.size:
        return None
    nearest = int(apart.argmin())
    if apart[nearest] < CUT_SHORT * length:
        first, second = (
            f"{moment:.16}" for moment in np.datetime_as_string(times[nearest : nearest + 2].view("M8[ns]"))
        )
        return (
            f"the candles of {symbol} at {first.replace('T', ' ')} and {second.replace('T', ' ')} are"
            f" {_said(int(apart[nearest]))} apart, which bars of {timeframe} are not: name the timeframe that they"
            f" have{_fitting(apart)}, or keep one of two series that are mixed"
        )
    if apart.size + 1 < FEWEST:
        return None
    usual = float(np.median(apart))
    long = usual >= FAR * length and float((apart < FAR * length).mean()) < NEIGHBOURS
    if usual < USUALLY * length or long:
        return (
            f"the candles of {symbol} are usually {_said(int(usual))} apart, which bars of {timeframe} are not:"
            f" name the timeframe that they have{_fitting(apart)}"
        )
    return None


def _fitting(apart: npt.NDArray[np.int64]) -> str:
    """The timeframe that these candles seem to have, in brackets; nothing where there is none."""
    usual = float(np.median(apart))
    for name, delta in TIMEFRAMES.items():
        length = delta // timedelta(microseconds=1) * 1_000
        if USUALLY * length <= usual < min(FAR, 1 / USUALLY) * length:
            return f" ({name})"
    return ""


def _said(nanoseconds: int) -> str:
    """A length of time in words."""
    seconds = nanoseconds / 1e9
    name, unit = next(((name, unit) for name, unit in _SECONDS if seconds >= unit), _SECONDS[-1])
    count = f"{seconds / unit:.3g}"
    return f"{count} {name[:-1] if count == '1' else name}"
