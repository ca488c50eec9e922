"""The configuration of a run: strict, every default filled in, and hashed.

Two configurations that mean the same have one canonical JSON, and so one hash, however they were written.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from trading.backtests import canonical

TIMEFRAMES: Final = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
MOST_SYMBOLS: Final = 50
MOST_INDICATORS: Final = 20
MOST_TRIALS: Final = 20_000
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2200
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InvalidConfig(ValueError):
    """The configuration is not one; ``errors`` says where, as ``{"loc": [...], "message": ...}``."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        places = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'config'}: {error['message']}" for error in errors)
        super().__init__(f"The run configuration is not valid: {places}")


def _moment(text: str) -> str:
    """A day as it is, a time in UTC to the microsecond."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError("the year")
    except (ValueError, OverflowError):
        raise ValueError(
            f"must be a day such as 2024-01-31 or a time such as 2024-01-31T09:30:00Z, from {FIRST_YEAR} to {LAST_YEAR}"
        ) from None
    return text if _DAY.fullmatch(text) else moment.isoformat().replace("+00:00", "Z")


def _symbol(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable, without spaces around it")
    return text


def _named(parameters: "dict[str, Parameter]") -> "dict[str, Parameter]":
    for name in parameters:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:64]!r} is not the name of a parameter")
    return parameters


Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)]
Symbol = Annotated[str, StringConstraints(min_length=1, max_length=32), AfterValidator(_symbol)]
Name = Annotated[str, StringConstraints(pattern=f"^{_NAME.pattern}$")]
Number = Annotated[float, Field(ge=-canonical.LARGEST_INTEGER, le=canonical.LARGEST_INTEGER)]
Parameter = bool | int | Number | Annotated[str, StringConstraints(max_length=64)]
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
    """How large a position is: the sizing model and its parameters."""

    model: Literal["fixed_fraction", "volatility_target", "kelly_fraction"] = "fixed_fraction"
    params: Parameters = {}


class Slippage(Part):
    """How far a fill is from the price that it was decided on."""

    model: Literal["none", "spread_pct", "participation_rate"] = "none"
    params: Parameters = {}


class Execution(Part):
    """What trading costs; all rates in basis points."""

    slippage_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Of the price, against every fill, beside the slippage model."""
    fee_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Of the notional of every fill."""
    borrow_cost_bps: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """A year, of the value of what is held short."""
    slippage: Slippage = Slippage()


class Permutation(Part):
    """Positions against shuffled returns."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 1_000


class Bootstrap(Part):
    """Confidence intervals by the stationary bootstrap; ``block`` bars on average, chosen from the data when 0."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 1_000
    block: Annotated[float, Field(ge=0, le=100_000)] = 0.0


class MonteCarlo(Part):
    """The trades in another order, or drawn with replacement."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 1_000
    replacement: bool = False


class WalkForward(Part):
    """The history in folds, each judged by what the ones before it had not seen."""

    folds: Annotated[int, Field(ge=2, le=100)] = 5
    anchored: bool = False


class Validation(Part):
    """Which tests the result has to stand; those left out are not made."""

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
        return sorted(self.symbols or [self.symbol or ""])

    @property
    def since(self) -> datetime:
        """No bar begins before this time (UTC)."""
        return _at(self.start)

    @property
    def until(self) -> datetime:
        """Every bar begins before this time (UTC)."""
        at = _at(self.end)
        return at + (timedelta(days=1) if _DAY.fullmatch(self.end) else timedelta(microseconds=1))

    def plain(self) -> dict[str, Any]:
        """The configuration with every default, in the one form that equal ones share."""
        value = self.model_dump(mode="json", exclude_none=True)
        if self.symbol is None and len(self.traded) == 1:
            value["symbol"] = value.pop("symbols")[0]
        elif self.symbol is None:
            value["symbols"] = self.traded
        if self.start.endswith("T00:00:00Z"):
            value["start"] = self.start[:10]
        return value

    def canonical(self) -> bytes:
        """Its canonical JSON: what is hashed, and what ``config.json`` holds."""
        return canonical.canonical(self.plain())

    @property
    def run_hash(self) -> str:
        """The SHA-256 of its canonical JSON, in hexadecimal."""
        return canonical.digest(self.plain())


def parse(value: Mapping[str, Any]) -> RunConfig:
    """``value``, read from JSON, as a configuration; raises `InvalidConfig`.

    JSON has one kind of number, so ``5.0`` is taken where a whole number is asked for.
    """
    try:
        return RunConfig.model_validate_json(json.dumps(_whole_numbers(value), allow_nan=False))
    except ValidationError as error:
        raise InvalidConfig(
            [{"loc": list(item["loc"]), "message": _message(item)} for item in error.errors(include_url=False)]
        ) from None
    except ValueError as error:
        raise InvalidConfig([{"loc": [], "message": str(error)}]) from None


def _message(item: Any) -> str:
    """What is wrong, without the name of the exception that said so."""
    return str(item["msg"]).removeprefix("Value error, ")


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _whole_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= canonical.LARGEST_INTEGER:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > canonical.LARGEST_INTEGER:
        raise ValueError(f"a number past {canonical.LARGEST_INTEGER}")
    return value


def _at(text: str) -> datetime:
    if _DAY.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    return datetime.fromisoformat(text)
