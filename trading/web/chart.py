"""Line charts as geometry for inline SVG: drawn on the server, so that a page needs no script for them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

WIDTH, HEIGHT = 820, 260
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 14, 30


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where along it, in the drawing's units, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A drawn line: the points of its path, the area under it, the axes, and a sentence for those who cannot see it."""

    points: str
    area: str
    y_ticks: Sequence[Tick]
    x_ticks: Sequence[Tick]
    last: tuple[float, float]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def line(points: Sequence[tuple[datetime, float]]) -> Line | None:
    """The chart of values over time, oldest first; None for fewer than two points."""
    if len(points) < 2:
        return None
    times = [moment.timestamp() for moment, _ in points]
    values = [value for _, value in points]
    ticks = nice_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    span = times[-1] - times[0]

    def x(index: int) -> float:
        share = (times[index] - times[0]) / span if span > 0 else index / (len(times) - 1)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 2)

    drawn = " ".join(f"{x(index)},{y(value)}" for index, value in enumerate(values))
    base = HEIGHT - BOTTOM
    words = "%d %b %Y" if span > 2 * 86_400 else "%H:%M:%S" if span < 600 else "%d %b %H:%M"
    shares = (0.0, 0.5, 1.0) if span > 0 else (0.0,)
    x_ticks = [
        Tick(
            LEFT + share * (WIDTH - LEFT - RIGHT), datetime.fromtimestamp(times[0] + share * span, UTC).strftime(words)
        )
        for share in shares
    ]
    return Line(
        points=drawn,
        area=f"{x(0)},{base} {drawn} {x(len(points) - 1)},{base}",
        y_ticks=[Tick(y(tick), f"{tick:,.0f}" if high - low >= 5 else f"{tick:,.2f}") for tick in ticks],
        x_ticks=x_ticks,
        last=(x(len(points) - 1), y(values[-1])),
        summary=(
            f"From {values[0]:,.2f} on {points[0][0]:%d %b %Y %H:%M} to {values[-1]:,.2f} on"
            f" {points[-1][0]:%d %b %Y %H:%M}; lowest {min(values):,.2f}, highest {max(values):,.2f}."
        ),
    )


def nice_ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose ``low`` and ``high``."""
    if high <= low:
        low, high = low - 1, high + 1
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.floor(low / step)
    last = math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]
