"""One call from arrays to a result: what trading the targets over the bars would have left.

The conventions are in docs/conventions.md.

>>> result = simulate(bars, targets, costs=Costs(fee_bps=5), sizing=FixedFraction(0.5))
>>> result.equity[-1], result.trades["pnl"].sum(), result.metrics().sharpe
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from trading.quant.bars import Bars
from trading.quant.costs import Costs, ParticipationRate, Stops
from trading.quant.kernels import Floats, Integers, frozen
from trading.quant.lean import lean_nb
from trading.quant.performance import Metrics, measure, metrics_of
from trading.quant.records import BOOK, FILL, TRADE, Records, Terms
from trading.quant.simulation import cash_nb, positions_nb, simulate_nb
from trading.quant.sizing import FixedFraction, Sizing, require

YEAR_NS = 365 * 86_400_000_000_000


@dataclass(frozen=True, eq=False)
class Result:
    """What a simulation leaves. T bars, S symbols in the order of the bars' columns; money in the quote currency.

    ``equity``: shape (T,), at each close; so ``cash`` and ``positions``, which are worked out when asked for.
    ``fills``, ``trades``: structured arrays of `records.FILL` and `records.TRADE`, in the order of their
    happening; trades that are still open come last. ``ruined_bar``: where the equity first fell to zero or below,
    which ends trading.
    """

    time: Integers
    symbols: tuple[str, ...]
    initial_cash: float
    multiplier: Floats
    close: Floats
    equity: Floats
    accrued_cash: Floats
    fills: Records
    trades: Records
    ruined_bar: int | None

    @cached_property
    def positions(self) -> Floats:
        """Units held over each close, shape (T, S)."""
        return positions_nb(self.fills, self.equity.shape[0], len(self.symbols))

    @cached_property
    def cash(self) -> Floats:
        """Cash at each close, shape (T,)."""
        if self.accrued_cash.shape[0]:
            return self.accrued_cash
        return cash_nb(self.fills, self.equity.shape[0], self.initial_cash)

    @property
    def returns(self) -> Floats:
        """Simple returns of the equity from close to close, shape (T - 1,)."""
        result: Floats = self.equity[1:] / self.equity[:-1] - 1.0
        return result

    def metrics(
        self, *, periods_per_year: float = 252.0, risk_free: float = 0.0, minimum_return: float = 0.0
    ) -> Metrics:
        """Sharpe, drawdown and the rest; see `performance.measure` for each definition."""
        return metrics_of(
            self.figures(periods_per_year=periods_per_year, risk_free=risk_free, minimum_return=minimum_return)
        )

    def figures(self, *, periods_per_year: float, risk_free: float, minimum_return: float) -> Floats:
        """`metrics` as an array, in the order of `performance.COLUMNS`."""
        return measure(
            self.equity,
            self.close,
            self.multiplier,
            self.fills,
            self.trades,
            periods_per_year=periods_per_year,
            risk_free=risk_free,
            minimum_return=minimum_return,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """All that a simulation needs beside bars and targets; each field is as `simulate` takes it."""

    cash: float = 100_000.0
    sizing: Sizing = field(default_factory=FixedFraction)
    costs: Costs = field(default_factory=Costs)
    stops: Stops = field(default_factory=Stops)
    multiplier: float | Sequence[float] = 1.0
    lot_size: float | Sequence[float] = 0.0
    max_leverage: float = 1.0
    fill: Literal["next_open", "next_close"] = "next_open"
    rebalance: Literal["on_change", "always"] = "on_change"

    def __post_init__(self) -> None:
        require(0.0 < self.cash < np.inf, "cash must be above 0 and finite")
        require(self.max_leverage > 0.0, "max_leverage must be above 0")
        require(self.fill in ("next_open", "next_close"), f"fill is next_open or next_close, not {self.fill!r}")
        require(self.rebalance in ("on_change", "always"), f"rebalance is on_change or always, not {self.rebalance!r}")

    def terms(self) -> Terms:
        """The numbers that the kernel takes."""
        return Terms(
            float(self.cash),
            self.fill == "next_close",
            self.rebalance == "always",
            float(self.max_leverage),
            self.costs.fee_bps / 1e4,
            self.costs.borrow_cost_bps / 1e4 / YEAR_NS,
            *self.costs.slippage_numbers(),
            *self.stops.numbers(),
            self.stops != Stops(),
        )

    def lots(self, columns: int) -> tuple[Floats, Floats]:
        """Multiplier and lot of each symbol."""
        multipliers = per_symbol("multiplier", self.multiplier, columns)
        lots = per_symbol("lot_size", self.lot_size, columns)
        require(bool((multipliers > 0.0).all()), "multiplier must be above 0")
        require(bool((lots >= 0.0).all()), "lot_size must not be negative")
        return multipliers, lots


def simulate(
    bars: Bars,
    targets: npt.ArrayLike,
    *,
    cash: float = 100_000.0,
    sizing: Sizing | None = None,
    costs: Costs | None = None,
    stops: Stops | None = None,
    multiplier: float | Sequence[float] = 1.0,
    lot_size: float | Sequence[float] = 0.0,
    max_leverage: float = 1.0,
    fill: Literal["next_open", "next_close"] = "next_open",
    rebalance: Literal["on_change", "always"] = "on_change",
) -> Result:
    """Trade ``targets`` over ``bars`` and say what is left.

    ``targets``: shape (T,) or (T, S): what the strategy wishes to hold once it has seen the bar of that row, as a share
    of the full size that ``sizing`` gives: 1 long, -1 short, 0 flat, fractions between, NaN for no change of mind. An
    order of row t is filled in row t + 1, at its open or, with ``fill="next_close"``, at its close.
    ``sizing``: full size over equity; all of the equity by default. ``costs``: free by default. ``stops``: none by
    default. ``multiplier``: quote currency per point and unit, one or one a symbol. ``lot_size``: quantities are
    multiples of it; 0 for any fraction. ``max_leverage``: gross notional over equity that an order may reach; infinite
    for no limit. ``rebalance``: order when a target changes, or towards the target at every bar.

    Raises ValueError when an argument does not fit the bars or is out of its bounds.
    """
    account = Account(
        cash,
        sizing or FixedFraction(),
        costs or Costs(),
        stops or Stops(),
        multiplier,
        lot_size,
        max_leverage,
        fill,
        rebalance,
    )
    return simulate_account(bars, targets, account)


def simulate_account(bars: Bars, targets: npt.ArrayLike, account: Account) -> Result:
    """`simulate` with its options in one object."""
    wished = frozen(targets)
    wished = wished.reshape(-1, 1) if wished.ndim == 1 else wished
    if wished.shape != bars.close.shape:
        raise ValueError(f"targets have shape {wished.shape}, the bars {bars.close.shape}: they must agree")
    columns = len(bars.symbols)
    multipliers, lots = account.lots(columns)
    # Symbols are traded in the order of their names, so that the order of the columns changes nothing, to the bit.
    order = sorted(range(columns), key=bars.symbols.__getitem__)
    sorted_already = order == list(range(columns))
    traded, own_multipliers = bars, multipliers
    if not sorted_already:
        traded = bars.select(order)
        wished, own_multipliers, lots = frozen(wished[:, order]), frozen(multipliers[order]), frozen(lots[order])
    room = 64 + bars.close.size // 16  # pages that are not written to cost nothing
    fills, trades = np.empty(room, FILL), np.empty(room, TRADE)
    equity = np.empty(len(bars))
    cashes = np.empty(len(bars) if account.costs.borrow_cost_bps > 0.0 else 0)
    scale, terms, ruined, done = frozen(account.sizing.scale(traded, wished)), account.terms(), -1, False
    if is_lean(bars, account):
        fills, trades, filled, closed, done = lean_nb(
            traded.open[:, 0],
            traded.close[:, 0],
            wished[:, 0],
            float(scale[0, 0]),
            float(own_multipliers[0]),
            float(lots[0]),
            terms,
            equity,
            np.empty(0),
            np.zeros(9),
            fills,
            trades,
        )
    if not done:
        fills, trades, filled, closed, ruined = simulate_nb(
            traded.time,
            traded.open,
            traded.high,
            traded.low,
            traded.close,
            traded.volume,
            wished,
            scale,
            own_multipliers,
            lots,
            traded.complete,
            terms,
            np.zeros(columns, BOOK),
            fills,
            trades,
            equity,
            cashes,
        )
    fills, trades = fills[:filled], trades[:closed]
    if not sorted_already:
        for records in (fills, trades):
            records["symbol"] = np.asarray(order)[records["symbol"]]
    return Result(
        time=bars.time,
        symbols=bars.symbols,
        initial_cash=float(account.cash),
        multiplier=multipliers,
        close=bars.close,
        equity=equity,
        accrued_cash=cashes,
        fills=fills,
        trades=trades,
        ruined_bar=None if ruined < 0 else ruined,
    )


def is_lean(bars: Bars, account: Account) -> bool:
    """Whether `trading.quant.lean` can do it, unless the account is ruined."""
    return (
        len(bars.symbols) == 1
        and bars.complete
        and isinstance(account.sizing, FixedFraction)
        and not isinstance(account.costs.slippage, ParticipationRate)
        and account.costs.borrow_cost_bps == 0.0
        and account.stops == Stops()
        and account.fill == "next_open"
        and account.rebalance == "on_change"
    )


def per_symbol(name: str, value: float | Sequence[float], columns: int) -> Floats:
    """One number a symbol, shape (S,)."""
    numbers = np.asarray(value, dtype=np.float64)
    if numbers.ndim == 0:
        numbers = np.full(columns, float(numbers))
    if numbers.shape != (columns,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is one finite number, or one for each of the {columns} symbols")
    return frozen(numbers)
