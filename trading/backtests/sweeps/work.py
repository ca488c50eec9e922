"""A sweep being worked out: how it is cut by what a point costs, and how its parts are put together again."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from trading.backtests import pipeline
from trading.backtests.candles import Series
from trading.backtests.config import RunConfig
from trading.backtests.models import Chunk, Run
from trading.backtests.sweeps import simulation
from trading.backtests.sweeps.artifacts import artifacts
from trading.backtests.sweeps.config import Points, SweepConfig
from trading.backtests.sweeps.judgement import Judgement, judged
from trading.backtests.sweeps.simulation import GROUP, Figures
from trading.backtests.validation import Progress
from trading.backtests.work import silent
from trading.quant.bars import Bars
from trading.quant.performance import COLUMNS

PARTS: Final = 24
"""Into about so many a sweep is cut: a worker that is late, or lost, holds the others up by one part."""
SHORTEST_SECONDS: Final = 0.25
"""Of a part: the queue costs a few hundredths of one."""
LONGEST_SECONDS: Final = 20.0
MOST_PARTS: Final = 500

Part = tuple[int, int]
"""The first of some points and the one after the last, as `simulation.simulated` takes them."""


class Incomplete(RuntimeError):
    """Parts of the sweep are missing."""


def cut(start: int, stop: int, seconds_per_point: float) -> list[Part]:
    """The points ``start`` to ``stop`` in parts of whole groups, sized by what a point costs; in order.

    Where it is cut changes no byte of the result, only who waits for whom.
    """
    count = stop - start
    if count <= 0:
        return []
    whole = count * seconds_per_point
    seconds = min(max(whole / PARTS, SHORTEST_SECONDS), LONGEST_SECONDS)
    groups = max(1, round(seconds / max(seconds_per_point, 1e-9) / GROUP), math.ceil(count / GROUP / MOST_PARTS))
    size = groups * GROUP
    return [(first, min(first + size, stop)) for first in range(start, stop, size)]


@dataclass(frozen=True)
class SweepWork:
    """The parts of one sweep; ``read`` gives the candles and may raise what it wants."""

    config: SweepConfig
    read: Callable[[], Sequence[Series]]
    progress: Progress = silent

    @property
    def points(self) -> Points:
        """Its points."""
        return self.config.points

    @cached_property
    def series(self) -> Sequence[Series]:
        """The candles."""
        return self.read()

    @cached_property
    def bars(self) -> Bars:
        """The candles side by side."""
        return pipeline.aligned(self.series)

    def simulated(self, part: Part) -> Figures:
        """A part of the points."""

        def told(done: int, total: int) -> None:
            self.progress(done, total, f"points {part[0]} to {part[1]}")

        return simulation.simulated(self.points, self.bars, *part, told)

    def judged(self, figures: Figures) -> Judgement:
        """What all of the points came to."""
        return judged(self.points, self.bars, figures, self.progress)

    @cached_property
    def judgement(self) -> Judgement:
        """All of it, in this process."""
        return self.judged(self.simulated((0, len(self.points))))

    def artifacts(self, judgement: Judgement) -> dict[str, bytes]:
        """Everything that the sweep leaves, by name."""
        return artifacts(self.points, judgement)

    def tried(self, figures: Figures, start: int = 0) -> list[tuple[RunConfig, float | None]]:
        """The configuration and the Sharpe ratio per bar of each point from ``start`` on."""
        column = figures.table[:, len(COLUMNS)].tolist()
        sharpes = [None if math.isnan(sharpe) else sharpe for sharpe in column]
        return [(self.points.config(number), sharpe) for number, sharpe in enumerate(sharpes, start)]


def keep(run: Run, part: Part, figures: Figures) -> None:
    """Keep what a part came to; done twice, the first stays, as both are the same bytes."""
    chunk = Chunk(client_id=run.client_id, run_id=run.id, start=part[0], stop=part[1], body=figures.packed())
    Chunk.objects.bulk_create([chunk], ignore_conflicts=True)


def is_kept(run: Run, part: Part) -> bool:
    """Whether that part has been worked out."""
    return Chunk.objects.filter(run_id=run.id, start=part[0], stop=part[1]).exists()


def together(run: Run, points: int) -> Figures:
    """All parts of a sweep in the order of their points; raises `Incomplete` when they are not all there."""
    found: list[Figures] = []
    reached = 0
    for chunk in Chunk.objects.filter(run_id=run.id).order_by("start").iterator(chunk_size=50):
        if chunk.start != reached:
            break
        found.append(Figures.unpacked(bytes(chunk.body)))
        reached = chunk.stop
    if reached != points:
        raise Incomplete(f"points {reached} and after are missing of {points}")
    return Figures.joined(found)


def shown(summary: dict[str, Any]) -> dict[str, Any]:
    """The few figures that the job's record shows."""
    best = summary["best"]
    return {
        "points": summary["points"],
        "best": None if best is None else best["parameters"],
        "deflated_sharpe": None if best is None else best["deflated_sharpe"],
        "pbo": summary["overfitting"].get("pbo"),
    }
