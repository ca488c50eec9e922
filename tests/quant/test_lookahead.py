"""Rules that know the future are found with bar and value; rules that do not are left alone."""

import numpy as np
import pytest

from tests.quant.series import walk
from trading.quant.indicators.ema import ema
from trading.quant.indicators.sma import sma
from trading.quant.lookahead import blindfolded, check

BARS = walk(400, 2, seed=3)


def moved(values, by):
    result = np.full(values.shape, np.nan)
    result[:-by] = values[by:]
    return result


def peeks_one_bar(bars):
    return np.sign(moved(bars.close, 1) - bars.close)


def peeks_at_rare_events(bars):
    return (moved(bars.low, 1) < bars.close * 0.97).astype(float)


def scales_by_the_whole_sample(bars):
    return bars.close / bars.close.mean(axis=0)


def fills_gaps_backwards(bars):
    values = sma(bars.close, 10)
    first = np.argmax(~np.isnan(values[:, 0])) if len(bars) >= 10 else 0
    values[:first] = values[first]
    return values


def counts_from_the_end(bars):
    result = np.zeros(bars.close.shape)
    result[len(bars) // 2 :] = 1.0
    return result


@pytest.mark.parametrize(
    "rule", [peeks_one_bar, peeks_at_rare_events, scales_by_the_whole_sample, fills_gaps_backwards, counts_from_the_end]
)
def test_a_leak_is_found_with_bar_and_values(rule):
    verdict = check(rule, BARS)
    assert not verdict.honest
    leak = verdict.leaks[0]
    column = BARS.symbols.index(leak.symbol)
    assert leak.bar <= leak.cut
    assert leak.time_ns == BARS.time[leak.bar]
    np.testing.assert_equal(rule(BARS)[leak.bar, column], leak.with_future)
    np.testing.assert_equal(rule(BARS.window(0, leak.cut + 1))[leak.bar, column], leak.at_the_time)
    assert f"bar {leak.bar} of {leak.symbol}" in str(leak)


def test_a_windowed_rule_is_honest_and_needs_its_window():
    verdict = check(lambda bars: np.sign(bars.close - sma(bars.close, 20)), BARS, warm_up=19)
    assert verdict.honest
    assert verdict.history == 20


def test_a_recursive_rule_needs_more_than_its_warm_up():
    verdict = check(lambda bars: ema(bars.close, 10), BARS, warm_up=9, tolerance=1e-6)
    assert verdict.honest
    # The weight of the start falls by 9/11 a bar: about 60 bars until 1e-6 of it is left.
    assert 40 < verdict.history < 100


def test_a_rule_that_never_forgets_has_no_history():
    assert check(lambda bars: np.cumsum(bars.close, axis=0), BARS).history is None


def test_a_blindfolded_rule_says_the_same_if_it_is_honest():
    def honest(bars):
        return np.sign(bars.close - sma(bars.close, 20))

    np.testing.assert_array_equal(blindfolded(honest, BARS, warm_up=19), honest(BARS))


def test_a_blindfolded_rule_cannot_peek():
    assert np.isnan(blindfolded(peeks_one_bar, BARS)).all()
    assert (blindfolded(counts_from_the_end, BARS) == 1.0).all()


def test_too_few_bars():
    with pytest.raises(ValueError, match="too few"):
        check(lambda bars: bars.close, BARS.window(0, 5), warm_up=10)


def remembering():
    """A rule that keeps what it has said, by time: what it was once shown stays."""
    kept = {}

    def rule(bars):
        said = np.nan_to_num(peeks_one_bar(bars))
        return np.array([kept.setdefault(time, row) for time, row in zip(bars.time.tolist(), said, strict=True)])

    return rule


def test_a_rule_that_repeats_what_it_was_once_shown_is_found_when_it_is_made_anew():
    rule = remembering()
    assert check(rule, BARS).honest  # nothing else can be said of it from outside
    verdict = check(rule, BARS, anew=remembering)
    assert not verdict.honest
    leak = verdict.leaks[0]
    assert (leak.with_future, leak.at_the_time) == (rule(BARS)[leak.bar, BARS.symbols.index(leak.symbol)], 0.0)


def test_a_warm_up_that_is_too_long_hides_nothing_that_is_held():
    def peeks_early(bars):
        said = np.nan_to_num(peeks_one_bar(bars))
        said[300:] = 0.0
        return said

    assert not check(peeks_early, BARS, warm_up=390).honest
    # What is flat before is no opinion: such a rule need not bear being run on fewer bars than its warm-up.
    tried = []

    def flat_at_first(bars):
        tried.append(len(bars))
        return np.where(np.isnan(sma(bars.close, 20)), 0.0, 1.0)

    assert check(flat_at_first, BARS, warm_up=19).honest
    assert min(tried) == 20


def test_a_rule_that_reaches_behind_the_bars_finds_nothing_there():
    def reaches_behind(bars):
        said = np.zeros(bars.close.shape)
        there = bars.close if bars.close.base is None else bars.close.base
        ahead = there[1 : len(bars) + 1].reshape(-1, bars.close.shape[1])
        said[: len(ahead)] = np.sign(ahead - bars.close[: len(ahead)])
        return said

    assert not check(reaches_behind, BARS).honest
    assert (blindfolded(reaches_behind, BARS) == 0.0).all()
