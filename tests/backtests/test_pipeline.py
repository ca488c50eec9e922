"""From candles to artifacts: values that follow by hand, tables that read back, and every test of the validation."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backtests.test_config import changed
from trading.backtests import pipeline, plots, services, tables, tearsheet, validation
from trading.backtests.candles import Series
from trading.backtests.parsing import parse
from trading.backtests.work import WORTH_KEEPING_SECONDS, Work
from trading.quant.statistics import Record, deflated_sharpe

DAY = 86_400 * 10**9
START = 1_704_067_200 * 10**9  # 2024-01-01T00:00:00Z, by `date -u -d 2024-01-01 +%s`


def series(prices: list[float], symbol: str = "TEST") -> Series:
    price = np.array(prices)
    time = START + DAY * np.arange(len(prices), dtype=np.int64)
    return Series(symbol, time, price, price * 1.01, price * 0.99, price, np.full(len(prices), 1e6))


def work(prices: list[float], **fields: Any) -> Work:
    body = changed(
        timeframe="1d", end="2024-12-31", indicators=[], validation={}, risk={}, strategy={"name": "buy_and_hold"}
    )
    config = parse({**body, **fields})
    return Work(config, lambda: [series(prices)])


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_buying_once_at_the_next_open_follows_by_hand() -> None:
    """100,000 at 100 are 1,000 units; at 110 they are worth 110,000, at 99 they are worth 99,000."""
    done = work([100.0, 100.0, 110.0, 99.0])
    files = done.artifacts()
    (fill,) = rows(files["fills.csv"])
    assert (fill["time"], fill["quantity"], fill["price"]) == ("2024-01-02T00:00:00Z", "1000.0", "100.0")
    assert [row["equity"] for row in rows(files["equity.csv"])] == ["100000.0", "100000.0", "110000.0", "99000.0"]
    assert [float(row["drawdown"]) for row in rows(files["equity.csv"])] == pytest.approx([0, 0, 0, 0.1], abs=1e-12)
    assert [row["TEST"] for row in rows(files["positions.csv"])] == ["0.0", "1000.0", "1000.0", "1000.0"]
    metrics = json.loads(files["metrics.json"])
    assert metrics["total_return"] == pytest.approx(-0.01)
    assert metrics["max_drawdown"] == pytest.approx(0.1)


@pytest.mark.parametrize("keeping", [0.0, WORTH_KEEPING_SECONDS, 3600.0])
def test_a_part_that_is_read_or_made_again_is_the_one_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeping: float
) -> None:
    """To the flags of its arrays: for others the kernels would be compiled anew, in the middle of a run."""
    monkeypatch.setattr("trading.backtests.work.WORTH_KEEPING_SECONDS", keeping)
    prices = [100.0, 101.0, 99.0, 98.0, 103.0, 104.0, 102.0, 101.0]
    validating = {"bootstrap": {"trials": 5, "block_length": 2}}
    first, again = (
        replace(work(prices, indicators=[{"name": "sma", "params": {"window": 3}}], validation=validating), folder=path)
        for path in (tmp_path, tmp_path)
    )
    plain = first.artifacts()

    def parts(one: Work) -> dict[str, np.ndarray[Any, Any]]:
        series, result = one.series[0], one.result
        return {
            **{name: getattr(series, name) for name in ("time", "open", "high", "low", "close", "volume")},
            **{name: getattr(result, name) for name in ("equity", "accrued_cash", "fills", "trades", "multiplier")},
            **{feature.name: feature.values for feature in one.features},
            **one.judged.draws,
        }

    made, read = parts(first), parts(again)
    kept = {0.0: {"candles", "features", "result", "draws"}, 3600.0: {"candles"}}
    if keeping in kept:
        assert {path.stem for path in tmp_path.iterdir()} == kept[keeping]
    assert made.keys() == read.keys()
    for name, array in made.items():
        assert read[name] is not array
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert (read[name].flags.writeable, read[name].flags.aligned) == (array.flags.writeable, array.flags.aligned)
        assert read[name].tobytes() == array.tobytes()
    assert again.artifacts() == plain


def test_slippage_in_basis_points_is_paid_on_the_fill() -> None:
    """10 bps on 100 are 0.1: 100,000 buy 100,000 / 100.1 units."""
    (fill,) = rows(work([100.0] * 4, execution={"slippage_bps": 10}).artifacts()["fills.csv"])
    assert float(fill["price"]) == pytest.approx(100.1, rel=1e-12)
    assert float(fill["quantity"]) == pytest.approx(100_000 / 100.1, rel=1e-9)


def test_indicators_are_columns_named_by_their_parameters() -> None:
    done = work([1.0, 2.0, 3.0, 5.0], indicators=[{"name": "sma", "params": {"window": 2}}, {"name": "buy_and_hold"}])
    found = rows(done.artifacts()["features.csv"])
    assert [row["sma_2"] for row in found] == ["", "1.5", "2.5", "4.0"]
    assert [row["buy_and_hold"] for row in found] == ["1.0"] * 4


def test_several_symbols_stand_side_by_side_over_all_their_times() -> None:
    late = series([7.0, 8.0], "LATE")
    bars = pipeline.aligned(
        [
            Series("LATE", late.time + 2 * DAY, late.open, late.high, late.low, late.close, late.volume),
            series([1.0] * 3),
        ]
    )
    assert bars.symbols == ("LATE", "TEST")
    assert np.array_equal(bars.close[:, 0], [np.nan, np.nan, 7.0, 8.0], equal_nan=True)
    assert np.array_equal(bars.close[:, 1], [1.0, 1.0, 1.0, np.nan], equal_nan=True)


def test_every_test_is_made_and_its_progress_told() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    prices = (100 * np.exp(np.cumsum(rng.normal(0, 0.02, 300)))).tolist()
    wanted = {"permutation": {}, "bootstrap": {}, "monte_carlo": {}, "walk_forward": {"folds": 4, "embargo": 3}}
    done = work(prices, strategy={"name": "dual_sma", "params": {"fast": 3, "slow": 9}}, validation=wanted)
    told: list[tuple[int, int, str]] = []
    judged = validation.validated(done.config, done.bars, done.result, lambda *said: told.append(said))
    assert list(judged.summary) == ["lookahead", "permutation", "bootstrap", "monte_carlo", "walk_forward"]
    assert judged.summary["lookahead"]["honest"]
    assert (1000, 1000, "permutation: 1000 of 1000 draws") in told
    null = judged.draws["permutation"]
    observed = judged.summary["permutation"]["observed"]
    by_hand = (1 + int((null >= observed - 1e-9).sum())) / (1 + len(null))
    assert judged.summary["permutation"]["p_value"] == pytest.approx(by_hand)
    assert judged.summary["bootstrap"]["sharpe"]["observed"] == pytest.approx(
        done.result.metrics(periods_per_year=252).sharpe
    )
    assert len(judged.summary["walk_forward"]["folds"]) == 4
    page = tearsheet.page(done.config, done.result, done.metrics, judged).decode()
    for words in ("Permutation test", "Bootstrap: deepest drawdown", "Monte Carlo", "Walk-forward", "at 95%"):
        assert words in page


def test_an_interval_stands_beside_each_estimate() -> None:
    """Without a bootstrap by the mean of the log returns; with one by its draws, growth over drawdown of the same."""
    rng = np.random.Generator(np.random.PCG64(3))
    prices = (100 * np.exp(np.cumsum(rng.normal(0.001, 0.02, 300)))).tolist()
    plain = work(prices)
    page = plain.artifacts()["tearsheet.html"].decode()
    logs = np.log1p(plain.result.returns)
    low, high = (len(logs) * logs.mean() + sign * 1.959964 * logs.std() * len(logs) ** 0.5 for sign in (-1, 1))
    assert f"{100 * (math.exp(low) - 1):.2f}% to {100 * (math.exp(high) - 1):.2f}% at 95%" in page
    assert "need the validation &#x27;bootstrap&#x27;" in page
    drawn = work(prices, validation={"bootstrap": {"trials": 200, "level": 0.9}})
    page = drawn.artifacts()["tearsheet.html"].decode()
    years = 299 / 252
    grown = (drawn.judged.draws["bootstrap_final_equity"] / 100_000) ** (1 / years) - 1
    low, high = np.quantile(grown / drawn.judged.draws["bootstrap_drawdown"], [0.05, 0.95])
    assert f"{low:.2f} to {high:.2f} at 90%" in page
    record = Record.of(drawn.result.returns)
    left = 100 * deflated_sharpe(record, trials=100, variance=1 / 298)
    assert f"<dt>Best of 100</dt><dd>{left:.2f}%" in page


def test_an_account_that_was_ruined_has_a_page_too() -> None:
    config = {"execution": {"max_leverage": 10}, "risk": {"model": "fixed_fraction", "params": {"fraction": 10}}}
    page = work([100.0, 100.0, 80.0, 90.0, 95.0], **config).artifacts()["tearsheet.html"].decode()
    assert "The equity fell to zero" in page
    assert "There is no Sharpe ratio to deflate" in page


def test_a_run_that_traded_nothing_says_why() -> None:
    """A mean of 5 bars is there after the fifth; what is decided then is filled in the sixth."""
    rising = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    average = {"name": "dual_sma", "params": {"fast": 2, "slow": 5}}
    for prices, traded in ((rising[:4], False), (rising[:5], False), (rising, True)):
        done = work(prices, strategy=average)
        metrics = json.loads(done.artifacts()["metrics.json"])
        assert (len(done.result.fills) > 0) is traded is (metrics["untraded"] is None)
        page = done.artifacts()["tearsheet.html"].decode()
        assert ("Nothing was traded" in page) is not traded
        if not traded:
            assert f"decides first after 5 bars and needs one more to be filled on, and there are {len(prices)}" in page
    falling = work(rising[::-1], strategy=average).metrics["untraded"]
    assert "no order of dual_sma was filled in 6 bars" in falling


def test_large_numbers_are_shown_in_millions() -> None:
    assert [plots.plain(value) for value in (60_000_000.0, 9_999_999.0, -12_345_678.0)] == [
        "60M",
        "9,999,999",
        "-12.3457M",
    ]
    assert (plots.plain(3.4926e88), tearsheet.two(3.4926e88)) == ("3.49e+88", "3.49e+88")
    assert (plots.percent(8.9e30), tearsheet.percent(8.9e30)) == ("8.90e+32%", "8.90e+32%")
    assert (plots.percent(9_999.0), tearsheet.percent(-0.5)) == ("999900.0%", "-50.00%")


def test_what_was_held_is_known_before_the_return_that_it_earned() -> None:
    shares, returns = validation.held(work([100.0, 100.0, 110.0, 99.0]).result)
    assert shares[:, 0].tolist() == [0.0, 1.0, 1.0]
    assert returns[:, 0].tolist() == pytest.approx([0.0, 0.1, -0.1])


def test_a_test_that_the_data_do_not_allow_says_so() -> None:
    summary = work([1.0, 2.0, 3.0], validation={"bootstrap": {}, "monte_carlo": {}}).judged.summary
    assert "10 finite returns" in summary["bootstrap"]["not_made"]
    assert "2 trades" in summary["monte_carlo"]["not_made"]
    folds = work([1.0, 2.0, 3.0], validation={"walk_forward": {}}).judged.summary["walk_forward"]
    assert folds["not_made"] == "2 returns are too few for 5 folds: take more bars or fewer folds"


def test_a_strategy_that_reads_the_future_is_named(tmp_path: Any, settings: Any) -> None:
    (tmp_path / "seer.py").write_text(
        "import numpy as np\n"
        "from trading.backtests.strategy import Strategy\n"
        "from trading.quant.parameters import Parameters\n\n\n"
        "class Seer(Parameters):\n    pass\n\n\n"
        "def targets(bars, parameters):\n"
        "    return np.sign(np.diff(bars.close, axis=0, append=bars.close[-1:]))\n\n\n"
        "STRATEGY = Strategy(Seer, targets, lambda parameters: 0)\n"
    )
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    before = services.code_identity(work([1.0, 2.0], strategy={"name": "seer"}).config)
    assert before != services.code_identity(work([1.0, 2.0]).config)
    with (tmp_path / "seer.py").open("a") as file:
        file.write("# changed\n")
    assert services.code_identity(work([1.0, 2.0], strategy={"name": "seer"}).config) != before
    rng = np.random.Generator(np.random.PCG64(5))
    prices = (100 * np.exp(np.cumsum(rng.normal(0, 0.02, 80)))).tolist()
    done = work(prices, strategy={"name": "seer"})
    assert not done.judged.summary["lookahead"]["honest"]
    assert b"have not happened yet" in done.artifacts()["tearsheet.html"]


def test_an_hour_of_minutes_has_no_growth_a_year_and_still_a_tearsheet() -> None:
    """Bought at 101 and worth 118 after 21 minutes: that to the power of 525,600 / 21 a year is 10 to the 1,690th."""
    prices = [100.0 + minute for minute in range(20)] + [120.0, 118.0]
    done = work(prices, timeframe="1m", validation={"bootstrap": {"trials": 50}})
    artifacts = done.artifacts()
    assert done.metrics["cagr"] is None
    assert done.metrics["total_return"] == pytest.approx(118 / 101 - 1)
    assert b"Growth a year" in artifacts["tearsheet.html"]
    assert "cagr" in json.loads(artifacts["metrics.json"])


REMEMBERS = """
import numpy as np
from trading.backtests.strategy import Strategy
from trading.quant.parameters import Parameters

KEPT = {}


class Nothing(Parameters):
    pass


def targets(bars, parameters):
    if len(KEPT.get(bars.symbols, ())) < len(bars):
        KEPT[bars.symbols] = np.sign(np.diff(bars.close, axis=0, append=bars.close[-1:]))
    return KEPT[bars.symbols][: len(bars)]


STRATEGY = Strategy(Nothing, targets, lambda parameters: 0)
"""


def test_a_strategy_that_remembers_the_future_is_named_too(tmp_path: Any, settings: Any) -> None:
    """It keeps what it computed once for a symbol, as a cache would, and repeats it when the later bars are gone."""
    (tmp_path / "keeper.py").write_text(REMEMBERS)
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    prices = [100.0, 101.0] * 20
    done = work(prices, strategy={"name": "keeper"})
    assert not done.judged.summary["lookahead"]["honest"]
    assert done.metrics["leaks"] == len(done.judged.summary["lookahead"]["leaks"]) > 0


def test_what_a_strategy_was_asked_before_changes_no_run(tmp_path: Any, settings: Any) -> None:
    (tmp_path / "keeper.py").write_text(REMEMBERS)
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    falling, rising = [100.0 - day for day in range(20)], [100.0 + day for day in range(20)]
    assert len(work(falling, strategy={"name": "keeper"}).result.fills) == 1
    fills = work(rising, strategy={"name": "keeper"}).result.fills
    assert fills["quantity"][0] > 0.0  # long, as it says of prices that rise


def test_numbers_read_back_and_words_are_no_formulas() -> None:
    bits = np.random.Generator(np.random.PCG64(3)).integers(0, 2**64, 5_000, dtype=np.uint64)
    some = [0.1, 1e-300, -1e22, 1 / 3, math.nan, 0.0, 1e-5, 5e-324, 1e16, math.inf, -math.inf]
    values = np.concatenate([some, bits.view(np.float64)])
    cells = tables.numbers(values)
    assert cells[:6] == ["0.1", "1e-300", "-1e+22", repr(1 / 3), "", "0.0"]
    for cell, value in zip(cells, values.tolist(), strict=True):
        assert (float(cell) if cell else math.nan) == value or (not cell and math.isnan(value))
        digits = repr(value).partition("e")[0].strip("-").replace(".", "").strip("0")  # the shortest there are
        assert not math.isfinite(value) or cell.partition("e")[0].strip("-").replace(".", "").strip("0") == digits
    assert tables.numbers(np.empty(0)) == []
    words = ["=1+1", "+1", "-1", "@x", "a,b", 'say "no"', "plain", "two\nlines"]
    table = tables.csv([tables.words("word", words)])
    assert [row["word"].lstrip("'") for row in rows(table)] == words
    assert not any(row["word"].startswith(("=", "+", "-", "@")) for row in rows(table))


def test_times_have_the_digits_that_they_need() -> None:
    assert tables.times(np.array([START])) == ["2024-01-01T00:00:00Z"]
    assert tables.times(np.array([START, START + 1_000])) == [
        "2024-01-01T00:00:00.000000Z",
        "2024-01-01T00:00:00.000001Z",
    ]


def test_a_long_curve_is_thinned_and_keeps_its_extremes() -> None:
    values = np.sin(np.arange(100_000) / 7)
    values[54_321], values[77_777] = 9.0, -9.0
    x, y = plots.thinned(np.arange(100_000), values)
    assert len(x) <= 4 * plots.MOST_COLUMNS
    assert (y.max(), y.min(), x[0], x[-1]) == (9.0, -9.0, 0, 99_999)
    assert (np.diff(x) > 0).all()


def test_the_rolling_sharpe_ratio_is_that_of_each_window() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    equity = 1000 * np.exp(np.cumsum(rng.normal(0.001, 0.02, 400)))
    places, values = tearsheet.rolling_sharpe(equity, 60, 252.0)
    returns = equity[1:] / equity[:-1] - 1
    for place, value in zip(places.tolist(), values.tolist(), strict=True):
        part = returns[place - 60 : place]
        assert value == pytest.approx(part.mean() / part.std(ddof=1) * math.sqrt(252), rel=1e-9)
    flat = tearsheet.rolling_sharpe(np.full(100, 5.0), 20, 252.0)[1]
    assert np.isnan(flat).all()


@pytest.mark.parametrize("prices", [[100.0] * 30, [1e-4] * 5, [1e9, 1e-3, 1e9, 1.0]])
def test_odd_prices_leave_a_page_too(prices: list[float]) -> None:
    wanted = {"permutation": {"trials": 5}, "bootstrap": {"trials": 5}, "monte_carlo": {"trials": 5}}
    files = work(prices, validation=wanted).artifacts()
    assert b"nan" not in files["tearsheet.html"].split(b"</style>")[1].lower().replace(b"finance", b"")
    json.loads(files["validation.json"])
