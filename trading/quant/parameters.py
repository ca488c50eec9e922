"""Parameters: the numbers of a JSON object, checked against what an indicator, a strategy, a sizing or a slippage
takes."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from trading.quant.costs import NoSlippage, ParticipationRate, Slippage, SpreadPct
from trading.quant.sizing import FixedFraction, KellyFraction, Sizing, VolatilityTarget

SIZINGS: Final[Mapping[str, type[FixedFraction] | type[VolatilityTarget] | type[KellyFraction]]] = {
    "fixed_fraction": FixedFraction,
    "volatility_target": VolatilityTarget,
    "kelly_fraction": KellyFraction,
}
SLIPPAGES: Final[Mapping[str, type[NoSlippage] | type[SpreadPct] | type[ParticipationRate]]] = {
    "none": NoSlippage,
    "spread_pct": SpreadPct,
    "participation_rate": ParticipationRate,
}

M = TypeVar("M")


class Parameters(BaseModel):
    """The numbers that an indicator or a strategy takes, each with its default and its bounds."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


P = TypeVar("P", bound=Parameters)


def checked(name: str, model: type[P], parameters: Mapping[str, Any]) -> P:
    """``parameters`` of ``name`` with the defaults filled in; raises ValueError with everything that does not fit."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or name}: {message(item, model)}"
            for item in error.errors(include_url=False)
        )
        raise ValueError(f"parameters of {name}: {faults}") from None


def message(item: Mapping[str, Any], model: type[Parameters] | None = None) -> str:
    """What is wrong with one of pydantic's ``errors()``, without an exception's name; with the names that there are."""
    if item["type"] != "extra_forbidden":
        return str(item["msg"]).removeprefix("Value error, ")
    if model is None:
        return "there is no such field"
    there = ", ".join(model.model_fields)
    return f"there is no such parameter; there {'are: ' + there if there else 'is none'}"


def sizing_of(name: str, parameters: Mapping[str, Any]) -> Sizing:
    """The sizing called ``name``, with ``parameters``; raises ValueError with what does not fit."""
    return build(known("sizing", SIZINGS, name), name, parameters)


def slippage_of(name: str, parameters: Mapping[str, Any]) -> Slippage:
    """The slippage called ``name``, with ``parameters``; raises ValueError with what does not fit."""
    return build(known("slippage", SLIPPAGES, name), name, parameters)


def known(kind: str, models: Mapping[str, M], name: str) -> M:
    """The model called ``name``."""
    if name not in models:
        raise ValueError(f"no {kind} is called {name!r}; there are: {', '.join(models)}")
    return models[name]


def build(model: type[M], name: str, parameters: Mapping[str, Any]) -> M:
    """``model`` with ``parameters``, whose names and kinds of number are checked before its own bounds are.

    JSON has one kind of number: 1 is 1.0 where a fraction is meant.
    """
    wanted = {field.name: field.type for field in fields(model)}  # type: ignore[arg-type]
    for parameter, value in parameters.items():
        if parameter not in wanted:
            takes = ", ".join(wanted) or "none"
            raise ValueError(f"{name} has no parameter {parameter!r}; it takes: {takes}")
        whole = wanted[parameter] is int
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(f"{parameter} of {name} must be a {'whole ' if whole else ''}number")
    try:
        return model(**{name: value if wanted[name] is int else float(value) for name, value in parameters.items()})
    except TypeError:
        missing = ", ".join(parameter for parameter in wanted if parameter not in parameters)
        raise ValueError(f"{name} needs a number for: {missing}") from None
