"""What a sweep leaves, by name: its configuration, every point with its figures, what the search is worth, the page."""

import numpy as np

from trading.backtests import canonical, pipeline, tables
from trading.backtests.sweeps import heatmap
from trading.backtests.sweeps.config import Points, Value
from trading.backtests.sweeps.judgement import Judgement
from trading.backtests.sweeps.simulation import RECORD
from trading.backtests.tables import Column, Table
from trading.quant.performance import COLUMNS, WHOLE


def artifacts(points: Points, judgement: Judgement) -> dict[str, bytes]:
    """Everything, as bytes that follow from the sweep's configuration, candles and code."""
    return {
        "config.json": points.sweep.canonical(),
        "summary.json": canonical.canonical(judgement.summary),
        **pipeline.written({"points": _points(points, judgement)}),
        "heatmap.html": heatmap.page(points, judgement, points.sweep.config),
    }


def _points(points: Points, judgement: Judgement) -> Table:
    """One row for each point, in their order: what was varied, then the figures."""
    found = [tables.whole("point", np.arange(len(points)))]
    found += [_varied(name, [point[place] for point in points.values]) for place, name in enumerate(points.axes)]
    for place, name in enumerate((*COLUMNS, *RECORD)):
        column = np.ascontiguousarray(judgement.figures.table[:, place])
        is_whole = name in WHOLE or name == "ruined"
        found.append(tables.whole(name, column.astype(np.int64)) if is_whole else tables.floats(name, column))
    return found


def _varied(name: str, values: list[Value]) -> Column:
    """Numbers as they were given: 5 rather than 5.0."""
    if all(isinstance(value, bool) for value in values):
        return Column(name, ["true" if value else "false" for value in values], [bool(value) for value in values])
    if any(isinstance(value, bool | str) for value in values):
        return tables.words(name, map(str, values))
    cells = [canonical.number(float(value)) for value in values]
    kind = np.int64 if all(isinstance(value, int) for value in values) else np.float64
    return Column(name, cells, np.array(values, dtype=kind))
