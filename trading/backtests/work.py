"""A run being worked out: what takes long to make is kept in a folder, so that a later step, or another try, goes on
there.

Each part is read when it is there and made when it is not, so that a step also finds its way where the folder was lost:
what is made follows from the configuration and the candles alone.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trading.backtests import pipeline
from trading.backtests.candles import Series
from trading.backtests.config import RunConfig
from trading.backtests.pipeline import Feature
from trading.backtests.validation import Judged, Progress, validated
from trading.quant.bars import Bars
from trading.quant.engine import Result

Arrays = Mapping[str, np.ndarray[Any, Any]]
ALIGNMENT = 16
"""Bytes, of the first array in a file."""
SUMMARY = ""
"""What the tests said, as JSON, among their draws."""
WORTH_KEEPING_SECONDS = 0.002
"""What is made sooner than this is made again where it is wanted: a file costs as much to write, read and delete."""
Part = TypeVar("Part")
_RESULT = ("equity", "accrued_cash", "fills", "trades", "multiplier")


def silent(done: int, total: int, note: str) -> None:
    """Progress that nobody is told of."""


@dataclass(frozen=True)
class Work:
    """The parts of one run. Without a ``folder`` they are kept in memory alone."""

    config: RunConfig
    read: Callable[[], Sequence[Series]]
    folder: Path | None = None
    progress: Progress = silent

    @cached_property
    def series(self) -> Sequence[Series]:
        """The candles; raises what ``read`` raises."""
        found = self._kept("candles")
        if found is None:
            series = self.read()
            parts = {f"{place}{name}": part for place, one in enumerate(series) for name, part in _of(one)}
            self._keep("candles", parts)
            return series
        columns = [field.name for field in fields(Series)[1:]]
        return [
            Series(symbol, *(found[f"{place}{name}"] for name in columns))
            for place, symbol in enumerate(self.config.traded)
        ]

    @cached_property
    def bars(self) -> Bars:
        """The candles side by side; raises `trading.quant.bars.BadBars`."""
        return pipeline.aligned(self.series)

    @cached_property
    def features(self) -> Sequence[Feature]:
        """The feature matrix."""
        found = self._kept("features")
        if found is not None:
            return [Feature(name, found[name]) for name in found]
        bars = self.bars
        return self._made(
            "features",
            lambda: pipeline.features(self.config, bars),
            lambda made: {feature.name: feature.values for feature in made},
        )

    @cached_property
    def result(self) -> Result:
        """What the simulation left."""
        found = self._kept("result")
        if found is None:
            bars = self.bars
            return self._made("result", lambda: pipeline.simulated(self.config, bars), _of_result)
        ruined_bar = int(found["ruined_bar"])
        return Result(
            time=self.bars.time,
            symbols=self.bars.symbols,
            initial_cash=self.config.initial_cash,
            close=self.bars.close,
            ruined_bar=None if ruined_bar < 0 else ruined_bar,
            **{name: found[name] for name in _RESULT},
        )

    @cached_property
    def judged(self) -> Judged:
        """What the tests said; the longest part, told of as it goes."""
        found = self._kept("draws")
        if found is None:
            bars, result = self.bars, self.result
            return self._made("draws", lambda: validated(self.config, bars, result, self.progress), _of_judged)
        draws = {name: found[name] for name in found if name != SUMMARY}
        return Judged(json.loads(found[SUMMARY].tobytes()), draws)

    def artifacts(self) -> dict[str, bytes]:
        """Everything that the run leaves, by name."""
        return pipeline.artifacts(self.config, self.features, self.result, self.metrics, self.judged)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The figures, which ``metrics.json`` holds.

        ``leaks``: how many beginnings of the data the look-ahead check caught the strategy at; None where it was not
        made.
        """
        leaks = self.judged.summary.get("lookahead", {}).get("leaks")
        found = pipeline.measured(self.config, self.result)
        return {**found, "leaks": None if leaks is None else len(leaks)}

    def told(self, progress: Progress) -> "Work":
        """The same parts, as far as they are there; what is still to be made tells ``progress``."""
        other = replace(self, progress=progress)
        own = {field.name for field in fields(self)}
        other.__dict__.update({name: part for name, part in self.__dict__.items() if name not in own})
        return other

    def _kept(self, name: str) -> Arrays | None:
        if self.folder is None or not (path := self.folder / f"{name}.arrays").exists():
            return None
        return _loaded(bytearray(path.read_bytes()))

    def _made(self, name: str, make: Callable[[], Part], arrays: Callable[[Part], Arrays]) -> Part:
        """What ``make`` makes, kept where that takes long."""
        began = time.perf_counter()
        made = make()
        if time.perf_counter() - began >= WORTH_KEEPING_SECONDS:
            self._keep(name, arrays(made))
        return made

    def _keep(self, name: str, arrays: Arrays) -> None:
        if self.folder is not None:
            _replace(self.folder / f"{name}.arrays", lambda path: _save(path, arrays))


def _of(series: Series) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [(field.name, getattr(series, field.name)) for field in fields(Series)[1:]]


def _of_result(result: Result) -> Arrays:
    ruined = np.array(-1 if result.ruined_bar is None else result.ruined_bar)
    return {"ruined_bar": ruined, **{name: getattr(result, name) for name in _RESULT}}


def _of_judged(judged: Judged) -> Arrays:
    said = json.dumps(judged.summary).encode()
    return {SUMMARY: np.frombuffer(said + b" " * (-len(said) % ALIGNMENT), np.uint8), **judged.draws}


def _save(path: Path, arrays: Arrays) -> None:
    """One line of JSON with the name, type, shape of each and whether it may be written to, then their numbers.

    All are multiples of 8 bytes. numpy's own archive reads each member's header as Python, which takes longer than the
    arithmetic of most runs.
    """
    head = json.dumps(
        [
            [name, np.lib.format.dtype_to_descr(array.dtype), array.shape, array.flags.writeable]
            for name, array in arrays.items()
        ]
    )
    with path.open("wb") as file:
        file.write(head.encode() + b" " * (-(len(head) + 1) % ALIGNMENT) + b"\n")
        file.writelines(np.ascontiguousarray(array).tobytes() for array in arrays.values())


def _loaded(content: bytearray) -> Arrays:
    """The arrays as they were made, to their flags: the kernels are compiled for those and no others."""
    end = content.index(b"\n") + 1
    found = {}
    for name, description, shape, writeable in json.loads(content[:end]):
        dtype = np.lib.format.descr_to_dtype(description)
        found[name] = np.frombuffer(content, dtype, math.prod(shape), end).reshape(shape)
        found[name].flags.writeable = writeable
        end += found[name].nbytes
    return found


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Have the file whole or not at all."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    write(half)
    half.replace(path)
