"""Does a rule know the future, and how much of the past does it need? Asked by running it on less and comparing.

Source: the look-ahead and recursive analyses of freqtrade, whose idea this is: a rule that only reads what has happened
says the same about a bar whether or not later bars are there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trading.quant.bars import Bars
from trading.quant.kernels import Floats, Integers
from trading.quant.sizing import require

Rule = Callable[[Bars], Floats]
"""From bars to targets of shape (T, S); what `trading.quant.engine.simulate` takes."""


@dataclass(frozen=True, slots=True)
class Leak:
    """At ``bar`` the rule said ``with_future``, but ``at_the_time`` when the bars after ``cut`` were not there."""

    bar: int
    time_ns: int
    symbol: str
    with_future: float
    at_the_time: float
    cut: int

    def __str__(self) -> str:
        return (
            f"bar {self.bar}{self.symbol and ' of ' + self.symbol}: {self.with_future:g} with all bars, "
            f"{self.at_the_time:g} with those up to bar {self.cut}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """``leaks``: one for each cut that changed an answer, none for a rule that is fit to trade.

    ``cuts``: how many were tried. ``history``: bars that the rule has to be given for its last answer to be the same as
    with all of them; more than its warm-up means that it is recursive. None: it had not settled within the data.
    """

    leaks: tuple[Leak, ...]
    cuts: int
    history: int | None

    @property
    def honest(self) -> bool:
        """Whether no answer changed."""
        return not self.leaks


def check(
    rule: Rule,
    bars: Bars,
    *,
    warm_up: int = 0,
    cuts: int = 64,
    starts: int = 8,
    tolerance: float = 1e-9,
    anew: Callable[[], Rule] | None = None,
) -> Verdict:
    """Run ``rule`` on ``cuts`` beginnings of ``bars`` and from ``starts`` later bars, and compare with the whole.

    Half of the cuts are spread evenly, half fall where the rule changes its mind, where a leak of few bars shows.
    ``warm_up``: rows before the first opinion; beginnings that end earlier are not tried, unless the rule holds
    something there. ``tolerance``: relative, for sums taken in another order. ``anew`` makes the rule again without
    what it has kept from earlier calls: a rule that remembers what it was once shown repeats it when the bars are gone.
    The beginnings are tried with one such rule, the shortest first, and the later beginnings with another. Raises what
    the rule raises, and ValueError when there are not two bars after the warm-up.
    """
    require(len(bars) >= warm_up + 2, f"{len(bars)} bars are too few for a warm-up of {warm_up}: add at least two more")
    whole = rule(bars)
    chosen = cut_points(whole, min(warm_up, first_held(whole)), cuts)
    leaks = []
    again = rule if anew is None else anew()
    for cut in chosen:
        part = again(beginning(bars, cut + 1))
        unlike = different(part, whole[: cut + 1], tolerance)
        if unlike is not None and unlike.any():
            row, column = (int(places[0]) for places in np.nonzero(unlike))
            leaks.append(
                Leak(
                    bar=row,
                    time_ns=int(bars.time[row]),
                    symbol=bars.symbols[column],
                    with_future=float(whole[row, column]),
                    at_the_time=float(part[row, column]),
                    cut=cut,
                )
            )
    late = rule if anew is None else anew()
    return Verdict(tuple(leaks), len(chosen), history(late, bars, whole, warm_up, starts, tolerance))


def blindfolded(rule: Rule, bars: Bars, *, warm_up: int = 0) -> Floats:
    """What ``rule`` says when each row is asked for with nothing but the bars up to it: no rule can see a later one.

    Unless it has been shown it before and has kept it: hand over a rule that has not been called.

    Shape (T, S), NaN in the first ``warm_up`` rows. It costs T runs of the rule, which an honest one can do without.
    """
    answer = np.full(bars.close.shape, np.nan)
    for last in range(warm_up, len(bars)):
        answer[last] = rule(beginning(bars, last + 1))[-1]
    return answer


def beginning(bars: Bars, stop: int) -> Bars:
    """The bars before ``stop``, copied: behind a slice lie the bars that it leaves out, which strides can reach."""
    part = bars.window(0, stop)
    return Bars(
        part.time.copy(),
        part.open.copy(),
        part.high.copy(),
        part.low.copy(),
        part.close.copy(),
        part.volume.copy(),
        part.symbols,
    )


def first_held(whole: Floats) -> int:
    """The first row with a target other than zero or none; the number of rows when there is no such row."""
    held = np.flatnonzero((np.nan_to_num(whole) != 0.0).any(axis=1))
    return int(held[0]) if held.size else whole.shape[0]


def cut_points(whole: Floats, warm_up: int, cuts: int) -> list[int]:
    """Last rows of the beginnings to try: evenly spread, and where the targets change (also one row before)."""
    last = whole.shape[0] - 2
    unlike = different(whole[1:], whole[:-1], 0.0)
    changes: Integers = np.empty(0, np.int64) if unlike is None else np.flatnonzero(unlike.any(axis=1)) + 1
    near = np.union1d(changes, changes - 1)
    near = near[(near >= warm_up) & (near <= last)]
    even = np.linspace(warm_up, last, max(1, cuts // 2)).astype(np.int64)
    if near.size > cuts - even.size:
        near = near[np.linspace(0, near.size - 1, cuts - even.size).astype(np.int64)]
    return [int(cut) for cut in np.union1d(even, near)]


def history(rule: Rule, bars: Bars, whole: Floats, warm_up: int, starts: int, tolerance: float) -> int | None:
    """The most bars that any of ``starts`` later beginnings needed until it agreed with ``whole`` for good."""
    most = warm_up + 1
    for start in np.linspace(1, max(1, (len(bars) - warm_up) // 2), starts).astype(int):
        if len(bars) - start <= warm_up:
            continue
        late = different(rule(bars.window(int(start), len(bars))), whole[start:], tolerance)
        if late is None:
            continue
        wrong = np.flatnonzero(late.any(axis=1))
        if wrong.size and wrong[-1] == late.shape[0] - 1:
            return None
        if wrong.size:
            most = max(most, int(wrong[-1]) + 2)
    return most


def different(some: Floats, others: Floats, tolerance: float) -> npt.NDArray[np.bool_] | None:
    """Where two answers differ: by more than the tolerance, or one is NaN and the other is not. None: in no bit."""
    if some.shape != others.shape:
        raise ValueError(f"the rule answered shape {some.shape} where {others.shape} was asked for")
    if some.tobytes() == others.tobytes():  # as an honest rule's are, time after time
        return None
    return ~np.isclose(some, others, rtol=tolerance, atol=tolerance, equal_nan=True)
