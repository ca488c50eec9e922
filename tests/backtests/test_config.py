"""The run configuration: defaults, strictness, and one hash for all spellings of one meaning."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.backtests.parsing import InvalidConfig, parse

MINIMAL: dict[str, Any] = {
    "symbol": "TEST",
    "timeframe": "1m",
    "start": "2024-01-01",
    "end": "2024-01-02",
    "indicators": [{"name": "sma", "params": {"window": 5}}, {"name": "sma", "params": {"window": 15}}],
    "strategy": {"name": "dual_sma", "params": {"fast": 5, "slow": 15}},
    "risk": {"model": "fixed_fraction", "params": {"fraction": 0.1}},
    "execution": {"slippage_bps": 0, "fee_bps": 0, "borrow_cost_bps": 0},
    "validation": {"permutation": {"trials": 3}},
    "seed": 42,
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**MINIMAL, **fields}


def test_what_is_read_back_from_its_own_form_is_the_same_configuration() -> None:
    config = parse(MINIMAL)
    again = parse(json.loads(config.canonical()))
    assert again.canonical() == config.canonical()
    assert config.run_hash == hashlib.sha256(config.canonical()).hexdigest()


def test_the_hash_is_what_sha256sum_says_of_the_canonical_form() -> None:
    said = subprocess.run(["sha256sum"], input=parse(MINIMAL).canonical(), capture_output=True, check=True).stdout
    assert parse(MINIMAL).run_hash == said.split()[0].decode()


@given(st.permutations(list(MINIMAL)), st.sampled_from([5, 5.0, 0.5e1]), st.sampled_from([0, 0.0, -0.0]))
def test_one_meaning_has_one_hash(order: list[str], five: float, zero: float) -> None:
    spelled = {name: MINIMAL[name] for name in order}
    spelled["strategy"] = {"params": {"slow": 15, "fast": five}, "name": "dual_sma"}
    spelled["execution"] = {"fee_bps": zero}
    assert parse(spelled).run_hash == parse(MINIMAL).run_hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"symbol": "AAPL"}, {"symbol": None, "symbols": ["AAPL"]}),
        ({"symbol": None, "symbols": ["A", "B"]}, {"symbol": None, "symbols": ["B", "A"]}),
        ({"start": "2024-01-01"}, {"start": "2024-01-01T00:00:00Z"}),
        ({"start": "2024-01-01T09:30:00"}, {"start": "2024-01-01T10:30:00+01:00"}),
        ({"validation": {}}, {"validation": {"permutation": None}}),
        ({"risk": {"model": "fixed_fraction"}}, {"risk": {}}),
    ],
)
def test_spellings_of_one_meaning(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert parse(changed(**one)).run_hash == parse(changed(**other)).run_hash


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 43},
        {"symbol": "TEST2"},
        {"timeframe": "5m"},
        {"end": "2024-01-02T00:00:00Z"},  # the bar of that midnight is the last, rather than the day's
        {"execution": {"fee_bps": 1e-9}},
        {"validation": {"permutation": {"trials": 4}}},
        {"indicators": []},
    ],
)
def test_another_meaning_has_another_hash(fields: dict[str, Any]) -> None:
    assert parse(changed(**fields)).run_hash != parse(MINIMAL).run_hash


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"colour": "red"}, ["colour"]),
        ({"seed": 2**60}, ["seed"]),
        ({"indicators": [{"name": "sma", "params": {"window": 2**70}}]}, ["indicators", 0, "params", "window"]),
        ({"strategy": {"name": "dual_sma", "speed": 1}}, ["strategy", "speed"]),
        ({"execution": {"fee_bps": -1}}, ["execution", "fee_bps"]),
        ({"execution": {"fee_bps": True}}, ["execution", "fee_bps"]),
        ({"execution": {"fee_bps": "5"}}, ["execution", "fee_bps"]),
        ({"seed": 1.5}, ["seed"]),
        ({"seed": -1}, ["seed"]),
        ({"seed": True}, ["seed"]),
        ({"symbol": ""}, ["symbol"]),
        ({"symbol": "A\tB"}, ["symbol"]),
        ({"symbol": "A" * 33}, ["symbol"]),
        ({"timeframe": "7m"}, ["timeframe"]),
        ({"start": "2024-02-30"}, ["start"]),
        ({"start": "\N{ARABIC-INDIC DIGIT TWO}024-01-01"}, ["start"]),
        ({"start": 20240101}, ["start"]),
        ({"end": "9999-12-31"}, ["end"]),
        ({"validation": {"permutation": {"trials": 0}}}, ["validation", "permutation", "trials"]),
        ({"validation": {"permutation": {"trials": 10**9}}}, ["validation", "permutation", "trials"]),
        ({"risk": {"model": "all_in"}}, ["risk", "model"]),
    ],
)
def test_what_is_not_a_configuration_says_where(fields: dict[str, Any], loc: list[str]) -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse(changed(**fields))
    assert loc in [error["loc"] for error in refused.value.errors]


@pytest.mark.parametrize("value", [None, [1], {}, 1e300, "A" * 65])
def test_what_no_parameter_can_be_is_said_once(value: Any) -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse(changed(strategy={"name": "dual_sma", "params": {"fast": value}}))
    (fault,) = refused.value.errors
    assert fault["loc"] == ["strategy", "params", "fast"]
    assert fault["message"] == "must be true, false, a number within ±9007199254740991, or a text of at most 64"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"strategy": {"name": "dual_sma", "params": {"quick": 1}}}, "no such parameter; there are: fast, slow, short"),
        ({"strategy": {"name": "buy_and_hold", "params": {"quick": 1}}}, "no such parameter; there is none"),
        ({"indicators": [{"name": "sma", "params": {"length": 5}}]}, "no such parameter; there are: window"),
        ({"strategy": {"name": "dual_sma", "speed": 1}}, "there is no such field"),
        ({"strategy": {"name": "dual_ema"}}, "no strategy is called 'dual_ema'; there are: breakout, "),
    ],
)
def test_a_name_that_is_not_known_is_answered_with_those_that_are(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse(changed(**fields))
    assert any(says in error["message"] for error in refused.value.errors), refused.value.errors


@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": None},
        {"symbols": ["A"]},
        {"symbol": None, "symbols": ["A", "A"]},
        {"start": "2024-01-03"},
        {"seed": 10**30},
        {"strategy": {"name": "dual_sma", "params": {"fast": 1e300}}},
        {"strategy": {"name": "dual_sma", "params": {"fast": [5]}}},
        {"strategy": {"name": "../etc", "params": {}}},
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        parse(changed(**fields))


def test_a_day_at_the_end_is_used_whole_and_a_time_is_the_last_bar() -> None:
    assert parse(MINIMAL).until.isoformat() == "2024-01-03T00:00:00+00:00"
    assert parse(changed(end="2024-01-02T12:00:00Z")).until.isoformat() == "2024-01-02T12:00:00.000001+00:00"


# Written by hand from the field's documented defaults and the rules of RFC 8785; the hash is sha256sum's of this text.
GOLDEN = (
    '{"end":"2012-12-31","execution":{"borrow_cost_bps":0,"fee_bps":2.5,"fill":"next_open","lot_size":0,'
    '"max_leverage":1,"multiplier":1,"rebalance":"on_change","slippage":{"model":"none","params":{}},"slippage_bps":0},'
    '"indicators":[],"initial_cash":100000,"periods_per_year":252,"risk":{"model":"fixed_fraction","params":'
    '{"fraction":1}},"seed":42,"start":"2012-01-01","strategy":{"name":"buy_and_hold","params":{}},'
    '"symbols":["AAPL","MSFT"],"timeframe":"1d","validation":{"lookahead":true}}'
)
GOLDEN_HASH = "1473142787dc2624d02fe32150c2f177d021e82c7b9599f9b597d0970f6e0e76"


def test_the_golden_hash() -> None:
    config = parse(
        {
            "strategy": {"name": "buy_and_hold"},
            "symbols": ["MSFT", "AAPL"],
            "execution": {"fee_bps": 2.50},
            "timeframe": "1d",
            "end": "2012-12-31",
            "start": "2012-01-01T00:00:00Z",
        }
    )
    assert config.canonical().decode() == GOLDEN
    assert config.run_hash == GOLDEN_HASH


def test_what_a_strategy_leaves_out_is_taken_from_the_indicator_of_its_name() -> None:
    named = changed(indicators=[{"name": "dual_sma", "params": {"fast": 5, "slow": 20}}], strategy={"name": "dual_sma"})
    assert parse(named).strategy.params == {"fast": 5, "slow": 20, "short": False}
    said = changed(indicators=named["indicators"], strategy={"name": "dual_sma", "params": {"fast": 6}})
    assert parse(said).strategy.params == {"fast": 6, "slow": 20, "short": False}


@pytest.mark.parametrize("end", ["20241231", "2025-W01-2", "2024-12-31"])
def test_a_day_is_used_whole_however_it_is_written(end: str) -> None:
    """2024-12-31 is the Tuesday of the first week of 2025; each is the day and not its first moment."""
    config = parse(changed(end=end))
    assert (config.end, config.until) == ("2024-12-31", datetime(2025, 1, 1, tzinfo=UTC))
