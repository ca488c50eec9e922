"""Reading a run's configuration: strictly, with every default filled in, so that equal meanings have equal hashes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from pydantic import ValidationError

from trading.backtests import canonical, registry
from trading.backtests.config import PERIODS_PER_YEAR, Execution, Indicator, Part, Risk, RunConfig, Slippage, Strategy
from trading.backtests.registry import UnknownStrategy
from trading.backtests.strategy import BrokenStrategy
from trading.quant import indicator
from trading.quant.indicator import UnknownIndicator
from trading.quant.parameters import Parameters, message, sizing_of, slippage_of

Loc = Sequence[str | int]


class InvalidConfig(ValueError):
    """The configuration is not one; ``errors`` says where, as ``{"loc": [...], "message": ...}``."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        places = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'config'}: {error['message']}" for error in errors)
        super().__init__(f"The run configuration is not valid: {places}")


def strategies_folder() -> Path | None:
    """The folder of the operator's own strategies; None when there is none."""
    return Path(settings.QT_STRATEGIES_DIR) if settings.QT_STRATEGIES_DIR else None


def parse(value: Mapping[str, Any]) -> RunConfig:
    """``value``, read from JSON, as a configuration with every default filled in; raises `InvalidConfig`.

    JSON has one kind of number, so ``5.0`` is taken where a whole number is asked for.
    """
    try:
        config = RunConfig.model_validate_json(json.dumps(whole_numbers(value), allow_nan=False))
    except ValidationError as error:
        raise InvalidConfig(faults(error)) from None
    except InvalidConfig:
        raise
    except ValueError as error:
        raise InvalidConfig([{"loc": [], "message": str(error)}]) from None
    return _completed(config)


def faults(error: ValidationError) -> list[dict[str, Any]]:
    """What is wrong and where, as `InvalidConfig` holds it."""
    return [{"loc": list(item["loc"]), "message": message(item)} for item in _errors(error)]


def _errors(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_context=False, include_input=False))


def whole_numbers(value: Any, loc: Loc = ()) -> Any:
    """``value`` with 5 for 5.0: JSON has one kind of number. Raises `InvalidConfig` for one past what a double holds.

    ``loc`` is where it stands.
    """
    if isinstance(value, Mapping):
        return {name: whole_numbers(item, [*loc, name]) for name, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item, [*loc, place]) for place, item in enumerate(value)]
    if isinstance(value, float) and value.is_integer() and abs(value) <= canonical.LARGEST_INTEGER:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > canonical.LARGEST_INTEGER:
        raise _fault(loc, f"must be a number within ±{canonical.LARGEST_INTEGER}")
    return value


def _completed(config: RunConfig) -> RunConfig:
    """``config`` in the form that its equals share: what is left out is filled in, what has two spellings has one."""
    traded = config.traded
    periods = config.periods_per_year or PERIODS_PER_YEAR[config.timeframe]
    indicators = [_indicator(given, index) for index, given in enumerate(config.indicators)]
    for index, given in enumerate(indicators):
        if given in indicators[:index]:
            raise _fault(("indicators", index), "this indicator is asked for twice")
    return config.model_copy(
        update={
            "symbol": traded[0] if len(traded) == 1 else None,
            "symbols": traded if len(traded) > 1 else None,
            "start": config.start.removesuffix("T00:00:00Z"),
            "indicators": indicators,
            "strategy": _strategy(config.strategy, indicators),
            "risk": _risk(config.risk, periods),
            "execution": _execution(config.execution),
            "periods_per_year": periods,
        }
    )


def completed_section(section: str, given: Any, config: RunConfig) -> Part:
    """Another ``strategy``, ``risk`` or ``execution`` for ``config``, with its defaults; raises `InvalidConfig`."""
    match section:
        case "strategy":
            return _strategy(given, config.indicators)
        case "risk":
            return _risk(given, config.periods_per_year or PERIODS_PER_YEAR[config.timeframe])
    return _execution(given)


def _strategy(given: Strategy, indicators: Sequence[Indicator]) -> Strategy:
    """What the strategy leaves out is taken from the indicator of its name, if there is one, then from its defaults."""
    named = next((indicator.params for indicator in indicators if indicator.name == given.name), {})
    model = _strategy_parameters(given.name, ("strategy", "name"))
    return given.model_copy(update={"params": _filled(model, {**named, **given.params}, ("strategy", "params"))})


def _indicator(given: Indicator, index: int) -> Indicator:
    """A strategy may stand among the indicators: its column is what it wishes to hold."""
    model: type[Parameters]
    try:
        model = indicator.find(given.name).parameters
    except UnknownIndicator as error:
        if given.name not in registry.names(strategies_folder()):
            raise _fault(("indicators", index, "name"), str(error)) from None
        model = _strategy_parameters(given.name, ("indicators", index, "name"))
    return given.model_copy(update={"params": _filled(model, given.params, ("indicators", index, "params"))})


def _strategy_parameters(name: str, loc: Loc) -> type[Parameters]:
    try:
        return registry.find(name, strategies_folder()).strategy.parameters
    except (UnknownStrategy, BrokenStrategy) as error:
        raise _fault(loc, str(error)) from None


def _filled(model: type[Parameters], params: Mapping[str, Any], loc: Loc) -> dict[str, Any]:
    try:
        return model.model_validate(dict(params)).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        raise InvalidConfig(
            [{"loc": [*loc, *item["loc"]], "message": message(item, model)} for item in _errors(error)]
        ) from None


def _risk(given: Risk, periods_per_year: float) -> Risk:
    params = dict(given.params)
    if given.model == "volatility_target":
        params.setdefault("periods_per_year", periods_per_year)
    return given.model_copy(update={"params": _built(sizing_of, given.model, params, ("risk", "params"))})


def _execution(given: Execution) -> Execution:
    if given.slippage_bps and given.slippage.model != "none":
        raise _fault(("execution", "slippage_bps"), "name it or a slippage model, not both")
    params = _built(slippage_of, given.slippage.model, given.slippage.params, ("execution", "slippage", "params"))
    return given.model_copy(update={"slippage": Slippage(model=given.slippage.model, params=params)})


def _built(build: Callable[[str, Mapping[str, Any]], Any], name: str, params: Mapping[str, Any], loc: Loc) -> Any:
    try:
        return asdict(build(name, params))
    except ValueError as error:
        raise _fault(loc, str(error)) from None


def _fault(loc: Loc, message: str) -> InvalidConfig:
    return InvalidConfig([{"loc": list(loc), "message": message}])
