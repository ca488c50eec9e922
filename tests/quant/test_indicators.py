"""Each indicator against its definition written as plain loops over lists, and its warm-up."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest

from tests.quant.series import walk
from trading.quant import indicator
from trading.quant.bars import Bars
from trading.quant.indicators.sma import sma

BARS = walk(120, 2, seed=5)
NAN = math.nan


def mean(values):
    return math.fsum(values) / len(values)


def slow_ema(values, window, weight=None):
    weight = weight or 2 / (window + 1)
    out = [NAN] * (window - 1) + [mean(values[:window])]
    for value in values[window:]:
        out.append((1 - weight) * out[-1] + weight * value)
    return out


def slow_wilder(values, window):
    return slow_ema(values, window, 1 / window)


def slow_rsi(close, window):
    changes = [b - a for a, b in pairwise(close)]
    ups = slow_wilder([max(c, 0) for c in changes], window)
    downs = slow_wilder([max(-c, 0) for c in changes], window)
    return [NAN] + [100 - 100 / (1 + up / down) for up, down in zip(ups, downs, strict=True)]


def slow_atr(high, low, close, window):
    ranges = [
        max(h - low_, abs(h - before), abs(low_ - before))
        for h, low_, before in zip(high[1:], low[1:], close, strict=False)
    ]
    return [NAN, *slow_wilder(ranges, window)]


def windows(values, window):
    return [None if t < window - 1 else values[t + 1 - window : t + 1] for t in range(len(values))]


def over(values, window, function):
    return [NAN if part is None else function(part) for part in windows(values, window)]


def slow_macd(close):
    line = [a - b for a, b in zip(slow_ema(close, 12), slow_ema(close, 26), strict=True)]
    signal = [NAN] * 25 + slow_ema(line[25:], 9)
    return line, signal, [a - b for a, b in zip(line, signal, strict=True)]


def expected(name, high, low, close):
    returns = [math.log(b / a) for a, b in pairwise(close)]
    middle = over(close, 20, mean)
    spread = over(close, 20, statistics.pstdev)
    line, signal, histogram = slow_macd(close)
    return {
        "sma": {"sma": middle},
        "ema": {"ema": slow_ema(close, 20)},
        "rsi": {"rsi": slow_rsi(close, 14)},
        "atr": {"atr": slow_atr(high, low, close, 14)},
        "macd": {"macd": line, "signal": signal, "histogram": histogram},
        "bollinger": {
            "lower": [m - 2 * s for m, s in zip(middle, spread, strict=True)],
            "middle": middle,
            "upper": [m + 2 * s for m, s in zip(middle, spread, strict=True)],
        },
        "donchian": {"lower": over(low, 20, min), "upper": over(high, 20, max)},
        "zscore": {"zscore": over(close, 20, lambda part: (part[-1] - mean(part)) / statistics.stdev(part))},
        "volatility": {"volatility": [NAN, *over(returns, 20, lambda part: statistics.stdev(part) * math.sqrt(252))]},
    }[name]


@pytest.mark.parametrize("name", indicator.names())
def test_agrees_with_its_definition(name):
    columns = indicator.compute(name, BARS, {})
    for symbol in range(2):
        wanted = expected(name, *(array[:, symbol].tolist() for array in (BARS.high, BARS.low, BARS.close)))
        assert set(columns) == set(wanted)
        for column, values in wanted.items():
            np.testing.assert_allclose(columns[column][:, symbol], values, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", indicator.names())
def test_warm_up_is_the_rows_without_a_value(name):
    found = indicator.find(name)
    parameters = found.parameters()
    columns = found.compute(BARS, parameters)
    assert found.warm_up(parameters) == max(int(np.isnan(values[:, 0]).sum()) for values in columns.values())


@pytest.mark.parametrize("name", indicator.names())
def test_no_value_depends_on_a_later_bar(name):
    whole = indicator.compute(name, BARS, {})
    part = indicator.compute(name, BARS.window(0, 70), {})
    for column, values in part.items():
        np.testing.assert_array_equal(values, whole[column][:70])


@pytest.mark.parametrize("name", indicator.names())
def test_fewer_bars_than_the_window_give_no_value(name):
    for values in indicator.compute(name, BARS.window(0, 3), {}).values():
        assert np.isnan(values).all()


@pytest.mark.parametrize("name", indicator.names())
def test_missing_bars_are_left_out(name):
    holes = np.zeros(len(BARS), bool)
    holes[[3, 40, 41, 90]] = True
    holed = [np.where(holes[:, None], np.nan, array) for array in (BARS.open, BARS.high, BARS.low, BARS.close)]
    with_holes = indicator.compute(name, Bars(BARS.time, *holed, BARS.volume), {})
    kept = [array[~holes] for array in (BARS.open, BARS.high, BARS.low, BARS.close, BARS.volume)]
    without = indicator.compute(name, Bars(BARS.time[~holes], *kept), {})
    for column, values in with_holes.items():
        assert np.isnan(values[holes]).all()
        np.testing.assert_array_equal(values[~holes], without[column])


def test_mean_of_a_price_that_does_not_move_is_exact():
    assert (sma(np.full(1000, 0.1), 30)[29:] == 0.1).all()


def test_one_dimension_in_one_dimension_out():
    assert sma(BARS.close[:, 0], 3).shape == (120,)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("sma", {"window": 0}, "window"),
        ("sma", {"window": 2.5}, "window"),
        ("sma", {"windw": 5}, "windw"),
        ("macd", {"fast": 30}, "fast must be smaller than slow"),
        ("bollinger", {"width": math.inf}, "width"),
    ],
)
def test_parameters_out_of_bounds(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        indicator.compute(name, BARS, parameters)


def test_unknown_indicator_names_those_that_there_are():
    with pytest.raises(indicator.UnknownIndicator, match="sma"):
        indicator.compute("smma", BARS, {})
