"""What a sweep came to: its best point, and what it is worth to be the best of so many."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trading.backtests.config import Permutation, RunConfig, Validation
from trading.backtests.pipeline import misannualised
from trading.backtests.sweeps.config import Points
from trading.backtests.sweeps.simulation import RECORD, Figures
from trading.backtests.validation import Progress, checked_for_lookahead, finite
from trading.quant.bars import Bars
from trading.quant.kernels import Floats
from trading.quant.performance import COLUMNS, metrics_of
from trading.quant.statistics import (
    CrossValidation,
    Interval,
    Part,
    Record,
    Trials,
    deflated_by,
    evaluate,
    intervals,
    joined_p_values,
    probabilistic_sharpe,
)
from trading.quant.statistics.promotion import DEFAULT


@dataclass(frozen=True, eq=False)
class Judgement:
    """``summary``: as JSON holds it. ``figures``: of each point. ``logits``: of the cross-validation if it was made."""

    summary: dict[str, Any]
    figures: Figures
    logits: Floats

    @property
    def best(self) -> int | None:
        """The place of the best point; None when the objective is undefined at all of them."""
        found = self.summary["best"]
        return None if found is None else int(found["point"])


def objective(points: Points, figures: Figures) -> Floats:
    """What the search maximises, of each point; NaN where it is undefined, and where the equity fell to zero."""
    values = figures.table[:, COLUMNS.index(points.sweep.objective)]
    ruined = figures.table[:, len(COLUMNS) + RECORD.index("ruined")] > 0.0
    found: Floats = np.where(np.isfinite(values) & ~ruined, values, np.nan)
    return found


def judged(points: Points, bars: Bars, figures: Figures, progress: Progress) -> Judgement:
    """Find the best of all points, and say how much of it is luck. The first of equals is the best."""
    wanted = objective(points, figures)
    known = np.isfinite(wanted)
    overfitting, logits = _overfitting(figures, progress)
    summary: dict[str, Any] = {
        "points": len(points),
        "refused": points.refused,
        "objective": points.sweep.objective,
        "quartiles": np.quantile(wanted[known], [0.25, 0.5, 0.75]).tolist() if known.any() else None,
        "best": _best(points, bars, figures, int(np.nanargmax(wanted))) if known.any() else None,
        "overfitting": overfitting,
        "superiority": _superiority(points, figures),
    }
    if summary["best"] is not None:
        progress(0, 1, "look-ahead check of the best")
        summary["lookahead"] = checked_for_lookahead(points.config(summary["best"]["point"]), bars)
    summary["misannualised"] = misannualised(points.sweep.config, bars.time)
    summary["conclusion"] = " ".join(filter(None, (concluded(summary), summary["misannualised"])))
    return Judgement(summary, figures, logits)


def trials_of(figures: Figures) -> Trials:
    """How many points there are, and how their Sharpe ratios per bar vary; without those that were ruined."""
    sharpes = figures.table[:, len(COLUMNS)]
    known = sharpes[np.isfinite(sharpes)]
    return Trials(len(sharpes), float(known.var(ddof=1)) if len(known) > 1 else 0.0)


def _best(points: Points, bars: Bars, figures: Figures, number: int) -> dict[str, Any]:
    row = figures.table[number]
    config = points.config(number)
    sharpe, skewness, kurtosis, _ = row[len(COLUMNS) :].tolist()
    record = Record(sharpe, skewness, kurtosis, len(bars) - 1)
    deflated, threshold = deflated_by(record, trials_of(figures))
    scale = (config.periods_per_year or 1.0) ** 0.5
    alone = intervals.sharpe(record)
    return {
        "point": number,
        "parameters": points.named(number),
        "config": tested(config),
        "metrics": metrics_of(row[: len(COLUMNS)]).as_dict(),
        "sharpe_per_bar": sharpe,
        "sharpe_interval": _interval(Interval(alone.low * scale, alone.high * scale, alone.level)),
        "skewness": skewness,
        "kurtosis": kurtosis,
        "probabilistic_sharpe": probabilistic_sharpe(record),
        "deflated_sharpe": deflated,
        "sharpe_threshold": threshold * scale,
        "trials": len(points),
    }


def _interval(found: Interval) -> dict[str, float | None]:
    return {"low": finite(found.low), "high": finite(found.high), "level": found.level}


def concluded(summary: Mapping[str, Any]) -> str:
    """What to make of the best point, in sentences: the bounds are those of the rule by which a run is promoted."""
    best, over, above = summary["best"], summary["overfitting"], summary["superiority"]
    if best is None:
        return "There is no best point: none has the figure that was looked for."
    against = []
    if not summary["lookahead"].get("honest", True):
        against.append("The strategy reads bars that have not happened yet: no figure of it means anything.")
    least, most = 1.0 - DEFAULT.alpha, DEFAULT.pbo_bound
    if not best["deflated_sharpe"] >= least:
        against.append(
            "The best is not told from luck: the chance that its Sharpe ratio is real, as the best of"
            f" {best['trials']}, is {best['deflated_sharpe']:.2%}, and {least:.0%} is asked for."
        )
    if "not_made" in over:
        if best["trials"] > 1:
            against.append(f"Whether the choice carries over is not known: {over['not_made']}.")
    elif not over["pbo"] <= most:
        against.append(
            "The choice does not carry over: elsewhere the best is below the middle in"
            f" {over['pbo']:.2%} of the splits, and at most {most:.0%} is accepted."
        )
    if "not_made" not in above and not above["spa_consistent"] <= DEFAULT.alpha:
        benchmark = "holding all symbols" if above["benchmark"] == "buy_and_hold" else "cash"
        against.append(f"That any point beats {benchmark} is not shown: p is {above['spa_consistent']:.3f}.")
    if against:
        return " ".join(["Do not trade the best as it is.", *against])
    return "Nothing here speaks against the best: run it by itself with a permutation test before it trades."


def tested(config: RunConfig) -> dict[str, Any]:
    """``config`` as one submits it to be tested by itself: with the permutation test that a promotion asks for."""
    return config.model_copy(update={"validation": Validation(permutation=Permutation())}).plain()


def _overfitting(figures: Figures, progress: Progress) -> tuple[dict[str, Any], Floats]:
    if figures.sums is None or len(figures.table) < 2:
        why = "there are too few bars for that many blocks" if figures.sums is None else "one point is no search"
        return {"not_made": why}, np.empty(0)
    test = CrossValidation.of_sums(figures.sums)

    def on_part(part: Part) -> None:
        progress(part.stop, part.total, f"overfitting: {part.stop} of {part.total} combinations")

    found = evaluate(test, on_part=on_part)
    summary = {
        "pbo": found.pbo,
        "pbo_interval": _interval(intervals.overfitting(found.pbo)),
        "blocks": test.blocks,
        "combinations": test.replicates,
        "degradation": finite(found.degradation),
        "loss_probability": found.loss_probability,
    }
    return summary, found.logits


def _superiority(points: Points, figures: Figures) -> dict[str, Any]:
    if not len(figures.maxima):
        return {"not_made": "there are too few bars"}
    check, lower, consistent, upper = joined_p_values(
        figures.maxima, (float(figures.observed[0]), float(figures.observed[1]))
    )
    return {
        "benchmark": points.sweep.benchmark,
        "replicates": len(figures.maxima),
        "reality_check": check,
        "spa_lower": lower,
        "spa_consistent": consistent,
        "spa_upper": upper,
    }
