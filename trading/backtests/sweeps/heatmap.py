"""A sweep on one page: a file by itself, with a map of the objective over each two of its parameters."""

from html import escape
from itertools import combinations
from typing import Any, Final

import numpy as np

from trading.backtests import plots, tearsheet, verdicts
from trading.backtests.config import RunConfig
from trading.backtests.sweeps.config import Points, Value
from trading.backtests.sweeps.judgement import Judgement, objective
from trading.backtests.verdicts import section
from trading.quant.kernels import Floats
from trading.quant.performance import COLUMNS
from trading.quant.statistics.promotion import DEFAULT

MOST_MAPS: Final = 6
MOST_CELLS: Final = 40
"""A side: past it neighbours share a cell."""
MOST_ROWS: Final = 20
SHARES: Final = frozenset({"total_return", "cagr"})
NAMES: Final = {
    "sharpe": "Sharpe ratio a year",
    "sortino": "Sortino ratio a year",
    "calmar": "Calmar ratio",
    "total_return": "total return",
    "cagr": "growth a year",
}


def page(points: Points, judgement: Judgement, config: RunConfig) -> bytes:
    """The page as HTML in UTF-8; the same sweep gives the same bytes. ``config`` is the backtest that is varied."""
    title = f"Sweep of {config.strategy.name} on {', '.join(config.traded)}"
    period = f"{config.timeframe}, {config.start} to {config.end}"
    wanted = objective(points, judgement.figures)
    sections = [
        section("Best point", _best(points, judgement)),
        section("What it is worth to be the best", _worth(points, judgement)),
        *verdicts.lookahead(judgement.summary.get("lookahead")),
        *_maps(points, judgement, wanted),
        section(f"All {len(points)} points", _spread(points, judgement, wanted)),
        *_logits(judgement),
        section(*_table(points, judgement, wanted)),
        section("Configuration", f"<code>{escape(points.sweep.canonical().decode())}</code>"),
    ]
    return tearsheet.document(title, f"{period} · sweep", points.sweep.run_hash, sections)


def short(field: str) -> str:
    """A field's name without the sections that it stands in."""
    return field.removeprefix("strategy.").removeprefix("risk.").removeprefix("params.")


def shown(value: float | None, name: str) -> str:
    """A figure as people read it."""
    if value is None or not np.isfinite(value):
        return "-"
    return tearsheet.percent(value) if name in SHARES else f"{value:.3g}"


def _best(points: Points, judgement: Judgement) -> str:
    best = judgement.summary["best"]
    if best is None:
        why = "none traded, nothing varied, or all were ruined"
        return f'<p class="bad">No point has the figure that was looked for: {why}.</p>'
    metrics = best["metrics"]
    alone = best["sharpe_interval"]
    between = f"{tearsheet.two(alone['low'])} to {tearsheet.two(alone['high'])} at {alone['level']:.0%} by itself"
    rows = [(short(name), str(value), "") for name, value in best["parameters"].items()]
    rows += [
        (
            "Sharpe ratio a year",
            tearsheet.two(metrics["sharpe"]),
            f"{between}; luck gives {best['sharpe_threshold']:.2f}",
        ),
        ("Total return", tearsheet.percent(metrics["total_return"]), ""),
        ("Deepest drawdown", tearsheet.percent(metrics["max_drawdown"]), ""),
        ("Closed trades", str(metrics["trades"]), ""),
    ]
    leaks = judgement.summary["lookahead"].get("leaks", [])
    warning = '<p class="bad">The strategy reads bars that have not happened yet.</p>' if leaks else ""
    return warning + tearsheet.figures(rows)


def _worth(points: Points, judgement: Judgement) -> str:
    summary = judgement.summary
    best, over, above = summary["best"], summary["overfitting"], summary["superiority"]
    rows = []
    if best is not None:
        note = f"chance that it is real, as the best of {best['trials']}; {1.0 - DEFAULT.alpha:.0%} is asked for"
        rows.append(("Deflated Sharpe ratio", tearsheet.percent(best["deflated_sharpe"]), note))
        alone, luck = best["sharpe_interval"], best["sharpe_threshold"]
        if alone["low"] is not None and alone["high"] is not None:
            ends = (
                f"{tearsheet.two(alone['low'] - luck)} to {tearsheet.two(alone['high'] - luck)} at {alone['level']:.0%}"
            )
            left = tearsheet.two(best["metrics"]["sharpe"] - luck)
            rows.append(("Sharpe ratio beyond luck", left, f"{ends}; luck gives {luck:.2f} a year"))
    if "not_made" in over:
        rows.append(("Probability of overfitting", "-", over["not_made"]))
    else:
        rough = over["pbo_interval"]
        note = (
            f"how often the best is below the middle elsewhere, in {over['combinations']} splits; at most"
            f" {DEFAULT.pbo_bound:.0%} is accepted, and another history would give {tearsheet.percent(rough['low'])} to"
            f" {tearsheet.percent(rough['high'])}"
        )
        rows.append(("Probability of overfitting", tearsheet.percent(over["pbo"]), note))
        rows.append(("Chance of a loss elsewhere", tearsheet.percent(over["loss_probability"]), "of the chosen point"))
    if "not_made" in above:
        rows.append(("Reality check", "-", above["not_made"]))
    else:
        against = "holding all symbols" if above["benchmark"] == "buy_and_hold" else "cash"
        note = f"that no point beats {against}; {above['replicates']} replicates"
        rows.append(("Reality check p", f"{above['reality_check']:.3f}", note))
        bounds = f"between {above['spa_lower']:.3f} and {above['spa_upper']:.3f}"
        rows.append(("Superior ability p", f"{above['spa_consistent']:.3f}", bounds))
    return f"<p>{escape(summary['conclusion'])}</p>{tearsheet.figures(rows)}"


def _maps(points: Points, judgement: Judgement, wanted: Floats) -> list[str]:
    varied = [name for name, values in points.axes.items() if len(values) > 1]
    if not varied:
        return []
    if len(varied) == 1:
        return [_map(points, judgement, wanted, varied[0], None)]
    return [_map(points, judgement, wanted, *pair) for pair in list(combinations(varied, 2))[:MOST_MAPS]]


def _map(points: Points, judgement: Judgement, wanted: Floats, across: str, down: str | None) -> str:
    name = NAMES[points.sweep.objective]
    columns, x = _cells(points, across)
    rows, y = _cells(points, down) if down is not None else ([""], np.zeros(len(points), np.int64))
    sums, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    known = np.isfinite(wanted)
    np.add.at(sums, (y[known], x[known]), wanted[known])
    np.add.at(counts, (y[known], x[known]), 1.0)
    means = np.where(counts > 0.0, sums / np.maximum(counts, 1.0), np.nan)
    best = judgement.best
    chosen = None if best is None else (int(y[best]), int(x[best]))
    shares = points.sweep.objective in SHARES
    title = f"{short(across)}{'' if down is None else f' and {short(down)}'}: {name}"
    body = plots.heat(
        means, columns, rows, across=short(across), down="" if down is None else short(down),
        name=title, label=plots.percent if shares else plots.plain, chosen=chosen,
    )  # fmt: skip
    several = int(counts.max(initial=0.0)) > 1
    note = "The mean over the other parameters. " if several else ""
    words = f"{note}Green is above zero, red below; the best point is in the outlined cell. Trust a plain, not a peak."
    return section(title, f'<p class="note">{words}</p>{body}')


def _cells(points: Points, axis: str) -> tuple[list[str], Any]:
    """The labels of an axis's cells in their order, and the cell of each point."""
    place = list(points.axes).index(axis)
    values = points.axes[axis]
    ordered: list[Value] = list(values) if any(isinstance(value, bool | str) for value in values) else sorted(values)
    width = -(-len(ordered) // MOST_CELLS)
    cell_of = {value: number // width for number, value in enumerate(ordered)}
    groups = [ordered[start : start + width] for start in range(0, len(ordered), width)]
    labels = [_label(group[0]) if len(group) == 1 else f"{_label(group[0])}-{_label(group[-1])}" for group in groups]
    return labels, np.array([cell_of[point[place]] for point in points.values], dtype=np.int64)


def _label(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _spread(points: Points, judgement: Judgement, wanted: Floats) -> str:
    known = wanted[np.isfinite(wanted)]
    best = judgement.summary["best"]
    quartiles = judgement.summary["quartiles"]
    name = points.sweep.objective
    words = f"{points.refused} combinations were refused by the strategy. " if points.refused else ""
    if quartiles is not None:
        middle = ", ".join(shown(value, name) for value in quartiles)
        words += f"A quarter, half and three quarters of the points are below {middle}; the line is the best."
    observed = 0.0 if best is None else float(known.max())
    label = plots.percent if name in SHARES else plots.plain
    plot = plots.histogram(known, name=f"All points: {NAMES[name]}", label=label, observed=observed)
    return f'<p class="note">{escape(words)}</p>{plot}'


def _logits(judgement: Judgement) -> list[str]:
    if not len(judgement.logits):
        return []
    words = (
        "Each split of the bars into halves: how the best of one ranks in the other, as log odds. Left of the line it"
        " is below the middle there."
    )
    plot = plots.histogram(judgement.logits, name="Rank elsewhere of the chosen point", label=plots.plain, observed=0.0)
    return [section("Does the choice carry over?", f'<p class="note">{words}</p>{plot}')]


def _table(points: Points, judgement: Judgement, wanted: Floats) -> tuple[str, str]:
    ranked = np.argsort(np.where(np.isfinite(wanted), -wanted, np.inf), kind="stable")[:MOST_ROWS].tolist()
    figures = ("sharpe", "total_return", "max_drawdown", "trades")
    heads = [*(short(name) for name in points.axes), "Sharpe", "Return", "Drawdown", "Trades"]
    rows = []
    for number in ranked:
        row = judgement.figures.table[number]
        sharpe, gained, fallen, trades = (row[COLUMNS.index(name)] for name in figures)
        cells = [*map(_label, points.values[number]), tearsheet.two(sharpe), tearsheet.percent(gained)]
        cells += [tearsheet.percent(fallen), f"{trades:.0f}"]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    heading = f"The first {len(ranked)} of {len(points)}" if len(points) > MOST_ROWS else "Points"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return heading, f'<div class="scroll">{table}</div>'
