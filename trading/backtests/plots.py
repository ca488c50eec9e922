"""Plots as inline SVG: text whose bytes follow from the numbers, without script, style attributes or other files."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

import numpy as np

from trading.quant.kernels import Floats, Integers

WIDTH, HEIGHT = 860, 240
LEFT, RIGHT, TOP, BOTTOM = 74, 14, 12, 28
MOST_COLUMNS = 250
"""Of a curve: each is drawn from its lowest to its highest value, so that no spike is lost."""

TENTHS = [f"{number / 10:.1f}" for number in range(10 * WIDTH + 1)]
"""Of a pixel: every place in a plot as it is written, looked up since hundreds of them are."""

Label = Callable[[float], str]


BEYOND: Final = 1e4
"""From here on a share, such as the growth a year of a good hour, is no number to read digit by digit."""


def percent(value: float) -> str:
    """A fraction in per cent; past a million of them as a power of ten."""
    return f"{100 * value:.1f}%" if abs(value) < BEYOND else f"{100 * value:.2e}%"


def plain(value: float) -> str:
    """A number with as many decimals as its size asks for; from ten million on in millions."""
    if abs(value) >= 1e13:
        return f"{value:.2e}"
    if abs(value) >= 1e7:
        return f"{value / 1e6:,.6g}M"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def curve(
    times: Integers, values: Floats, *, name: str, label: Label, marks: Sequence[float] = (), fill: bool = False
) -> str:
    """``values`` over ``times`` (nanoseconds since 1970), NaN left out; ``marks`` are values to be seen too."""
    known = ~np.isnan(values)
    if known.sum() < 2:
        return _nothing(name, "too few bars")
    x_all, y_all = times[known], values[known]
    x, y = thinned(x_all, y_all)
    low, high = _span([float(y_all.min()), float(y_all.max()), *marks])
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    across = _scale(float(x_all[0]), float(x_all[-1]), LEFT, WIDTH - RIGHT)
    down = _scale(low, high, HEIGHT - BOTTOM, TOP)
    places = zip(_tenths(across(x.astype(np.float64))), _tenths(down(y)), strict=True)
    points = " ".join([f"{TENTHS[right]},{TENTHS[below]}" for right, below in places])
    base = down(min(max(0.0, low), high))
    area = f'<polygon class="area" points="{LEFT},{base:.1f} {points} {WIDTH - RIGHT},{base:.1f}"/>' if fill else ""
    lines = "".join(
        f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(mark):.1f}" y2="{down(mark):.1f}"/>'
        for mark in marks
    )
    summary = (
        f"{name}: from {label(float(y_all[0]))} to {label(float(y_all[-1]))}, lowest {label(float(y_all.min()))},"
        f" highest {label(float(y_all.max()))}"
    )
    body = _rows(ticks, down, label) + _dates(x_all, across) + area + lines
    return _svg(f'{body}<polyline class="line" points="{points}"/>', summary)


def histogram(
    draws: Floats, *, name: str, label: Label, observed: float, low: float | None = None, high: float | None = None
) -> str:
    """How often each value was drawn, a line at what was observed, and the ends of an interval around it."""
    if len(draws) < 2 or not np.isfinite(draws).all():
        return _nothing(name, "too few draws")
    ends = [value for value in (low, high) if value is not None]
    first, last = _span([float(draws.min()), float(draws.max()), observed, *ends])
    bins = int(min(60, max(8, math.sqrt(len(draws)))))
    counts, edges = np.histogram(draws, bins=bins, range=(first, last))
    across = _scale(first, last, LEFT, WIDTH - RIGHT)
    down = _scale(0.0, float(counts.max()), HEIGHT - BOTTOM, TOP)
    bars = "".join(
        f'<rect class="bar" x="{across(float(edges[place])):.1f}" y="{down(float(count)):.1f}"'
        f' width="{(WIDTH - LEFT - RIGHT) / bins - 1:.1f}" height="{HEIGHT - BOTTOM - down(float(count)):.1f}"/>'
        for place, count in enumerate(counts)
        if count
    )
    interval = "".join(_upright(across(value), "end") for value in ends)
    ticks = [tick for tick in nice_ticks(first, last) if first <= tick <= last]
    labels = "".join(
        f'<text class="tick" text-anchor="middle" x="{across(tick):.1f}" y="{HEIGHT - 8}">{escape(label(tick))}</text>'
        for tick in ticks
    )
    above = float((draws >= observed).mean())
    summary = f"{name}: observed {label(observed)}; {percent(above)} of {len(draws)} draws reach it"
    return _svg(f"{bars}{interval}{_upright(across(observed), 'seen')}{labels}", summary)


def months(times: Integers, equity: Floats, initial: float) -> str:
    """The return of each month, a row for each year."""
    month = times.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    last = np.flatnonzero(np.append(np.diff(month) != 0, True))
    before = np.concatenate([[initial], equity[last][:-1]])
    returns = np.where(before > 0.0, equity[last] / np.where(before > 0.0, before, 1.0) - 1.0, 0.0)
    years = sorted({1970 + number // 12 for number in month[last].tolist()})[-40:]
    cell, row = 56, 24
    largest = max(float(np.abs(returns).max()), 1e-9)
    drawn = []
    for number, value in zip(month[last].tolist(), returns.tolist(), strict=True):
        year, place = 1970 + number // 12, number % 12
        if year not in years:
            continue
        x, y = 54 + place * cell, 22 + years.index(year) * row
        strength = f"{0.08 + 0.72 * abs(value) / largest:.2f}"
        drawn.append(
            f'<rect class="{"gain" if value >= 0 else "loss"}" fill-opacity="{strength}" x="{x}" y="{y}"'
            f' width="{cell - 2}" height="{row - 2}"/>'
            f'<text class="cell" text-anchor="middle" x="{x + cell / 2 - 1:.0f}" y="{y + 16}">{100 * value:.1f}</text>'
        )
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    heads = "".join(
        f'<text class="tick" text-anchor="middle" x="{54 + place * cell + cell / 2:.0f}" y="14">{name}</text>'
        for place, name in enumerate(names)
    )
    rows = "".join(
        f'<text class="tick" x="4" y="{22 + place * row + 16}">{year}</text>' for place, year in enumerate(years)
    )
    best, worst = percent(float(returns.max())), percent(float(returns.min()))
    summary = f"Returns of {len(returns)} months in per cent: best {best}, worst {worst}"
    return _svg(heads + rows + "".join(drawn), summary, width=54 + 12 * cell, height=26 + len(years) * row)


def heat(
    values: Floats,
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    across: str,
    down: str,
    name: str,
    label: Label,
    chosen: tuple[int, int] | None = None,
) -> str:
    """``values`` of shape (rows, columns) as a map, the first row at the bottom; NaN is an empty cell."""
    known = values[np.isfinite(values)]
    largest = max(float(np.abs(known).max(initial=0.0)), 1e-12)
    left, top = 20 + 7 * max(map(len, rows)), 10
    width = (WIDTH - left - RIGHT) / len(columns)
    height = min(34.0, max(12.0, 560 / len(rows)))
    drawn = []
    for row, column in np.ndindex(*values.shape):
        value = float(values[row, column])
        x, y = left + column * width, top + (len(rows) - 1 - row) * height
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{height - 1:.1f}"'
        if np.isnan(value):
            drawn.append(f'<rect class="none" {place}/>')
            continue
        where = f"{across} {columns[column]}" + (f", {down} {rows[row]}" if down else "")
        drawn.append(
            f'<rect class="{"gain" if value >= 0 else "loss"}" fill-opacity="{0.06 + 0.84 * abs(value) / largest:.2f}"'
            f" {place}><title>{escape(f'{where}: {label(value)}')}</title></rect>"
        )
        if width >= 42 and height >= 16:
            middle = f'x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}"'
            drawn.append(f'<text class="cell" text-anchor="middle" {middle}>{escape(label(value))}</text>')
        if chosen == (row, column):
            drawn.append(f'<rect class="chosen" {place}/>')
    below = top + len(rows) * height
    each = max(1, math.ceil(len(columns) * (7 * max(map(len, columns)) + 10) / (WIDTH - left)))
    heads = "".join(
        f'<text class="tick" text-anchor="middle" x="{left + (place + 0.5) * width:.1f}" y="{below + 16:.1f}">'
        f"{escape(word)}</text>"
        for place, word in enumerate(columns)
        if place % each == 0
    )
    sides = "".join(
        f'<text class="tick" text-anchor="end" x="{left - 6}" y="{top + (len(rows) - 0.5 - place) * height + 4:.1f}">'
        f"{escape(word)}</text>"
        for place, word in enumerate(rows)
    )
    named = f'<text class="tick" text-anchor="middle" x="{left + (WIDTH - left) / 2:.1f}" y="{below + 34:.1f}">'
    axes = f"{named}across: {escape(across)}{escape(f' · up: {down}') if down else ''}</text>"
    span = f": from {label(float(known.min()))} to {label(float(known.max()))}" if len(known) else ""
    return _svg("".join(drawn) + heads + sides + axes, f"{name}{span}", height=math.ceil(below + 42))


def thinned(x: Integers, y: Floats) -> tuple[Integers, Floats]:
    """At most `MOST_COLUMNS` columns of ``y``, each by its first, lowest, highest and last point, in their order."""
    if len(x) <= 4 * MOST_COLUMNS:
        return x, y
    width = -(-len(x) // MOST_COLUMNS)
    padded = np.full(-(-len(x) // width) * width, y[-1])
    padded[: len(y)] = y
    columns = padded.reshape(-1, width)
    begins = np.arange(0, len(padded), width)
    places = [begins, begins + columns.argmin(axis=1), begins + columns.argmax(axis=1), begins + width - 1]
    chosen = np.zeros(len(x), bool)
    chosen[np.minimum(np.concatenate(places), len(x) - 1)] = True
    return x[chosen], y[chosen]


def nice_ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose ``low`` and ``high``."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        room = abs(low) * 0.01 or 1.0
        return low - room, high + room
    return low, high


def _scale(first: float, last: float, at_first: float, at_last: float) -> Callable[[Any], Any]:
    """Where a value, or an array of them, is drawn."""
    span = last - first or 1.0
    return lambda value: at_first + (value - first) / span * (at_last - at_first)


def _tenths(places: Floats) -> list[int]:
    """Places in a plot, in tenths of a pixel."""
    found: list[int] = np.rint(10 * places).astype(np.int64).tolist()
    return found


def _rows(ticks: Sequence[float], down: Callable[[float], float], label: Label) -> str:
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{down(tick) + 4:.1f}">{escape(label(tick))}</text>'
        for tick in ticks
    )


def _dates(times: Integers, across: Callable[[float], float]) -> str:
    unit = "D" if int(times[-1] - times[0]) > 3 * 86_400 * 10**9 else "m"
    drawn = []
    for share, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        at = int(times[0]) + int(share * int(times[-1] - times[0]))
        words = str(np.datetime64(at, "ns").astype(f"datetime64[{unit}]")).replace("T", " ")
        x = f"{across(float(at)):.1f}"
        drawn.append(f'<text class="tick" text-anchor="{anchor}" x="{x}" y="{HEIGHT - 8}">{words}</text>')
    return "".join(drawn)


def _upright(x: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'


def _svg(body: str, summary: str, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    said = escape(summary)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{said}"><title>{said}</title>{body}</svg>'


def _nothing(name: str, why: str) -> str:
    return f'<p class="note">{escape(name)}: {escape(why)}.</p>'
