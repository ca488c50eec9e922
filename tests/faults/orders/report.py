"""The drill's figures: those of one process, several of these as one, and a table of them."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

COUNTED = ("rounds", "deaths", "faults", "orders", "booked", "trades", "received")
TALLIED = ("deaths_by_step", "faults_by_kind", "states", "wrong")
LONGEST = ("seconds", "recovery_seconds_max", "resolved_seconds_max", "not_booked_seconds")
COLUMNS = {
    "venue": "venue",
    "steps": "steps",
    "deaths": "deaths",
    "least": "least at a step",
    "faults": "faults",
    "orders": "orders",
    "twice": "booked twice",
    "strange": "not known to us",
    "unknown": "left unknown",
    "fills": "fills wrong",
    "other": "else wrong",
    "slowest": "slowest resolved",
    "not_booked": "not booked after",
}
TOLD_APART = {
    "twice": ("orders booked twice", "orders sent twice to a venue that does not deduplicate"),
    "strange": ("orders that we do not know", "orders that the venue has and we hold for never sent"),
    "unknown": (
        "orders that the venue has and we are unsure of",
        "orders that the venue does not have and we are unsure of",
    ),
    "fills": ("fills that are not the venue's", "positions that are not the sum of their fills"),
}


def seconds(what: str, took: Sequence[float]) -> dict[str, float | None]:
    """The median and the longest, named ``WHAT_seconds_median`` and ``WHAT_seconds_max``."""
    return {
        f"{what}_seconds_median": round(median(took), 2) if took else None,
        f"{what}_seconds_max": round(max(took), 2) if took else None,
    }


def merged(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The reports of drills at one venue as one; a step counts where all of them have it."""
    whole: dict[str, Any] = {"venue": reports[0]["venue"], "seeds": [one["seed"] for one in reports]}
    whole |= {name: sum(one[name] for one in reports) for name in COUNTED}
    for name in TALLIED:
        total: Counter[str] = Counter()
        for one in reports:
            total.update(one[name])
        whole[name] = dict(total)
    for name in LONGEST:
        whole[name] = max((one[name] for one in reports if one[name] is not None), default=None)
    whole["steps"] = sorted(set.intersection(*(set(one["steps"]) for one in reports)))
    whole["examples"] = {name: found for one in reports for name, found in one["examples"].items()}
    return whole


def least(report: dict[str, Any]) -> int:
    """How often a process has died at the step at which the fewest have."""
    return min((report["deaths_by_step"].get(step, 0) for step in report["steps"]), default=0)


def table(reports: Sequence[dict[str, Any]]) -> str:
    """One line for each venue."""
    rows = [list(COLUMNS.values())]
    for one in reports:
        wrong = dict(one["wrong"])
        apart = {name: sum(wrong.pop(found) for found in of) for name, of in TOLD_APART.items()}
        cells = {
            **{name: str(one[name]) for name in ("venue", "deaths", "faults", "orders")},
            "steps": str(len(one["steps"])),
            "least": str(least(one)),
            **{name: str(count) for name, count in apart.items()},
            "other": str(sum(wrong.values())),
            "slowest": _took(one["resolved_seconds_max"]),
            "not_booked": _took(one["not_booked_seconds"]),
        }
        rows.append([cells[name] for name in COLUMNS])
    widths = [max(len(row[number]) for row in rows) for number in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _took(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
