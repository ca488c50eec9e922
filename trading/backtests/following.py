"""A promoted strategy, followed by an account: the code, the bars and the sizing of its backtest, asked for now.

The engine orders once for each decision and then lets the position drift (docs/conventions.md). So does a follower: a
decision is turned into a goal, in units, at the equity and the price of the first cycle that sees it, and later cycles
go on towards that goal where one order was not allowed to reach it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_UP, Context, Decimal
from typing import Any
from uuid import UUID

import numpy as np

from trading.backtests import candles, pipeline
from trading.backtests.candles import EPOCH
from trading.backtests.config import RunConfig
from trading.backtests.models import Level, Promotion, Run
from trading.backtests.promotions import promoted
from trading.brokers import registry
from trading.quant.bars import Bars
from trading.quant.kernels import Floats
from trading.quant.parameters import sizing_of
from trading.quant.wishes import wished

EXACT = Context(prec=60)
WEIGHT = Decimal("1e-20")
"""Weights are rounded up by this or a little more, so that what follows from one is not just short of the goal."""


class Unfollowable(ValueError):
    """The strategy that the client chose cannot be followed; the message says what to do."""


@dataclass(frozen=True)
class Standing:
    """What the strategy wishes once the bar that began at ``as_of`` has closed.

    ``weights``: notional over equity. ``decided``: when the bar began at whose close it was decided. A symbol of which
    nothing has been said yet is in neither.
    """

    as_of: datetime
    weights: Mapping[str, float]
    decided: Mapping[str, datetime]


def level_of(exchange: str) -> Level:
    """Paper where no money can move, else live."""
    return Level.PAPER if registry.is_simulated(exchange) else Level.LIVE


def chosen(client_id: UUID, exchange: str) -> Promotion | None:
    """The promotion that the client's cycle follows at the venue: the newest in force; None when there is none.

    Raises `Unfollowable` when the strategy's file is not the one that was tested, or its test had stops.
    """
    level = level_of(exchange)
    rows = Promotion.objects.filter(client_id=client_id, level=level, demoted_at__isnull=True)
    newest = rows.order_by("-promoted_at", "-id").first()
    if newest is None:
        return None
    if why := unfollowable(newest):
        raise Unfollowable(why)
    return newest


def unfollowable(promotion: Promotion) -> str:
    """Why no cycle can follow a promotion that is in force; nothing when one can."""
    if promoted(promotion.client_id, promotion.strategy, promotion.level) is None:
        return f"The file of {promotion.strategy} is not the one that was tested: promote it again, or demote it."
    return obstacle(config_of(promotion))


def obstacle(config: RunConfig) -> str:
    """What in a tested configuration no cycle can follow; nothing when it can. Wishes to be short show in a cycle."""
    risk = config.risk
    if any(stop is not None for stop in (risk.stop_loss, risk.take_profit, risk.trailing)):
        return (
            f"{config.strategy.name} was tested with stops, which no cycle watches between bars: promote a run without."
        )
    return ""


def config_of(tested: Promotion | Run) -> RunConfig:
    """The configuration that was tested."""
    return RunConfig.model_validate_json(json.dumps(tested.config))


def until(config: RunConfig, now: datetime) -> RunConfig:
    """``config`` with the same beginning, and all bars up to ``now``."""
    return config.model_copy(update={"end": now.isoformat().replace("+00:00", "Z")})


def asked(config: RunConfig, now: datetime) -> tuple[Bars, Floats]:
    """The bars from the beginning of the test up to ``now``, and what the strategy says of each.

    Raises what a run raises.
    """
    bars = pipeline.aligned(candles.stored(until(config, now)))
    return bars, pipeline.targets(config.strategy.name, config.strategy.params, bars)


def standing(config: RunConfig, now: datetime) -> Standing:
    """What stands after the newest bar.

    Raises `Unfollowable` for a wish to be short, which a cycle cannot fulfil, and what a run of ``config`` raises.
    """
    bars, targets = asked(config, now)
    wish = wished(bars, targets, sizing_of(config.risk.model, config.risk.params))
    spoken = ~np.isnan(wish.weights)
    weights = {bars.symbols[s]: float(wish.weights[s]) for s in np.flatnonzero(spoken).tolist()}
    short = [symbol for symbol, weight in weights.items() if weight < 0.0]
    if short:
        raise Unfollowable(f"{config.strategy.name} goes short in {', '.join(short)}, and a cycle buys and sells only.")
    always = config.execution.rebalance == "always"
    decided = {
        bars.symbols[s]: moment(int(bars.time[-1 if always else max(int(wish.decided[s]), 0)]))
        for s in np.flatnonzero(spoken).tolist()
    }
    return Standing(moment(int(bars.time[-1])), weights, decided)


def goals(
    said: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    prices: Mapping[str, Decimal],
    investable: Decimal,
) -> dict[str, Decimal]:
    """How much of each symbol to hold, in units; a symbol without a price has no goal.

    ``said``: what this cycle's targets step returned; ``before``: what all steps of the cycle before did, whose goal
    stays as long as its decision does.
    """
    last, kept = before.get("targets", {}), before.get("risk", {}).get("goals", {})
    same = last.get("promotion") == said["promotion"]
    found = {}
    for symbol, weight in said["weights"].items():
        if same and symbol in kept and last["decided"].get(symbol) == said["decided"][symbol]:
            found[symbol] = Decimal(kept[symbol])
        elif symbol in prices:
            found[symbol] = (Decimal(weight) * investable / prices[symbol]).quantize(Decimal("1e-8"))
    return found


def as_weights(wanted: Mapping[str, Decimal], prices: Mapping[str, Decimal], investable: Decimal) -> dict[str, Decimal]:
    """The goals as shares of ``investable``, as a plan takes them; nothing where that is not positive."""
    if investable <= 0:
        return {}
    return {
        symbol: EXACT.divide(EXACT.multiply(units, prices[symbol]), investable).quantize(WEIGHT, ROUND_UP, EXACT)
        + WEIGHT
        for symbol, units in wanted.items()
        if symbol in prices
    }


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1_000)
