"""How often a client has tried its luck on a market: counted by the platform, from what it has worked out.

A trial is one strategy with one set of parameters, sizing, costs and dates on one market; doing it again, testing it
otherwise or naming other indicators is none. A market is a set of symbols at one timeframe.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import Aggregate, Count, F, FloatField

from trading.backtests import canonical
from trading.backtests.config import RunConfig
from trading.backtests.models import Trial
from trading.jobs.ledger import execute
from trading.quant.statistics import Record, Trials, deflated_by

NOT_TRIED = {"indicators", "validation", "seed"}
"""Fields that change nothing about what is traded."""


class _Variance(Aggregate):
    function = "VAR_SAMP"
    output_field = FloatField()


def market_of(config: RunConfig) -> UUID:
    """The market that ``config`` trades on."""
    return _market(config.timeframe, tuple(config.traded))


@lru_cache(maxsize=64)
def _market(timeframe: str, symbols: tuple[str, ...]) -> UUID:
    """Kept, since all points of a sweep have one."""
    return _short([timeframe, symbols])


def trial_of(config: RunConfig) -> UUID:
    """What ``config`` tries."""
    return _short(config.model_dump(mode="json", exclude_none=True, exclude=NOT_TRIED))


def record(client_id: UUID, tried: Iterable[tuple[RunConfig, float | None]]) -> None:
    """Count each configuration with its Sharpe ratio per bar, None where it has none; what is known counts once.

    In one order, so that two who count the same at once wait for one another and not both for each other.
    """
    rows = [(market_of(config), trial_of(config), config.strategy.name, sharpe) for config, sharpe in tried]
    if not rows:
        return
    rows.sort(key=lambda row: row[:2])
    markets, found, strategies, sharpes = map(list, zip(*rows, strict=True))
    execute(
        "INSERT INTO backtest_trials (client_id, market, trial, strategy, sharpe) SELECT %(client_id)s, * FROM"
        " unnest(%(markets)s::uuid[], %(trials)s::uuid[], %(strategies)s::text[], %(sharpes)s::float8[])"
        " ON CONFLICT DO NOTHING",
        {
            "client_id": client_id,
            "markets": markets,
            "trials": found,
            "strategies": strategies,
            "sharpes": sharpes,
        },
    )


def counted(client_id: UUID, config: RunConfig) -> Trials:
    """All that the client has tried on the market of ``config``; at least one."""
    rows = Trial.objects.filter(client_id=client_id, market=market_of(config))
    found = rows.aggregate(count=Count("*"), variance=_Variance(F("sharpe")))
    return Trials(max(1, found["count"]), found["variance"] or 0.0)


def sharpe_per_bar(metrics: dict[str, Any]) -> float | None:
    """From the figures of a run; None when its equity fell to zero, or nothing varied."""
    if metrics["sharpe"] is None or metrics.get("ruined_at") is not None:
        return None
    return float(metrics["sharpe"]) / math.sqrt(metrics["periods_per_year"])


def record_of(metrics: dict[str, Any]) -> Record | None:
    """The track record in the figures of a run; None when they say too little for one."""
    sharpe = sharpe_per_bar(metrics)
    if sharpe is None or metrics["skewness"] is None or metrics["kurtosis"] is None:
        return None
    return Record(sharpe, metrics["skewness"], metrics["kurtosis"], int(metrics["bars"]) - 1)


def deflated(client_id: UUID, config: RunConfig, record: Record | None) -> dict[str, Any]:
    """What is left of a Sharpe ratio among all that the client has tried, as the API shows it; ratios a year."""
    trials = counted(client_id, config)
    if record is None:
        return {"count": trials.count, "deflated_sharpe": None, "sharpe_threshold": None}
    probability, threshold = deflated_by(record, trials)
    scale = (config.periods_per_year or 1.0) ** 0.5
    return {"count": trials.count, "deflated_sharpe": probability, "sharpe_threshold": threshold * scale}


def _short(value: Any) -> UUID:
    return UUID(canonical.digest(value)[:32])
