"""Fills, costs, sizing and stops against values worked out by hand."""

import numpy as np
import pytest

from tests.quant.series import bars_of, flat_bars
from trading.quant.bars import DAY_NS, BadBars, Bars
from trading.quant.costs import Costs, ParticipationRate, SpreadPct, Stops
from trading.quant.engine import simulate
from trading.quant.records import OPEN, SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING
from trading.quant.sizing import FixedFraction, KellyFraction, VolatilityTarget


def test_order_fills_at_the_next_open():
    bars = bars_of([(10, 11, 9, 10), (12, 13, 11, 13), (13, 15, 13, 14), (15, 16, 14, 14)])
    result = simulate(bars, [1, 1, 0, 0], cash=1200.0, sizing=FixedFraction(0.5))
    # Decided at close 10 with equity 1200: 60 units. Bought at 12, worth 13 and 14 at the closes, sold at 15.
    assert result.fills["bar"].tolist() == [1, 3]
    assert result.fills["quantity"].tolist() == [60.0, -60.0]
    assert result.fills["price"].tolist() == [12.0, 15.0]
    assert result.equity.tolist() == [1200.0, 1260.0, 1320.0, 1380.0]
    assert result.cash.tolist() == [1200.0, 480.0, 480.0, 1380.0]
    assert result.positions[:, 0].tolist() == [0.0, 60.0, 60.0, 0.0]
    (trade,) = result.trades
    assert (trade["entry_bar"], trade["exit_bar"], trade["direction"], trade["reason"]) == (1, 3, 1, SIGNAL)
    assert (trade["pnl"], trade["return"]) == (180.0, 0.25)


def test_order_may_fill_at_the_next_close():
    bars = bars_of([(10, 11, 9, 10), (12, 13, 11, 13), (13, 15, 13, 14)])
    result = simulate(bars, [1, 1, 1], cash=1000.0, sizing=FixedFraction(0.5), fill="next_close")
    assert result.fills["price"].tolist() == [13.0]
    assert result.equity.tolist() == [1000.0, 1000.0, 1050.0]


def test_fees_of_both_ways():
    result = simulate(flat_bars([10, 10, 11, 11]), [1, 0, 0, 0], cash=1000.0, sizing=FixedFraction(0.5),
                      costs=Costs(fee_bps=20))  # fmt: skip
    # 50 units: fee .002 x 500 = 1, then .002 x 550 = 1.10.
    assert result.fills["fee"] == pytest.approx([1.0, 1.1])
    assert result.trades["pnl"][0] == pytest.approx(50 - 2.1)
    assert result.equity[-1] == pytest.approx(1047.9)


def test_half_the_spread_each_way():
    result = simulate(flat_bars([10, 10, 10, 10]), [1, 0, 0, 0], cash=1000.0, sizing=FixedFraction(0.5),
                      costs=Costs(slippage=SpreadPct(0.02)))  # fmt: skip
    assert result.fills["price"] == pytest.approx([10.1, 9.9])
    assert result.fills["slippage"] == pytest.approx([5.0, 5.0])
    assert result.equity[-1] == pytest.approx(990.0)


def test_participation_carries_the_rest_and_moves_the_price():
    bars = flat_bars([10, 10, 10, 10, 10], [1000, 200, 100, 400, 100])
    slippage = ParticipationRate(cap=0.25, impact=0.8)
    result = simulate(bars, [1, 1, 1, 1, 1], cash=2000.0, sizing=FixedFraction(0.5), costs=Costs(slippage=slippage))
    # 100 units: a quarter of 200, a quarter of 100, then the last 25 of 400, whose share is 1/16.
    assert result.fills["bar"].tolist() == [1, 2, 3]
    assert result.fills["quantity"].tolist() == [50.0, 25.0, 25.0]
    assert result.fills["price"] == pytest.approx([10.5, 10.5, 10 * (1 + 0.8 / 256)])
    assert result.positions[-1, 0] == 100.0


def test_new_target_replaces_what_was_carried():
    bars = flat_bars([10, 10, 10, 10], 100.0)
    slippage = ParticipationRate(cap=0.1, impact=0.0)
    result = simulate(bars, [1, 0, 0, 0], cash=1000.0, sizing=FixedFraction(0.5), costs=Costs(slippage=slippage))
    assert result.fills["quantity"].tolist() == [10.0, -10.0]


def test_no_volume_no_fill():
    bars = flat_bars([10, 10, 10], [100, 0, 100])
    result = simulate(bars, [1, 1, 1], cash=100.0, costs=Costs(slippage=ParticipationRate(cap=1.0, impact=0.0)))
    assert result.fills["bar"].tolist() == [2]


def test_borrowing_costs_by_the_day():
    result = simulate(flat_bars([10, 10, 10, 10]), [-1, -1, -1, -1], cash=1000.0, costs=Costs(borrow_cost_bps=365))
    # 100 units short, notional 1000, .0365 a year: .10 a day over the two nights that the position is held.
    assert result.equity == pytest.approx([1000.0, 1000.0, 999.9, 999.8])
    assert result.trades["borrow"] == pytest.approx([0.2])
    assert result.trades["pnl"] == pytest.approx([-0.2])


def test_weekend_costs_three_days():
    prices = np.full(3, 10.0)
    bars = Bars(np.array([0, 1, 4]) * DAY_NS, prices, prices, prices, prices, prices)
    result = simulate(bars, [-1, -1, -1], cash=1000.0, costs=Costs(borrow_cost_bps=365))
    assert result.equity[-1] == pytest.approx(999.7)


def test_whole_lots_round_towards_zero():
    prices = [30, 30, 30, 30]
    long = simulate(flat_bars(prices), [1, 1, 1, 1], cash=1000.0, sizing=FixedFraction(0.5), lot_size=5.0)
    short = simulate(flat_bars(prices), [-1, -1, -1, -1], cash=1000.0, sizing=FixedFraction(0.5), lot_size=5.0)
    # 500 / 30 = 16.7 units.
    assert long.fills["quantity"].tolist() == [15.0]
    assert short.fills["quantity"].tolist() == [-15.0]


def test_multiplier_counts_in_size_and_profit():
    result = simulate(flat_bars([100, 100, 110, 110]), [1, 0, 0, 0], cash=10_000.0, multiplier=50.0, lot_size=1.0)
    assert result.fills["quantity"].tolist() == [2.0, -2.0]
    assert result.trades["pnl"].tolist() == [1000.0]


def test_flip_closes_and_opens_in_one_fill():
    result = simulate(flat_bars([10, 10, 12, 12]), [1, -1, -1, -1], cash=1000.0, sizing=FixedFraction(0.5),
                      costs=Costs(fee_bps=100))  # fmt: skip
    # 50 bought at 10, fee 5; equity 995 at the decision, so 49.75 short: one sale of 99.75 at 12, fee 11.97.
    assert result.fills["quantity"] == pytest.approx([50.0, -99.75])
    first, second = result.trades
    assert first["pnl"] == pytest.approx(100.0 - 5.0 - 6.0)
    assert (second["direction"], second["reason"]) == (-1, OPEN)
    assert second["fees"] == pytest.approx(5.97)
    assert result.equity[-1] == pytest.approx(1000.0 + first["pnl"] + second["pnl"])


def test_what_the_cash_does_not_pay_for_is_not_bought():
    result = simulate(flat_bars([10, 12.5, 12.5]), [1, 1, 1], cash=1000.0, costs=Costs(fee_bps=100))
    # 100 units wished; 1000 = q x 12.5 x 1.01.
    assert result.fills["quantity"] == pytest.approx([1000 / 12.625])
    assert result.cash[-1] == pytest.approx(0.0)


def test_leverage_bounds_the_gross_notional():
    result = simulate(flat_bars([10, 10, 10]), [1, 1, 1], cash=1000.0, sizing=FixedFraction(5.0), max_leverage=2.0)
    assert result.fills["quantity"].tolist() == [200.0]
    free = simulate(flat_bars([10, 10, 10]), [1, 1, 1], cash=1000.0, sizing=FixedFraction(5.0), max_leverage=np.inf)
    assert free.fills["quantity"].tolist() == [500.0]


def test_volatility_target():
    bars = flat_bars([100, 110, 99, 108.9, 108.9, 108.9])
    sizing = VolatilityTarget(volatility=0.4, window=3, cap=1.0, periods_per_year=4)
    result = simulate(bars, np.ones(6), cash=10_000.0, sizing=sizing)
    # Returns .1, -.1, .1: deviation .11547, a year (4 bars) .23094: the cap holds, then half of it is wished for.
    assert result.fills["bar"].tolist() == [4]
    assert result.fills["quantity"] == pytest.approx([10_000 / 108.9])
    half = VolatilityTarget(volatility=0.115470053837925, window=3, cap=1.0, periods_per_year=4)
    assert simulate(bars, np.ones(6), cash=10_000.0, sizing=half).fills["quantity"] == pytest.approx([5_000 / 108.9])


def test_kelly_fraction():
    bars = flat_bars([100, 120, 108, 129.6, 116.64, 116.64])
    sizing = KellyFraction(fraction=0.5, window=4, cap=1.0)
    result = simulate(bars, np.ones(6), cash=1000.0, sizing=sizing, rebalance="always")
    # Four bars, +20 % and -10 % twice: p = 1/2, b = 2, f = (1/2 - 1/4) / 2 = 1/8 of 1000 at 116.64.
    assert result.fills["bar"].tolist() == [5]
    assert result.fills["quantity"] == pytest.approx([125 / 116.64])


@pytest.mark.parametrize(
    ("row", "price", "reason"),
    [
        ((100, 103, 96, 97), None, None),
        ((100, 103, 94, 97), 95.0, STOP_LOSS),
        ((92, 103, 91, 97), 92.0, STOP_LOSS),  # the gap: filled where the bar opens
        ((100, 112, 99, 111), 110.0, TAKE_PROFIT),
        ((115, 116, 114, 115), 115.0, TAKE_PROFIT),
        ((100, 112, 94, 99), 95.0, STOP_LOSS),  # both within the bar: the worse one
    ],
)
def test_stops_of_a_long_position(row, price, reason):
    bars = bars_of([(100, 100, 100, 100), (100, 100, 100, 100), row, (97, 97, 97, 97)])
    result = simulate(bars, np.ones(4), cash=1000.0, stops=Stops(stop_loss=0.05, take_profit=0.10))
    if price is None:
        assert len(result.fills) == 1
    else:
        assert (result.fills["bar"][1], result.fills["price"][1]) == (2, pytest.approx(price))
        assert result.trades["reason"][0] == reason
        assert len(result.fills) == 2  # and no new entry while the target stays


@pytest.mark.parametrize(
    ("row", "price", "reason"),
    [
        ((100, 106, 97, 103), 105.0, STOP_LOSS),
        ((108, 109, 97, 103), 108.0, STOP_LOSS),
        ((100, 101, 88, 91), 90.0, TAKE_PROFIT),
        ((85, 86, 84, 85), 85.0, TAKE_PROFIT),
    ],
)
def test_stops_of_a_short_position(row, price, reason):
    bars = bars_of([(100, 100, 100, 100), (100, 100, 100, 100), row, (97, 97, 97, 97)])
    result = simulate(bars, -np.ones(4), cash=1000.0, stops=Stops(stop_loss=0.05, take_profit=0.10))
    assert (result.fills["bar"][1], result.fills["price"][1]) == (2, pytest.approx(price))
    assert result.trades["reason"][0] == reason


def test_trailing_stop_follows_the_highs_of_earlier_bars():
    bars = bars_of([(100, 100, 100, 100), (100, 110, 99, 109), (109, 120, 107, 118), (118, 119, 107, 108)])
    result = simulate(bars, np.ones(4), cash=1000.0, stops=Stops(trailing=0.10))
    # 10 % under 110 is 99: bar 2 stays above it, though it is below 10 % under its own high. Then 10 % under 120.
    assert (result.fills["bar"][1], result.fills["price"][1]) == (3, pytest.approx(108.0))
    assert result.trades["reason"][0] == TRAILING


def test_stop_slips_and_profit_does_not():
    costs = Costs(slippage=SpreadPct(0.02))
    stop = bars_of([(100, 100, 100, 100), (100, 100, 100, 100), (100, 100, 80, 80)])
    result = simulate(stop, np.ones(3), cash=1000.0, costs=costs, stops=Stops(stop_loss=0.10))
    assert result.fills["price"][1] == pytest.approx(101 * 0.9 * 0.99)
    profit = bars_of([(100, 100, 100, 100), (100, 100, 100, 100), (100, 120, 100, 100)])
    result = simulate(profit, np.ones(3), cash=1000.0, costs=costs, stops=Stops(take_profit=0.10))
    assert result.fills["price"][1] == pytest.approx(101 * 1.1)


def test_target_that_changes_trades_again_after_a_stop():
    bars = flat_bars([100, 100, 90, 90, 90, 90])
    result = simulate(bars, [1, 1, 1, 0, 1, 1], cash=1000.0, stops=Stops(stop_loss=0.05))
    assert result.fills["bar"].tolist() == [1, 2, 5]


def test_after_a_stop_nothing_is_rebalanced_until_the_target_changes():
    bars = flat_bars([100, 100, 90, 90, 90, 90])
    result = simulate(bars, [1, 1, 1, 0.5, 0.5, 0.5], cash=1000.0, stops=Stops(stop_loss=0.05), rebalance="always")
    assert result.fills["bar"].tolist() == [1, 2, 4]


def test_sells_pay_for_buys():
    prices = np.full((4, 2), 10.0)
    bars = Bars(np.arange(4) * DAY_NS, prices, prices, prices, prices, prices, ["A", "B"])
    # B is sold before A is bought, although A stands first: else there would be no cash for A.
    result = simulate(bars, [[0, 1], [0, 1], [1, 0], [1, 0]], cash=1000.0)
    assert result.fills["symbol"].tolist() == [1, 1, 0]
    assert result.positions[-1].tolist() == [100.0, 0.0]


def test_equity_at_zero_ends_trading():
    result = simulate(flat_bars([10, 10, 25, 25, 10, 10]), [-1, -1, -1, -1, 1, 1], cash=1000.0)
    # 100 short at 10, 25 at the next close: 1000 - 1500 below zero; bought back at the next open.
    assert result.ruined_bar == 2
    assert result.positions[-1, 0] == 0.0
    assert result.equity[-1] == -500.0


def test_bar_that_a_symbol_does_not_have():
    prices = np.array([[10.0, np.nan], [10, np.nan], [10, 20], [10, np.nan], [10, 30]])
    bars = Bars(np.arange(5) * DAY_NS, prices, prices, prices, prices, np.ones((5, 2)), ["A", "B"])
    targets = np.tile([0.0, 1.0], (5, 1))
    result = simulate(bars, targets, cash=1000.0, sizing=FixedFraction(0.5))
    # B is decided at bar 2, waits out bar 3 and is bought at 30: 500 / 20 units.
    assert result.fills["bar"].tolist() == [4]
    assert result.fills["quantity"].tolist() == [25.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": [0, 2, 2]}, "time does not increase at bar 2"),
        ({"high": [11, 9, 11]}, "bar 1 .*high is below"),
        ({"low": [9, 9, -1]}, "bar 2 .*not positive"),
        ({"close": [10, np.nan, 10]}, "bar 1 .*missing"),
        ({"volume": [1, 1, -1]}, "bar 2 .*volume"),
        ({"open": [10, 10]}, "open has shape"),
        ({"time": [0.0, 1.0, 2.0]}, "int64 nanoseconds"),
    ],
)
def test_bars_that_contradict_themselves(change, message):
    good = {"time": [0, 1, 2], "open": [10] * 3, "high": [11] * 3, "low": [9] * 3, "close": [10] * 3, "volume": [1] * 3}
    with pytest.raises(BadBars, match=message):
        Bars(**(good | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": [1, 1]}, "targets have shape"),
        ({"targets": [1, np.inf, 1]}, "finite"),
        ({"cash": 0.0}, "cash"),
        ({"cash": np.nan}, "cash"),
        ({"multiplier": 0.0}, "multiplier"),
        ({"lot_size": -1.0}, "lot_size"),
        ({"max_leverage": 0.0}, "max_leverage"),
        ({"multiplier": [1.0, 2.0]}, "one for each of the 1 symbols"),
        ({"fill": "this_close"}, "next_open or next_close"),
    ],
)
def test_arguments_out_of_bounds(change, message):
    with pytest.raises(ValueError, match=message):
        simulate(**({"bars": flat_bars([10, 10, 10]), "targets": [1, 1, 1]} | change))


def test_a_kelly_size_is_a_fraction_also_where_its_numbers_are_whole() -> None:
    """Won, won, lost: .1, .1, -.1: p = 2/3 and b = 1, so p - q/b = 1/3; a whole ``start`` made it zero."""
    bars = flat_bars([100.0, 110.0, 121.0, 108.9, 108.9])
    targets = np.ones((5, 1))
    for sizing in (KellyFraction(1.0, 3, 1.0, 0.0), KellyFraction(1, 3, 1, 0)):
        assert sizing.scale(bars, targets)[3, 0] == pytest.approx(1 / 3)
