"""Backtest and account side by side: what each filled for the same decision, and why the two differ, in money.

For each decision of a promoted strategy the signed cost of what was filled (notional and fee, positive for what was
paid) is split so that the parts add up to the whole difference, account less backtest:

- size: another quantity, at the backtest's own cost;
- latency: the market moved between the open at which the backtest fills and the price at which the cycle planned;
- slippage: what each paid beyond its own of these two prices;
- fee: what the account paid beyond the backtest's fee for as much.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from trading.backtests import pipeline
from trading.backtests.following import EXACT, asked, config_of, moment
from trading.backtests.models import Promotion
from trading.execution.models import Fill, PortfolioSnapshot
from trading.jobs.models import JobRun
from trading.jobs.states import State
from trading.quant.bars import Bars
from trading.quant.engine import Result
from trading.quant.kernels import Floats, Integers
from trading.quant.parameters import sizing_of

CYCLE = "execution-cycle"
Key = tuple[str, datetime | None]
"""A symbol, and when the bar began at whose close it was decided; None: not by this strategy."""
NOTHING = Decimal(0)
FINEST = Decimal("1e-12")
"""What latency, slippage and fees are rounded to; size takes what is left."""


@dataclass(frozen=True)
class Filled:
    """What was filled for one decision; amounts are signed, positive for what was bought or paid.

    ``value``: quantity times price. ``reference``: quantity times the price that slippage is counted from.
    """

    first: datetime
    quantity: Decimal
    value: Decimal
    reference: Decimal
    fee: Decimal

    @property
    def price(self) -> Decimal | None:
        """The mean; None where buys and sells cancel out."""
        return self.value / self.quantity if self.quantity else None

    @property
    def cost(self) -> Decimal:
        """Notional and fee."""
        return EXACT.add(self.value, self.fee)


@dataclass(frozen=True)
class Causes:
    """Parts of a difference, in the account's currency; positive where the account paid more than the backtest."""

    size: Decimal = NOTHING
    latency: Decimal = NOTHING
    slippage: Decimal = NOTHING
    fee: Decimal = NOTHING

    @property
    def whole(self) -> Decimal:
        """Their sum."""
        return total(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Pair:
    """One decision, as both filled it. ``waits``: the bar at which the backtest fills it has not come yet."""

    symbol: str
    decided: datetime | None
    backtest: Filled | None
    account: Filled | None
    waits: bool

    @property
    def causes(self) -> Causes:
        """Why they differ; nothing while the backtest waits."""
        return Causes() if self.waits else explained(self.backtest, self.account)


@dataclass(frozen=True)
class Report:
    """All decisions since the first cycle that followed the promotion, in their order.

    ``began``: the newest bar that this cycle saw; None when there was no cycle yet. ``cash``: what the backtest begins
    with: the account's equity then.
    """

    began: datetime | None
    cash: Decimal
    pairs: tuple[Pair, ...]

    @property
    def causes(self) -> Causes:
        """Of all decisions together."""
        each = [pair.causes for pair in self.pairs]
        return Causes(*(total(getattr(one, field.name) for one in each) for field in fields(Causes)))

    @property
    def difference(self) -> Decimal:
        """What the account paid beyond the backtest, from the costs themselves."""
        settled = [pair for pair in self.pairs if not pair.waits]
        paid = total(pair.account.cost for pair in settled if pair.account)
        return EXACT.subtract(paid, total(pair.backtest.cost for pair in settled if pair.backtest))


def explained(backtest: Filled | None, account: Filled | None) -> Causes:
    """The difference between what two filled for one decision, by cause; whole when one of them filled nothing."""
    if backtest is None or not backtest.quantity:
        paid = NOTHING if account is None else account.cost
        return Causes(size=paid if backtest is None else EXACT.subtract(paid, backtest.cost))
    if account is None:
        return Causes(size=-backtest.cost)
    share = EXACT.divide(account.quantity, backtest.quantity)

    def beyond(own: Decimal, other: Decimal) -> Decimal:
        return EXACT.subtract(own, EXACT.multiply(share, other)).quantize(FINEST, context=EXACT)

    slipped = [EXACT.subtract(one.value, one.reference) for one in (account, backtest)]
    parts = {
        "latency": beyond(account.reference, backtest.reference),
        "slippage": beyond(*slipped),
        "fee": beyond(account.fee, backtest.fee),
    }
    # What is left is (share - 1) times the backtest's cost; taken as the rest, the parts add up to the last digit.
    rest = EXACT.subtract(account.cost, backtest.cost)
    for part in parts.values():
        rest = EXACT.subtract(rest, part)
    return Causes(size=rest, **parts)


def report(promotion: Promotion, *, now: datetime) -> Report:
    """What the promotion's account and its backtest did, up to ``now``; raises what a run of its configuration raises.

    The backtest is the promoted configuration with all bars up to now, which begins to trade with the account: at the
    first cycle's newest bar, with the account's equity.
    """
    cycles = list(
        JobRun.objects.filter(
            job=CYCLE,
            client_id=promotion.client_id,
            state=State.SUCCEEDED,
            returned__targets__promotion=str(promotion.id),
        ).order_by("id")
    )
    if not cycles:
        return Report(None, NOTHING, ())
    began = datetime.fromisoformat(cycles[0].returned["targets"]["as_of"])
    cash = _equity(promotion.client_id, cycles[0])
    config = config_of(promotion)
    bars, targets = asked(config, now)
    first = int(np.searchsorted(bars.time, _nanoseconds(began)))
    result = pipeline.traded(config.model_copy(update={"initial_cash": float(cash)}), bars, begun(targets, first))
    scale = sizing_of(config.risk.model, config.risk.params).scale(bars, targets)
    decided = [np.array(decisions(targets, scale, s), dtype=np.int64) for s in range(len(bars.symbols))]
    simulated = _simulated(bars, decided, result, first, Decimal(repr(config.execution.multiplier)))
    accounted = _accounted(promotion.client_id, cycles)
    newest = moment(int(bars.time[-1]))
    keys = sorted({*simulated, *accounted}, key=lambda key: (key[1] is None, key[1] or newest, key[0]))
    pairs = tuple(
        Pair(*key, simulated.get(key), accounted.get(key), waits=_waits(key, simulated, newest)) for key in keys
    )
    return Report(began, cash, pairs)


def begun(targets: Floats, first: int) -> Floats:
    """``targets`` from row ``first`` on, where the last word before stands; NaN, which orders nothing, before it."""
    later = targets.copy()
    later[:first] = np.nan
    for s in range(targets.shape[1]):
        said = np.flatnonzero(~np.isnan(targets[: first + 1, s]))
        if said.size:
            later[first, s] = targets[said[-1], s]
    return later


def decisions(targets: Floats, scale: Floats, s: int) -> list[int]:
    """The rows at which symbol ``s`` is decided anew, as the engine sees it: another target than before, of known size.

    ``scale``: shape (1, 1) or that of ``targets``, as a sizing gives it.
    """
    found, acted = [], 0.0
    for t in np.flatnonzero(~np.isnan(targets[:, s])).tolist():
        known = targets[t, s] == 0.0 or not np.isnan(scale[0, 0] if len(scale) == 1 else scale[t, s])
        if targets[t, s] != acted and known:
            found.append(t)
            acted = float(targets[t, s])
    return found


def _simulated(
    bars: Bars, decided: Sequence[Integers], result: Result, first: int, multiplier: Decimal
) -> dict[Key, Filled]:
    found: dict[Key, list[Filled]] = {}
    for fill in result.fills:
        s, bar = int(fill["symbol"]), int(fill["bar"])
        rows = decided[s][: np.searchsorted(decided[s], bar)]  # before the bar at which it was filled
        key = (bars.symbols[s], moment(int(bars.time[int(rows[-1]) if rows.size else first])))
        quantity, price, slipped = (Decimal(repr(float(fill[name]))) for name in ("quantity", "price", "slippage"))
        value = EXACT.multiply(EXACT.multiply(quantity, price), multiplier)
        reference = EXACT.subtract(value, slipped)  # slippage is paid both ways, buying and selling
        fee = Decimal(repr(float(fill["fee"])))
        found.setdefault(key, []).append(Filled(moment(int(bars.time[bar])), quantity, value, reference, fee))
    return {key: together(parts) for key, parts in found.items()}


def _accounted(client_id: UUID, cycles: list[JobRun]) -> dict[Key, Filled]:
    said: dict[UUID, Mapping[str, Any]] = {run.id: run.returned["targets"]["decided"] for run in cycles}
    fills = Fill.objects.filter(client_id=client_id, order__run_id__in=said).select_related("order").order_by("id")
    found: dict[Key, list[Filled]] = {}
    for fill in fills:
        at = said[fill.order.run_id].get(fill.symbol)
        value = EXACT.multiply(fill.quantity, fill.price)
        reference = EXACT.multiply(fill.quantity, fill.order.reference_price)
        part = Filled(fill.time, fill.quantity, value, reference, fill.fee)
        found.setdefault((fill.symbol, None if at is None else datetime.fromisoformat(at)), []).append(part)
    return {key: together(parts) for key, parts in found.items()}


def together(parts: list[Filled]) -> Filled:
    """Several fills of one decision as one."""
    sums = (total(getattr(part, name) for part in parts) for name in ("quantity", "value", "reference", "fee"))
    return Filled(min(part.first for part in parts), *sums)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Their sum, of which no digit is lost."""
    sum_ = NOTHING
    for amount in amounts:
        sum_ = EXACT.add(sum_, amount)
    return sum_


def _equity(client_id: UUID, first: JobRun) -> Decimal:
    """The account's equity when the first cycle began: the last snapshot before it, or its cash."""
    before = PortfolioSnapshot.objects.filter(client_id=client_id, run_id__lt=first.id).order_by("-run_id").first()
    return Decimal(first.returned["risk"]["cash"]) if before is None else before.equity


def _waits(key: Key, simulated: Mapping[Key, Filled], newest: datetime) -> bool:
    return key[1] == newest and key not in simulated


def _nanoseconds(at: datetime) -> int:
    return int(np.datetime64(at.replace(tzinfo=None), "ns").astype(np.int64))
