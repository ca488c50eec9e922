"""What a sweep's configuration means: its points in their order, one hash for one meaning, and what it refuses."""

import itertools
import json
from typing import Any

import pytest

from trading.backtests.parsing import InvalidConfig
from trading.backtests.parsing import parse as parse_run
from trading.backtests.sweeps.config import MOST_POINTS, Points, parse

BASE: dict[str, Any] = {
    "symbol": "TEST",
    "timeframe": "1d",
    "start": "2019-01-01",
    "end": "2019-12-31",
    "strategy": {"name": "dual_sma"},
    "execution": {"fee_bps": 2},
}
SWEEP: dict[str, Any] = {
    "config": BASE,
    "parameters": {"fast": [5, 10, 20], "slow": {"from": 10, "to": 40, "step": 10}},
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**SWEEP, **fields}


def test_the_points_are_the_grid_in_order_without_what_the_strategy_refuses() -> None:
    points = Points(parse(SWEEP))
    grid = list(itertools.product([5, 10, 20], [10, 20, 30, 40]))
    assert points.values == [(fast, slow) for fast, slow in grid if fast < slow]
    assert points.refused == len(grid) - len(points) == 3
    assert points.named(1) == {"strategy.params.fast": 5, "strategy.params.slow": 20}


def test_the_backtest_of_a_point_is_the_one_that_its_values_submitted_alone_give() -> None:
    sweep = changed(parameters={"fast": [3, 7], "risk.params.fraction": [0.25, 1], "execution.fee_bps": [0, 2.5]})
    points = Points(parse(sweep))
    for number, (fee, fraction, fast) in enumerate(itertools.product([0, 2.5], [0.25, 1], [3, 7])):
        alone = {
            **BASE,
            "strategy": {"name": "dual_sma", "params": {"fast": fast}},
            "risk": {"params": {"fraction": fraction}},
            "execution": {"fee_bps": fee},
        }
        assert points.config(number).run_hash == parse_run(alone).run_hash


@pytest.mark.parametrize(
    "other",
    [
        {"strategy.params.slow": [10, 20, 30, 40], "strategy.params.fast": [5, 10, 20]},
        {"slow": [10.0, 20, 30, 40], "fast": {"from": 5, "to": 5, "step": 5}},
    ],
)
def test_one_meaning_has_one_hash(other: dict[str, Any]) -> None:
    same = "strategy.params.fast" in other
    assert (parse(changed(parameters=other)).run_hash == parse(SWEEP).run_hash) is same
    spelled = changed(config={**BASE, "seed": 42.0, "indicators": [{"name": "sma"}]}, objective="sharpe")
    assert parse(spelled).run_hash == parse(SWEEP).run_hash


def test_it_is_read_back_from_its_own_form() -> None:
    sweep = parse(changed(search="random", draws=5))
    assert parse(json.loads(sweep.canonical())).canonical() == sweep.canonical()


def test_steps_are_counted_in_decimals() -> None:
    sweep = parse(changed(parameters={"risk.params.fraction": {"from": 0.1, "to": 1, "step": 0.1}}))
    assert sweep.axes["risk.params.fraction"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]


def test_a_random_search_draws_points_of_the_grid_by_its_seed() -> None:
    wide = {"fast": {"from": 1, "to": 500, "step": 1}, "slow": {"from": 501, "to": 1000, "step": 1}}
    one, again, other = (
        Points(parse({"config": {**BASE, "seed": seed}, "parameters": wide, "search": "random", "draws": 50})).values
        for seed in (1, 1, 2)
    )
    assert one == again != other
    assert len(set(one)) == 50
    assert one == sorted(one)
    assert all(1 <= fast <= 500 < slow <= 1000 for fast, slow in one)


def test_a_search_of_which_nothing_can_be_run_is_refused_before_all_of_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """400,000 combinations, all with fast above slow, of which 20,000 are drawn."""
    looked_at: list[Any] = []
    monkeypatch.setattr(Points, "_completed", counted(Points._completed, looked_at))
    wide = {"fast": {"from": 501, "to": 1300, "step": 1}, "slow": {"from": 2, "to": 500, "step": 1}}
    with pytest.raises(InvalidConfig) as caught:
        parse({"config": BASE, "parameters": wide, "search": "random", "draws": 20_000})
    (error,) = caught.value.errors
    assert error["loc"] == ["parameters", "strategy", "params"]
    assert "none of 2000 drawn from the 20000 combinations can be run; the first: fast must be" in error["message"]
    assert len(looked_at) == 2_000


def test_what_can_be_run_is_found_wherever_it_lies() -> None:
    """Of 100 x 200 combinations only those of the last value of ``slow`` can be run: one in 200."""
    slow = [*range(2, 201), 500]
    found = Points(parse({"config": BASE, "parameters": {"fast": {"from": 201, "to": 300, "step": 1}, "slow": slow}}))
    assert (len(found), found.refused) == (100, 19_900)
    assert {slow for _, slow in found.values} == {500}


def counted(real: Any, calls: list[Any]) -> Any:
    def call(points: Points, section: str, fields: Any) -> Any:
        calls.append(fields)
        return real(points, section, fields)

    return call


@pytest.mark.parametrize(
    ("fields", "loc", "says"),
    [
        ({"config": 3}, ["config"], "object"),
        ({"config": {**BASE, "symbol": ""}}, ["config", "symbol"], "at least 1"),
        ({"config": {**BASE, "validation": {"bootstrap": {}}}}, ["config", "validation"], "by itself"),
        ({"parameters": {}}, ["parameters"], "at least 1"),
        ({"parameters": {"fast": []}}, ["parameters", "fast"], "at least 1"),
        ({"parameters": {"fast": [5, 5.0]}}, ["parameters", "fast"], "twice: keep one"),
        (
            {"parameters": {"fast": {"from": 5, "to": 4, "step": 1}}},
            ["parameters", "fast"],
            "let 'from' be at most 'to'",
        ),
        ({"parameters": {"fast": {"from": 1, "to": 9999, "step": 1}}}, ["parameters", "fast"], "at most"),
        (
            {"parameters": {"fast": {"from": -1e308, "to": 1e308, "step": 1e308}}},
            ["parameters", "fast", "from"],
            "greater than or equal to -9007199254740991",
        ),
        ({"parameters": {"fast": [2**70]}}, ["parameters", "fast", 0], "within ±9007199254740991"),
        ({"parameters": {f"risk.{'a.' * 9000}a": [1]}}, ["parameters"], "at most 100 characters"),
        ({"parameters": {"fast": [5], "strategy.params.fast": [6]}}, ["parameters", "strategy.params.fast"], "twice"),
        ({"parameters": {"symbol.x": ["A"]}}, ["parameters", "symbol.x"], "cannot be varied"),
        ({"parameters": {"risk.model": ["kelly_fraction"]}}, ["parameters", "risk.model"], "cannot be varied"),
        (
            {"parameters": {"speed": [1]}},
            ["parameters", "strategy", "params", "speed"],
            "no such parameter; there are: fast, slow, short",
        ),
        ({"parameters": {"fast": [40, 50]}}, ["parameters", "strategy", "params"], "fast must be smaller"),
        ({"parameters": {"risk.stop_loss.x": [1]}}, ["parameters", "risk", "stop_loss"], "valid number"),
        ({"parameters": {"risk.model.x": [1]}}, ["parameters", "risk", "model", "x"], "no field"),
        ({"search": "random"}, [], "draws"),
        ({"draws": 3}, [], "draws"),
        ({"search": "random", "draws": 13}, ["draws"], "only 12"),
        ({"objective": "luck"}, ["objective"], "sharpe"),
        ({"blocks": 7}, ["blocks"], "multiple of 2"),
        ({"nonsense": 1}, ["nonsense"], "no such field"),
        (
            {"parameters": {"fast": {"from": 1, "to": 150, "step": 1}, "slow": {"from": 1, "to": 150, "step": 1}}},
            ["parameters"],
            str(MOST_POINTS),
        ),
    ],
)
def test_what_is_no_sweep_says_where(fields: dict[str, Any], loc: list[str], says: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse(changed(**fields))
    found = {tuple(error["loc"][: len(loc)]): error["message"] for error in caught.value.errors}
    assert says in found.get(tuple(loc), ""), caught.value.errors
