"""A sweep's numbers against the statistics of the library on the full returns, and its bytes however it is cut."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.backtests.sweeps.test_config import BASE, SWEEP, changed
from trading.backtests import candles, pipeline
from trading.backtests.sweeps import heatmap, simulation
from trading.backtests.sweeps.config import Points, parse
from trading.backtests.sweeps.judgement import concluded
from trading.backtests.sweeps.simulation import GROUP, Figures, returns_of
from trading.backtests.sweeps.work import SweepWork, cut
from trading.quant.kernels import Floats
from trading.quant.statistics import CrossValidation, Record, SuperiorityTest, block_length, deflated_sharpe, evaluate

WIDE = changed(parameters={"fast": {"from": 2, "to": 12, "step": 1}, "slow": {"from": 10, "to": 60, "step": 5}})


def work_of(body: dict) -> SweepWork:
    config = parse(body)
    return SweepWork(config, lambda: [candles.synthetic("TEST", config.config)], quiet)


def quiet(done: int, total: int, note: str) -> None:
    assert 0 <= done <= total, note


def all_returns(work: SweepWork) -> Floats:
    numbers = range(len(work.points))
    return np.column_stack([returns_of(pipeline.simulated(work.points.config(n), work.bars)) for n in numbers])


def test_the_best_is_worth_what_the_library_says_of_all_returns() -> None:
    work = work_of(WIDE)
    summary = work.judged(work.simulated((0, len(work.points)))).summary
    returns = all_returns(work)
    sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    best = int(sharpes.argmax())
    assert summary["best"]["point"] == best
    assert summary["best"]["metrics"]["sharpe"] == pytest.approx(sharpes[best] * 252**0.5, rel=1e-9)
    variance = max(float(sharpes.var(ddof=1)), 1.0 / (len(returns) - 1))
    expected = deflated_sharpe(Record.of(returns[:, best]), trials=len(work.points), variance=variance)
    assert summary["best"]["deflated_sharpe"] == pytest.approx(expected, rel=1e-9)
    assert summary["overfitting"]["pbo"] == evaluate(CrossValidation(returns, 16)).pbo
    closes = work.bars.close[:, 0]
    holding = {"config": {**BASE, "strategy": {"name": "buy_and_hold"}}, "parameters": {"execution.fee_bps": [2]}}
    held = pipeline.simulated(parse(holding).config, work.bars)
    length = block_length(np.diff(closes) / closes[:-1])
    above = evaluate(SuperiorityTest(returns - returns_of(held)[:, None], 500, 42, length))
    said = summary["superiority"]
    assert (said["reality_check"], said["spa_consistent"]) == (above.reality_check, above.spa_consistent)
    assert (said["spa_lower"], said["spa_upper"]) == (above.spa_lower, above.spa_upper)


def test_the_best_comes_with_intervals_and_what_to_make_of_it() -> None:
    """A random walk: the error of its Sharpe ratio is Lo's (2002) for normal returns, the root of (1 + SR^2/2) / T."""
    work = work_of(WIDE)
    judgement = work.judged(work.simulated((0, len(work.points))))
    best, over = judgement.summary["best"], judgement.summary["overfitting"]
    low, high = best["sharpe_interval"]["low"], best["sharpe_interval"]["high"]
    assert (low + high) / 2 == pytest.approx(best["metrics"]["sharpe"])
    ratio, count = best["sharpe_per_bar"], len(work.bars) - 1
    error = ((1 + ratio**2 / 2) / count) ** 0.5 * 252**0.5
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=0.05)
    assert 0.0 <= over["pbo_interval"]["low"] < over["pbo"] < over["pbo_interval"]["high"] <= 1.0
    conclusion = judgement.summary["conclusion"]
    assert conclusion.startswith("Do not trade the best as it is. The best is not told from luck: the chance that its")
    page = heatmap.page(work.points, judgement, work.config.config).decode()
    assert conclusion in page
    assert f"{100 * over['pbo_interval']['low']:.2f}% to {100 * over['pbo_interval']['high']:.2f}%" in page
    assert f"{low:.2f} to {high:.2f} at 95% by itself" in page


def test_each_thing_that_speaks_against_the_best_is_named() -> None:
    said: dict[str, Any] = {
        "best": {"deflated_sharpe": 0.96, "trials": 20},
        "overfitting": {"pbo": 0.3},
        "superiority": {"benchmark": "cash", "spa_consistent": 0.05},
        "lookahead": {"honest": True},
    }
    assert concluded(said).startswith("Nothing here speaks against the best: run it by itself")
    for part, words in (
        ({"best": None}, "There is no best point"),
        ({"best": {"deflated_sharpe": 0.94, "trials": 20}}, "as the best of 20, is 94.00%, and 95% is asked for"),
        ({"best": {"deflated_sharpe": float("nan"), "trials": 20}}, "not told from luck"),
        ({"overfitting": {"pbo": 0.31}}, "in 31.00% of the splits, and at most 30% is accepted"),
        ({"overfitting": {"not_made": "there are too few bars"}}, "is not known: there are too few bars."),
        ({"superiority": {"benchmark": "cash", "spa_consistent": 0.06}}, "beats cash is not shown: p is 0.060"),
        ({"lookahead": {"honest": False}}, "reads bars that have not happened yet"),
    ):
        assert words in concluded({**said, **part})


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_bytes_do_not_depend_on_where_it_is_cut(size: int) -> None:
    work = work_of(WIDE)
    count = len(work.points)
    whole = work.artifacts(work.judged(work.simulated((0, count))))
    starts = range(0, count, size * GROUP)
    parts = [work.simulated((start, min(start + size * GROUP, count))) for start in starts]
    joined = Figures.joined([Figures.unpacked(part.packed()) for part in parts])
    assert len(parts) > 1
    assert work.artifacts(work.judged(joined)) == whole


def test_a_part_is_a_whole_number_of_groups() -> None:
    points = Points(parse(WIDE))
    bars = work_of(WIDE).bars
    for start, stop in ((0, GROUP - 1), (3, GROUP), (GROUP, GROUP), (0, len(points) + GROUP)):
        with pytest.raises(ValueError, match="no whole groups"):
            simulation.simulated(points, bars, start, stop)


@pytest.mark.parametrize("seconds", [1e-9, 1e-4, 2e-3, 0.1, 30.0])
@pytest.mark.parametrize("count", [1, 16, 17, 5_000, 20_000])
def test_parts_follow_each_other_to_the_end_and_are_not_too_many(seconds: float, count: int) -> None:
    parts = cut(32, 32 + count, seconds)
    assert parts[0][0] == 32
    assert parts[-1][1] == 32 + count
    assert all(before[1] == after[0] and before[1] % GROUP == 0 for before, after in pairwise(parts))
    assert len(parts) <= 500
    assert cut(5, 5, seconds) == []


def test_costly_points_are_shared_out_and_cheap_ones_kept_together() -> None:
    assert len(cut(0, 1_600, 0.1)) == 25  # 160 s in parts of about a 24th
    assert len(cut(0, 1_600, 1e-4)) == 1  # 0.16 s is not worth the queue


def test_one_point_and_few_bars_say_what_cannot_be_known() -> None:
    work = work_of({**SWEEP, "config": {**BASE, "end": "2019-01-20"}, "parameters": {"fast": [2], "slow": [4]}})
    summary = work.judged(work.simulated((0, 1))).summary
    assert "too few bars" in summary["overfitting"]["not_made"]
    assert summary["best"]["trials"] == 1
    assert summary["best"]["sharpe_threshold"] == 0.0


def test_a_ruined_point_is_never_the_best() -> None:
    body = changed(
        config={**BASE, "strategy": {"name": "buy_and_hold"}, "execution": {"max_leverage": 100}},
        parameters={"risk.params.fraction": [0.5, 100]},
        objective="total_return",
    )
    work = work_of(body)
    figures = work.simulated((0, 2))
    assert figures.table[1, -1] == 1.0
    summary = work.judged(figures).summary
    assert summary["best"]["parameters"] == {"risk.params.fraction": 0.5}


def test_a_growth_that_nobody_reads_digit_by_digit_is_a_power_of_ten() -> None:
    assert [heatmap.shown(value, "cagr") for value in (0.1234, 1.35e283, None)] == ["12.34%", "1.35e+285%", "-"]
