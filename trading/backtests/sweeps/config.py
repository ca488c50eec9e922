"""The configuration of a sweep: one backtest, the values that some of its fields take, and how the search is judged."""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NoReturn, Self, get_args

import numpy as np
from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, ValidationError, model_validator

from trading.backtests import canonical, parsing
from trading.backtests.config import Execution, Part, Risk, RunConfig, Strategy, Validation
from trading.backtests.parsing import InvalidConfig
from trading.backtests.strategy import BrokenStrategy

MOST_POINTS: Final = 20_000
MOST_AXES: Final = 8
MOST_VALUES: Final = 1_000
MOST_IN_VAIN: Final = 2_000
"""Points, drawn at random, that are looked at in vain before all are taken to be refused: a search of which one in a
hundred can be run is refused by mistake once in 5e8 times."""
LARGEST: Final = canonical.LARGEST_INTEGER
SECTIONS: Final = ("strategy.params.", "risk.", "execution.")
Objective = Literal["sharpe", "sortino", "calmar", "total_return", "cagr"]
OBJECTIVES: Final[tuple[str, ...]] = get_args(Objective)

_MODELS: Final[Mapping[str, type[Part]]] = {"strategy": Strategy, "risk": Risk, "execution": Execution}

Value = bool | int | float | str
Point = tuple[Value, ...]


class Steps(Part):
    """``from``, ``from + step``, ... up to ``to``, which is one of them when a whole number of steps leads there."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    first: Annotated[int | float, Field(alias="from", ge=-LARGEST, le=LARGEST)]
    last: Annotated[int | float, Field(alias="to", ge=-LARGEST, le=LARGEST)]
    step: Annotated[int | float, Field(gt=0, le=LARGEST)]

    def values(self) -> list[int | float]:
        """The values, whole where they are; counted in decimals, so that 0.1 three times is 0.3."""
        first, last, step = (Decimal(str(number)) for number in (self.first, self.last, self.step))
        count = int((last - first) / step) + 1 if last >= first else 0
        if count > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values; a parameter takes at most {MOST_VALUES}")
        found = [first + number * step for number in range(count)]
        return [int(value) if value == value.to_integral_value() else float(value) for value in found]


_FORMS: Final = ("values", "steps")
Axis = Annotated[str, StringConstraints(max_length=100)]
Values = Annotated[
    Annotated[list[Value], Field(min_length=1, max_length=MOST_VALUES), Tag("values")] | Annotated[Steps, Tag("steps")],
    Discriminator(lambda given: "steps" if isinstance(given, Steps | Mapping) else "values"),
]


class SweepConfig(Part):
    """A search over the backtest ``config``: the best of its points by ``objective``, and what that is worth.

    ``parameters``: for each field its values; ``fast`` or ``strategy.params.fast`` is a parameter of the strategy,
    ``risk.params.fraction``, ``risk.stop_loss`` or ``execution.fee_bps`` are fields of the configuration.
    ``search``: every combination, or ``draws`` of them, drawn without replacement by the configuration's seed.
    ``benchmark``: what the reality check and the test of superior ability compare with. ``blocks``: those that the
    cross-validation cuts the bars into. ``replicates``: of the two tests.
    """

    config: RunConfig
    parameters: Annotated[dict[Axis, Values], Field(min_length=1, max_length=MOST_AXES)]
    search: Literal["grid", "random"] = "grid"
    draws: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    objective: Objective = "sharpe"
    benchmark: Literal["buy_and_hold", "cash"] = "buy_and_hold"
    blocks: Annotated[int, Field(ge=2, le=20, multiple_of=2)] = 16
    replicates: Annotated[int, Field(ge=1, le=10_000)] = 500

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if (self.search == "random") != (self.draws is not None):
            raise ValueError("a random search says how many 'draws' it makes, a grid does not")
        return self

    @property
    def axes(self) -> dict[str, list[Value]]:
        """The values of each field that is varied, by its full name in alphabetical order."""
        return {
            name: [*given.values()] if isinstance(given, Steps) else given for name, given in self.parameters.items()
        }

    @cached_property
    def points(self) -> "Points":
        """Its points, found once. Raises `InvalidConfig` when nothing is left."""
        return Points(self)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; what is None is left out."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)

    def canonical(self) -> bytes:
        """Its canonical JSON: what is hashed, and what ``config.json`` holds."""
        return canonical.canonical(self.plain())

    @property
    def run_hash(self) -> str:
        """The SHA-256 of its canonical JSON, in hexadecimal."""
        return canonical.digest(self.plain())


def parse(value: Mapping[str, Any]) -> SweepConfig:
    """``value``, read from JSON, as a sweep's configuration with every default filled in; raises `InvalidConfig`."""
    base = value.get("config")
    if not isinstance(base, Mapping):
        raise InvalidConfig([{"loc": ["config"], "message": "must be the configuration of a backtest, an object"}])
    config = _base(base)
    try:
        text = json.dumps(parsing.whole_numbers({**value, "config": config.plain()}), allow_nan=False)
        given = SweepConfig.model_validate_json(text)
    except ValidationError as error:
        found = parsing.faults(error)
        raise InvalidConfig([{**item, "loc": _without_form(item["loc"])} for item in found]) from None
    except InvalidConfig:
        raise
    except ValueError as error:
        raise InvalidConfig([{"loc": [], "message": str(error)}]) from None
    axes = _axes(given)
    sweep = given.model_copy(update={"config": config, "parameters": dict(sorted(axes.items()))})
    size = math.prod(map(len, axes.values()))
    if size > 2**62:
        raise InvalidConfig([{"loc": ["parameters"], "message": f"{size} combinations are too many to draw from"}])
    if sweep.search == "grid" and size > MOST_POINTS:
        message = (
            f"{size} combinations, and a sweep holds {MOST_POINTS} at most: name fewer, or draw with search random"
        )
        raise InvalidConfig([{"loc": ["parameters"], "message": message}])
    if sweep.draws is not None and sweep.draws > size:
        raise InvalidConfig([{"loc": ["draws"], "message": f"there are only {size} combinations to draw from"}])
    sweep.points  # noqa: B018  # raises where a value fits nowhere
    return sweep


def _without_form(loc: list[str | int]) -> list[str | int]:
    """``parameters.fast.values.0``, as the reader has it, without ``values``, which nobody has written."""
    return [part for place, part in enumerate(loc) if not (place == 2 and loc[0] == "parameters" and part in _FORMS)]


def _base(value: Mapping[str, Any]) -> RunConfig:
    try:
        config = parsing.parse(value)
    except InvalidConfig as error:
        raise InvalidConfig([{**item, "loc": ["config", *item["loc"]]} for item in error.errors]) from None
    if config.validation.model_copy(update={"lookahead": True}) != Validation():
        message = "a sweep judges the search; run the best by itself for permutation, bootstrap and the others"
        raise InvalidConfig([{"loc": ["config", "validation"], "message": message}])
    return config.model_copy(update={"indicators": [], "validation": Validation()})


def _axes(given: SweepConfig) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for name in given.parameters:
        full = name if "." in name else f"{SECTIONS[0]}{name}"
        loc = ["parameters", name]
        if not full.startswith(SECTIONS) or full in ("risk.model", "execution.slippage.model"):
            known = ", ".join(f"{section}..." for section in SECTIONS)
            raise InvalidConfig([{"loc": loc, "message": f"cannot be varied; what can be begins with {known}"}])
        if full in found:
            raise InvalidConfig([{"loc": loc, "message": "is named twice"}])
        try:
            values = given.axes[name]
        except ValueError as error:
            raise InvalidConfig([{"loc": loc, "message": str(error)}]) from None
        if not values:
            message = "has no value: name one or more, or let 'from' be at most 'to'"
            raise InvalidConfig([{"loc": loc, "message": message}])
        if len({canonical.canonical(value) for value in values}) < len(values):
            raise InvalidConfig([{"loc": loc, "message": "names a value twice: keep one of them"}])
        found[full] = values
    return found


def holds(sweep: SweepConfig, config: RunConfig) -> bool:
    """Whether ``config`` is one of the points of ``sweep``, its validation, indicators and seed aside."""
    sections = {section: getattr(config, section) for section in _MODELS}
    aside = {"validation", "indicators", "seed"}
    if sweep.config.model_copy(update=sections).model_dump(exclude=aside) != config.model_dump(exclude=aside):
        return False
    axes = sweep.axes
    wanted, base = (_flat(one.model_dump(mode="json", include=set(_MODELS))) for one in (config, sweep.config))
    if any(wanted.get(name) != base.get(name) for name in (wanted.keys() | base.keys()) - axes.keys()):
        return False
    point = tuple(wanted.get(name) for name in axes)
    if any(value not in values for value, values in zip(point, axes.values(), strict=True)):
        return False
    return sweep.draws is None or point in sweep.points.values


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= _flat(item, f"{before}{name}.") if isinstance(item, Mapping) else {f"{before}{name}": item}
    return found


class Points:
    """The parameter sets of a sweep, in the order of the grid; those that the strategy refuses are left out.

    ``refused`` says how many those are. Raises `InvalidConfig` when nothing is left, with what was wrong.
    """

    def __init__(self, sweep: SweepConfig) -> None:
        self.sweep = sweep
        self.axes = sweep.axes
        self._sections: dict[tuple[Any, ...], Part | None] = {}
        self._first: InvalidConfig | None = None
        self._plain = {
            name: json.dumps(getattr(sweep.config, name).model_dump(mode="json", exclude_none=True)) for name in _MODELS
        }
        self.refused = 0
        self.values: list[Point] = []
        places = self._places()
        self._probe(places)
        for place in places:
            point = self._point(place)
            if self._fits(point):
                self.values.append(point)
            else:
                self.refused += 1
        if not self.values:
            self._nothing(len(places), len(places))

    def _probe(self, places: Sequence[int]) -> None:
        """Look at some of many, drawn at random, before all: a search of which none fits is refused without delay."""
        if len(places) > MOST_IN_VAIN:
            rng = np.random.Generator(np.random.PCG64(self.sweep.config.seed))
            some = rng.choice(len(places), MOST_IN_VAIN, replace=False, shuffle=False).tolist()
            if not any(self._fits(self._point(places[number])) for number in some):
                self._nothing(MOST_IN_VAIN, len(places))

    def _nothing(self, tried: int, count: int) -> NoReturn:
        """Raises `InvalidConfig` with what was wrong with the first, and how many were tried of how many."""
        of = f"the {count} combinations" if tried == count else f"{tried} drawn from the {count} combinations"
        before = "" if count == 1 else f"none of {of} can be run; the first: "
        wrong = [] if self._first is None else self._first.errors
        raise InvalidConfig(
            [{"loc": ["parameters", *item["loc"]], "message": f"{before}{item['message']}"} for item in wrong]
        )

    def __len__(self) -> int:
        return len(self.values)

    def config(self, number: int) -> RunConfig:
        """The backtest of the point of that place."""
        return self._built(self.values[number])

    def named(self, number: int) -> dict[str, Value]:
        """The values of the point of that place, by field."""
        return dict(zip(self.axes, self.values[number], strict=True))

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes.values()))

    def _places(self) -> Sequence[int]:
        size = math.prod(self._lengths)
        if self.sweep.draws is None:
            return range(size)
        rng = np.random.Generator(np.random.PCG64(self.sweep.config.seed))
        drawn = rng.choice(size, self.sweep.draws, replace=False, shuffle=False)
        return sorted(int(place) for place in drawn)

    def _point(self, place: int) -> Point:
        found = []
        for values in reversed(self.axes.values()):
            place, at = divmod(place, len(values))
            found.append(values[at])
        return tuple(reversed(found))

    def _fits(self, point: Point) -> bool:
        return None not in self._parts(point).values()

    def _built(self, point: Point) -> RunConfig:
        return self.sweep.config.model_copy(update=dict(self._parts(point)))

    def _parts(self, point: Point) -> dict[str, Part | None]:
        """Each section that is varied, with the point's values in it; worked out once for values that come again."""
        given: dict[str, dict[str, Value]] = {}
        for path, value in zip(self.axes, point, strict=True):
            section, _, field = path.partition(".")
            given.setdefault(section, {})[field] = value
        return {section: self._section(section, fields) for section, fields in given.items()}

    def _section(self, section: str, fields: Mapping[str, Value]) -> Part | None:
        """None for values that are refused; the first of the faults is kept, not the thousandth with its traceback."""
        key = (section, *((name, type(value), value) for name, value in fields.items()))  # 1, 1.0 and True are three
        if key not in self._sections:
            made = self._completed(section, fields)
            if isinstance(made, InvalidConfig):
                self._first = self._first or InvalidConfig(made.errors)
            self._sections[key] = None if isinstance(made, InvalidConfig) else made
        return self._sections[key]

    def _completed(self, section: str, fields: Mapping[str, Value]) -> Part | InvalidConfig:
        config = self.sweep.config
        plain = json.loads(self._plain[section])
        for path, value in fields.items():
            place, *inner = path.split(".")[::-1]
            into = plain
            for name in reversed(inner):
                into = into.setdefault(name, {})
                if not isinstance(into, dict):
                    return _unknown(section, path)
            into[place] = value
        try:
            given = _MODELS[section].model_validate_json(json.dumps(plain))
            return parsing.completed_section(section, given, config)
        except ValidationError as error:
            return InvalidConfig([{**item, "loc": [section, *item["loc"]]} for item in parsing.faults(error)])
        except InvalidConfig as error:
            return error
        except BrokenStrategy as error:
            return InvalidConfig([{"loc": [section], "message": str(error)}])


def _unknown(section: str, path: str) -> InvalidConfig:
    return InvalidConfig([{"loc": [section, *path.split(".")], "message": "is no field of the configuration"}])
