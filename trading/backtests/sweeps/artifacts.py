"""What a sweep leaves, by name: its configuration, every point with its figures, what the search is worth, the page."""

import numpy as np

from trading.backtests import canonical, tables
from trading.backtests.sweeps import heatmap
from trading.backtests.sweeps.config import Points
from trading.backtests.sweeps.judgement import Judgement
from trading.backtests.sweeps.simulation import RECORD
from trading.backtests.tables import Column
from trading.quant.performance import COLUMNS, WHOLE


def artifacts(points: Points, judgement: Judgement) -> dict[str, bytes]:
    """Everything, as bytes that follow from the sweep's configuration, candles and code."""
    return {
        "config.json": points.sweep.canonical(),
        "summary.json": canonical.canonical(judgement.summary),
        "points.csv": _points(points, judgement),
        "heatmap.html": heatmap.page(points, judgement, points.sweep.config),
    }


def _points(points: Points, judgement: Judgement) -> bytes:
    """One row for each point, in their order: what was varied, then the figures."""
    names = (*COLUMNS, *RECORD)
    found = [Column("point", [str(number) for number in range(len(points))])]
    for place, name in enumerate(points.axes):
        values = [point[place] for point in points.values]
        found.append(Column(name, [_cell(value) for value in values]))
    for place, name in enumerate(names):
        column = np.ascontiguousarray(judgement.figures.table[:, place])
        whole = name in WHOLE or name == "ruined"
        found.append(Column(name, tables.integers(column.astype(np.int64)) if whole else tables.numbers(column)))
    return tables.csv(found)


def _cell(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return tables.text([value])[0] if isinstance(value, str) else canonical.number(float(value))
