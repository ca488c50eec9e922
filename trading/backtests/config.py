"""The configuration of a run: what each field means and which values it takes.

`trading.backtests.parsing` reads one and fills every default in, so that two configurations that mean the same have
one canonical JSON, and so one hash, however they were written.
"""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from trading.backtests import canonical

PERIODS_PER_YEAR: Final = {
    "1m": 525_600.0,
    "5m": 105_120.0,
    "15m": 35_040.0,
    "30m": 17_520.0,
    "1h": 8_760.0,
    "4h": 2_190.0,
    "1d": 252.0,
    "1w": 52.0,
}
"""Trading days and weeks of a stock exchange; within a day, the bars of a market that never closes."""
MOST_SYMBOLS: Final = 50
MOST_INDICATORS: Final = 20
MOST_TRIALS: Final = 20_000
LONGEST_TEXT: Final = 64
"""Characters of a parameter that is a text."""
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2200
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _moment(text: str) -> str:
    """A day as it is, a time in UTC to the microsecond."""
    try:
        with suppress(ValueError):
            text = date.fromisoformat(text).isoformat()  # also 20240131, which is a day and not its first moment
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError("the year")
    except (ValueError, OverflowError):
        raise ValueError(
            f"must be a day such as 2024-01-31 or a time such as 2024-01-31T09:30:00Z, from {FIRST_YEAR} to {LAST_YEAR}"
        ) from None
    return text if DAY.fullmatch(text) else moment.isoformat().replace("+00:00", "Z")


def _symbol(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable, without spaces around it")
    return text


def _in_one_sentence(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Instead of what is wrong with it as each of the kinds that a parameter may be."""
    try:
        return read(value)
    except ValidationError:
        largest = canonical.LARGEST_INTEGER
        raise ValueError(
            f"must be true, false, a number within ±{largest}, or a text of at most {LONGEST_TEXT}"
        ) from None


def _named(parameters: "dict[str, Parameter]") -> "dict[str, Parameter]":
    for name in parameters:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:64]!r} is not the name of a parameter")
    return parameters


Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)]
Symbol = Annotated[str, StringConstraints(min_length=1, max_length=32), AfterValidator(_symbol)]
Name = Annotated[str, StringConstraints(pattern=f"^{_NAME.pattern}$")]
Number = Annotated[float, Field(ge=-canonical.LARGEST_INTEGER, le=canonical.LARGEST_INTEGER)]
Parameter = Annotated[
    bool | int | Number | Annotated[str, StringConstraints(max_length=LONGEST_TEXT)], WrapValidator(_in_one_sentence)
]
Fraction = Annotated[float, Field(ge=1e-9, le=1_000)]
Parameters = Annotated[dict[str, Parameter], Field(max_length=32), AfterValidator(_named)]


class Part(BaseModel):
    """A part of a configuration."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Indicator(Part):
    """One column or several of the feature matrix."""

    name: Name
    params: Parameters = {}


class Strategy(Part):
    """The rule that says what to hold."""

    name: Name
    params: Parameters = {}


class Risk(Part):
    """How large a position is, and when it is closed against the strategy's will.

    The stops are fractions: of the mean entry price, for ``trailing`` of the best price since the entry.
    """

    model: Literal["fixed_fraction", "volatility_target", "kelly_fraction"] = "fixed_fraction"
    params: Parameters = {}
    stop_loss: Fraction | None = None
    take_profit: Fraction | None = None
    trailing: Fraction | None = None


class Slippage(Part):
    """How far a fill is from the price that it was decided on."""

    model: Literal["none", "spread_pct", "participation_rate"] = "none"
    params: Parameters = {}


class Execution(Part):
    """How orders are filled and what that costs; all rates in basis points."""

    slippage_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Of the price, against every fill, in place of a slippage model."""
    fee_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Of the notional of every fill."""
    borrow_cost_bps: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """A year, of the value of what is held short."""
    slippage: Slippage = Slippage()
    fill: Literal["next_open", "next_close"] = "next_open"
    rebalance: Literal["on_change", "always"] = "on_change"
    lot_size: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Quantities are multiples of it; 0 for any fraction."""
    multiplier: Annotated[float, Field(ge=1e-9, le=1e9)] = 1.0
    """Quote currency for each point and unit."""
    max_leverage: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Gross notional over equity that an order may reach."""


class Permutation(Part):
    """The positions against the returns in another order."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 1_000
    statistic: Literal["sharpe", "mean"] = "sharpe"


class Bootstrap(Part):
    """Confidence intervals by the stationary bootstrap; ``block_length`` in bars, from the data when left out."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 1_000
    block_length: Annotated[float, Field(ge=1, le=100_000)] | None = None
    level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95


class MonteCarlo(Part):
    """The trades in another order, or drawn with replacement."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 1_000
    replacement: bool = False


class WalkForward(Part):
    """The history in folds, each compared with the bars before it: does what was earned there go on?

    ``anchored``: with all bars before it, rather than with as many as the first fold has. ``purge`` and ``embargo``:
    bars between the two that neither uses.
    """

    folds: Annotated[int, Field(ge=1, le=100)] = 5
    anchored: bool = False
    purge: Annotated[int, Field(ge=0, le=100_000)] = 0
    embargo: Annotated[int, Field(ge=0, le=100_000)] = 0


class Validation(Part):
    """Which tests the result has to stand; those left out are not made, but for the look-ahead check."""

    lookahead: bool = True
    permutation: Permutation | None = None
    bootstrap: Bootstrap | None = None
    monte_carlo: MonteCarlo | None = None
    walk_forward: WalkForward | None = None


class RunConfig(Part):
    """A backtest: what is traded, by which rule, at which cost, and how the result is tested."""

    symbol: Symbol | None = None
    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=MOST_SYMBOLS)] | None = None
    timeframe: Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
    start: Moment
    """The first bar's beginning, or the day on which it begins (UTC)."""
    end: Moment
    """The last bar's beginning, or the last day of which bars are used (UTC)."""
    indicators: Annotated[list[Indicator], Field(max_length=MOST_INDICATORS)] = []
    strategy: Strategy
    risk: Risk = Risk()
    execution: Execution = Execution()
    validation: Validation = Validation()
    periods_per_year: Annotated[float, Field(ge=1, le=600_000)] | None = None
    """By which figures are annualised; by the timeframe when left out."""
    initial_cash: Annotated[float, Field(ge=0.01, le=1e12)] = 100_000.0
    seed: Annotated[int, Field(ge=0, le=canonical.LARGEST_INTEGER)] = 42

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.symbol is None) == (self.symbols is None):
            raise ValueError("name one symbol in 'symbol', or several in 'symbols'")
        if self.symbols is not None and len(set(self.symbols)) < len(self.symbols):
            raise ValueError("a symbol is named twice in 'symbols'")
        if self.since >= self.until:
            raise ValueError("'start' must be before 'end'")
        return self

    @property
    def traded(self) -> list[str]:
        """Every symbol, in alphabetical order: the order in which they were named means nothing."""
        return [self.symbol] if self.symbol is not None else sorted(self.symbols or [])

    @property
    def since(self) -> datetime:
        """No bar begins before this time (UTC)."""
        return _at(self.start)

    @property
    def until(self) -> datetime:
        """Every bar begins before this time (UTC)."""
        at = _at(self.end)
        return at + (timedelta(days=1) if DAY.fullmatch(self.end) else timedelta(microseconds=1))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; what is None is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def canonical(self) -> bytes:
        """Its canonical JSON: what is hashed, and what ``config.json`` holds."""
        return canonical.canonical(self.plain())

    @property
    def run_hash(self) -> str:
        """The SHA-256 of its canonical JSON, in hexadecimal."""
        return canonical.digest(self.plain())


def _at(text: str) -> datetime:
    if DAY.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    return datetime.fromisoformat(text)
