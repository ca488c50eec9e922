"""What a run says of itself that a reader would not see in its figures: how it was misled, or may mislead."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backtests.conftest import Send
from tests.backtests.test_pipeline import DAY, START, series, work
from tests.backtests.test_runs import BODY
from trading.backtests import candles
from trading.backtests.models import Run
from trading.backtests.parsing import parse
from trading.backtests.work import Work
from trading.marketdata import services as market
from trading.marketdata.providers import Bar

RECURSIVE = """
import numpy as np
from trading.backtests.strategy import Strategy
from trading.quant.parameters import Parameters

class Slow(Parameters):
    forget: float = 0.5

def targets(bars, parameters):
    total = np.empty_like(bars.close)
    total[0] = bars.close[0]
    for t in range(1, len(bars)):
        total[t] = (1 - parameters.forget) * total[t - 1] + parameters.forget * bars.close[t]
    return total / 1e3

STRATEGY = Strategy(Slow, targets, lambda parameters: 0)
"""


def test_the_page_says_how_much_of_the_past_is_needed(tmp_path: Path, settings: Any) -> None:
    """An average that keeps half of itself: what its first bar changes, at most .03, is 2^25 times the tolerance of
    1e-9, so that 26 bars end it; one that forgets nothing of its first bar depends on it for good."""
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    (tmp_path / "slow.py").write_text(RECURSIVE)
    prices = (100.0 + np.random.Generator(np.random.PCG64(1)).normal(size=200).cumsum()).tolist()
    for forget, expected in (
        (0.5, "It is recursive: it first speaks at bar 1,"),
        (0.0, "depends on where the data begin, to"),
    ):
        done = work(prices, strategy={"name": "slow", "params": {"forget": forget}})
        said = json.loads(done.artifacts()["validation.json"])["lookahead"]
        assert said["warm_up"] == 0
        assert said["history"] is None if forget == 0.0 else 15 < said["history"] <= 26
        page = done.artifacts()["tearsheet.html"].decode()
        assert "Look-ahead and recursion check" in page
        assert expected in page
    average = work(prices, strategy={"name": "dual_sma", "params": {"fast": 2, "slow": 5}})
    assert b"What it says from bar 5 on does not depend on" in average.artifacts()["tearsheet.html"]


@pytest.mark.parametrize("model", ["fixed_fraction", "volatility_target", "kelly_fraction"])
def test_a_configuration_that_is_read_back_leaves_the_same_bytes(model: str) -> None:
    """As a worker reads it: canonical JSON has 0 for the 0.0 of a default."""
    prices = (100.0 * np.exp(np.random.Generator(np.random.PCG64(2)).normal(0.01, 0.02, 200).cumsum())).tolist()
    always = {"rebalance": "always"}
    one = work(prices, risk={"model": model, "params": {}}, execution=always)
    again = Work(parse(json.loads(one.config.canonical())), one.read)
    assert len(one.result.fills) > 50 or model == "fixed_fraction"
    assert again.artifacts() == one.artifacts()


def test_hours_of_a_market_that_closes_are_not_those_of_one_that_never_does() -> None:
    """7 hours on 5 of 7 days: 1,826 a year, by 8,760 for a market that never closes: root of 4.80 is 2.19."""
    count = 7 * 5 * 12
    hours = [START + (24 * 7 * (k // 35) + 24 * (k % 35 // 7) + 14 + k % 7) * DAY // 24 for k in range(count)]
    prices = (100.0 + np.random.Generator(np.random.PCG64(1)).normal(size=count).cumsum()).tolist()
    for periods, expected in ((None, "2.2 times too large"), (1_764.0, None), (252.0, "2.7 times too small")):
        given = {} if periods is None else {"periods_per_year": periods}
        done = work(prices, timeframe="1h", **given)
        done = Work(done.config, lambda: [replace(series(prices), time=np.array(hours, dtype=np.int64))])
        said = done.metrics["misannualised"]
        page = done.artifacts()["tearsheet.html"].decode()
        if expected is None:
            assert said is None
            assert "Name the bars a year" not in page
        else:
            assert expected in said
            assert said in page
    assert work(prices).metrics["misannualised"] is None  # days, every one of them


def test_a_kelly_size_that_never_grows_says_why() -> None:
    said = work([100.0 + k for k in range(90)], risk={"model": "kelly_fraction", "params": {}}).metrics["untraded"]
    assert said is not None
    assert "'start', zero by default, until 'window' bars" in said
    assert "'start'" not in work([100.0 + k for k in range(9)], execution={"lot_size": 1e9}).metrics["untraded"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("queues")
def test_days_are_not_run_as_hours(ann: Send) -> None:
    drawn = candles.synthetic("TEST", parse({**BODY, "timeframe": "1d", "end": "2024-03-01"}))
    prices = (drawn.open, drawn.high, drawn.low, drawn.close, drawn.volume)
    market.store(
        (
            Bar("XX", datetime.fromtimestamp(moment / 1e9, UTC), *(Decimal(str(column[place])) for column in prices))
            for place, moment in enumerate(drawn.time.tolist())
        ),
        source="test",
        interval="1h",
    )
    answer = ann("POST", "/runs", {**BODY, "symbol": "XX", "end": "2024-03-01"})
    assert answer.status_code == 422
    (error,) = answer.json()["detail"]["errors"]
    assert error["loc"] == ["body", "timeframe"]
    assert "The candles of XX are usually 1 day apart" in error["message"]
    assert not Run.objects.exists()
