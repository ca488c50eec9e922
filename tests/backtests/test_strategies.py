"""Each strategy against its rule written as a plain loop; that none looks ahead; and files of a folder."""

import statistics
from pathlib import Path

import numpy as np
import pytest

from tests.quant.series import flat_bars, walk
from trading.backtests import registry
from trading.backtests.strategy import BrokenStrategy, targets_of
from trading.quant.bars import DAY_NS, Bars
from trading.quant.lookahead import check

BARS = walk(300, 3, seed=11, volatility=0.02)


def ask(name, bars, folder=None, **parameters):
    return targets_of(name, registry.find(name, folder).strategy, bars, parameters)


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("short", [False, True])
def test_dual_sma(short):
    said = ask("dual_sma", BARS, fast=5, slow=15, short=short)
    for symbol in range(3):
        close = BARS.close[:, symbol].tolist()
        for t in range(300):
            if t < 14:
                assert np.isnan(said[t, symbol])
                continue
            above = mean(close[t - 4 : t + 1]) > mean(close[t - 14 : t + 1])
            assert said[t, symbol] == (1 if above else -1 if short else 0)


def test_equal_averages_are_flat():
    assert (ask("dual_sma", flat_bars([0.1] * 50), fast=3, slow=7, short=True)[6:] == 0).all()


@pytest.mark.parametrize("short", [False, True])
def test_breakout(short):
    said = ask("breakout", BARS, entry=10, exit=5, short=short)
    for symbol in range(3):
        high, low, close = (array[:, symbol] for array in (BARS.high, BARS.low, BARS.close))
        held = 0
        for t in range(10, 300):
            if held == 1 and close[t] < min(low[t - 5 : t]):
                held = 0
            if held == -1 and close[t] > max(high[t - 5 : t]):
                held = 0
            if close[t] > max(high[t - 10 : t]):
                held = 1
            elif short and close[t] < min(low[t - 10 : t]):
                held = -1
            assert said[t, symbol] == held
    assert np.isnan(said[:10]).all()


@pytest.mark.parametrize("short", [False, True])
def test_mean_reversion(short):
    said = ask("mean_reversion", BARS, window=12, entry=1.5, exit=0.5, short=short)
    for symbol in range(3):
        close = BARS.close[:, symbol].tolist()
        held = 0
        for t in range(11, 300):
            part = close[t - 11 : t + 1]
            score = (close[t] - mean(part)) / statistics.stdev(part)
            if (held == 1 and score >= -0.5) or (held == -1 and score <= 0.5):
                held = 0
            if score < -1.5:
                held = 1
            elif short and score > 1.5:
                held = -1
            assert said[t, symbol] == held


def test_momentum_holds_the_best_that_rose():
    growth = np.array([0.01, 0.02, -0.01])
    close = 100 * (1 + growth) ** np.arange(100)[:, None]
    bars = Bars(np.arange(100) * DAY_NS, close, close, close, close, close, ["C", "B", "A"])
    said = ask("momentum", bars, lookback=20, skip=2, hold=1, period_days=10)
    chosen = np.flatnonzero(~np.isnan(said[:, 0]))
    assert chosen.tolist() == [20, 30, 40, 50, 60, 70, 80, 90]
    assert (said[chosen] == [0, 1, 0]).all()
    # Two wished for and two risen: half each; the fallen one is left out even when three are wished for.
    assert (ask("momentum", bars, lookback=20, hold=2, period_days=10)[20] == [0.5, 0.5, 0]).all()
    third = 1 / 3
    assert (ask("momentum", bars, lookback=20, hold=3, period_days=10)[20] == [third, third, 0]).all()


def test_momentum_is_not_lost_on_a_holiday():
    """B rises faster and has no bar where the choice is made and where its return begins; its last closes count."""
    growth = np.array([0.01, 0.02])
    close = 100 * (1 + growth) ** np.arange(40)[:, None]
    close[[2, 18, 20], 1] = np.nan
    bars = Bars(np.arange(40) * DAY_NS, close, close, close, close, close, ["A", "B"])
    said = ask("momentum", bars, lookback=19, skip=2, hold=1, period_days=10)
    assert said[20].tolist() == [0.0, 1.0]
    listed_late = close.copy()
    listed_late[:10, 1] = np.nan
    bars = Bars(np.arange(40) * DAY_NS, *[listed_late] * 5, ["A", "B"])
    assert ask("momentum", bars, lookback=19, skip=2, hold=1, period_days=10)[20].tolist() == [1.0, 0.0]


def test_buy_and_hold_shares_equally():
    assert (ask("buy_and_hold", BARS) == 1 / 3).all()


@pytest.mark.parametrize("name", registry.names())
def test_no_strategy_looks_ahead(name):
    strategy = registry.find(name).strategy
    verdict = check(
        lambda bars: targets_of(name, strategy, bars, {}), BARS, warm_up=strategy.warm_up(strategy.parameters())
    )
    assert verdict.honest, verdict.leaks[0]
    assert verdict.history is not None


@pytest.mark.parametrize("name", registry.names())
def test_warm_up_is_before_the_first_opinion(name):
    strategy = registry.find(name).strategy
    warm_up = strategy.warm_up(strategy.parameters())
    said = ask(name, BARS)
    assert np.isnan(said[:warm_up]).all()
    if name != "momentum":  # which speaks once a period
        assert not np.isnan(said[warm_up:]).any()


def test_columns_in_another_order_get_the_same_answers():
    order = [2, 0, 1]
    for name in registry.names():
        np.testing.assert_array_equal(ask(name, BARS)[:, order], ask(name, BARS.select(order)))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("dual_sma", {"fast": 20, "slow": 10}, "fast must be smaller than slow"),
        ("dual_sma", {"fast": "5"}, "fast"),
        ("dual_sma", {"fast": True}, "fast"),
        ("breakout", {"entries": 5}, "entries"),
        ("mean_reversion", {"entry": 1.0, "exit": 1.0}, "exit must be smaller"),
        ("momentum", {"lookback": 5, "skip": 5}, "skip must be smaller"),
    ],
)
def test_parameters_out_of_bounds(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        ask(name, BARS, **parameters)


OWN = """
import numpy as np
from pydantic import Field
from trading.backtests.strategy import Strategy
from trading.quant.parameters import Parameters

class Own(Parameters):
    level: float = Field(default=100.0, gt=0)

def targets(bars, parameters):
    return np.where(bars.close > parameters.level, 1.0, 0.0)

STRATEGY = Strategy(Own, targets, lambda parameters: 0)
"""


def own(folder: Path, text: str, name: str = "own.py") -> Path:
    folder.chmod(0o755)
    file = folder / name
    file.write_text(text)
    file.chmod(0o644)
    return file


def test_a_file_in_the_folder_is_a_strategy(tmp_path):
    own(tmp_path, OWN)
    assert "own" in registry.names(tmp_path)
    assert registry.problems(tmp_path) == []
    said = ask("own", flat_bars([90, 110]), folder=tmp_path, level=95.0)
    assert said[:, 0].tolist() == [0.0, 1.0]


def test_a_changed_file_is_read_again(tmp_path):
    own(tmp_path, OWN)
    before = registry.find("own", tmp_path)
    own(tmp_path, OWN.replace("1.0, 0.0)", "-1.0, 0.0)"))
    after = registry.find("own", tmp_path)
    assert before.sha256 != after.sha256
    assert ask("own", flat_bars([110]), folder=tmp_path)[0, 0] == -1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"own.py, line 1: SyntaxError"),
        ("\n\n1 / 0\n", r"own.py, line 3: ZeroDivisionError"),
        ("import nothing_of_that_name\n", r"line 1: ModuleNotFoundError"),
        ("STRATEGY = 5\n", r"has no STRATEGY"),
    ],
)
def test_a_broken_file_says_what_to_mend(tmp_path, text, message):
    own(tmp_path, text)
    with pytest.raises(BrokenStrategy, match=message):
        registry.find("own", tmp_path)
    assert len(registry.problems(tmp_path)) == 1


def test_files_that_others_can_write_are_refused(tmp_path):
    own(tmp_path, OWN).chmod(0o666)
    with pytest.raises(BrokenStrategy, match="chmod go-w"):
        registry.find("own", tmp_path)
    own(tmp_path, OWN)
    tmp_path.chmod(0o777)
    with pytest.raises(BrokenStrategy, match="chmod go-w"):
        registry.find("own", tmp_path)


def test_links_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = own(tmp_path / "elsewhere", OWN)
    (tmp_path / "own.py").symlink_to(target)
    with pytest.raises(BrokenStrategy, match="is a link"):
        registry.find("own", tmp_path)


def test_names_of_the_platform_are_taken(tmp_path):
    own(tmp_path, OWN, "dual_sma.py")
    with pytest.raises(BrokenStrategy, match="rename it"):
        registry.find("dual_sma", tmp_path)


@pytest.mark.parametrize("answer", ["None", "bars.close[:-1]", "np.array(['x'])", "bars.close / 0"])
def test_answers_that_are_no_targets_are_refused(tmp_path, answer):
    body = f"    with np.errstate(all='ignore'):\n        return {answer}"
    own(tmp_path, OWN.replace("    return np.where(bars.close > parameters.level, 1.0, 0.0)", body))
    with pytest.raises(BrokenStrategy, match="answered"):
        ask("own", BARS, folder=tmp_path)


def test_a_strategy_that_raises_is_named(tmp_path):
    own(tmp_path, OWN.replace("bars.close >", "bars.closes >"))
    with pytest.raises(BrokenStrategy, match=r"strategy own failed on 300 bars: AttributeError.*closes"):
        ask("own", BARS, folder=tmp_path)


def test_a_strategy_cannot_change_the_bars(tmp_path):
    own(tmp_path, OWN.replace("    return np", "    bars.close[0] = 1.0\n    return np"))
    with pytest.raises(BrokenStrategy, match="read-only"):
        ask("own", BARS, folder=tmp_path)


def test_unknown_strategy_names_those_that_there_are():
    with pytest.raises(registry.UnknownStrategy, match="dual_sma"):
        registry.find("dual_smaa")
