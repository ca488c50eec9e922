"""What holds for every simulation, whatever the bars, the targets and the costs."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.quant.series import walk, walking_targets
from trading.quant.bars import Bars
from trading.quant.costs import Costs, NoSlippage, ParticipationRate, SpreadPct, Stops
from trading.quant.engine import Account, Result, simulate_account
from trading.quant.sizing import FixedFraction, KellyFraction, VolatilityTarget

LEVELS = (-1.0, 0.0, 1.0, 0.5, float("nan"))

bars_drawn = st.builds(
    lambda bars, symbols, seed, volatility: walk(bars, symbols, seed=seed, volatility=volatility),
    st.integers(2, 120),
    st.integers(1, 4),
    st.integers(0, 10_000),
    st.sampled_from([0.002, 0.02, 0.08]),
)
slippages = st.one_of(
    st.just(NoSlippage()),
    st.builds(SpreadPct, st.floats(0.0, 0.02)),
    st.builds(ParticipationRate, st.floats(1e-5, 0.2), st.floats(0.0, 1.0)),
)
costs = st.builds(Costs, st.floats(0.0, 100.0), st.floats(0.0, 2_000.0), slippages, st.floats(0.0, 20.0))
distances = st.none() | st.floats(0.005, 0.3)
accounts = st.builds(
    Account,
    sizing=st.one_of(
        st.builds(FixedFraction, st.floats(0.05, 1.5)),
        st.builds(VolatilityTarget, st.floats(0.05, 0.5), st.integers(2, 15)),
        st.builds(KellyFraction, st.floats(0.1, 1.0), st.integers(2, 15), start=st.floats(0.0, 0.5)),
    ),
    costs=costs,
    stops=st.builds(Stops, distances, distances, distances),
    lot_size=st.sampled_from([0.0, 1.0, 7.0]),
    multiplier=st.sampled_from([1.0, 10.0]),
    max_leverage=st.sampled_from([0.5, 1.0, 3.0]),
    fill=st.sampled_from(["next_open", "next_close"]),
    rebalance=st.sampled_from(["on_change", "always"]),
)


def run(bars: Bars, seed: int, account: Account) -> Result:
    return simulate_account(bars, walking_targets(*bars.close.shape, seed=seed, levels=LEVELS), account)


@settings(max_examples=200, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts)
def test_cash_and_positions_are_the_equity(bars, seed, account):
    result = run(bars, seed, account)
    worth = result.cash + (result.positions * bars.close * result.multiplier).sum(axis=1)
    np.testing.assert_allclose(result.equity, worth, rtol=1e-9, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts)
def test_the_profits_of_all_trades_are_the_change_of_the_equity(bars, seed, account):
    result = run(bars, seed, account)
    change = result.equity[-1] - account.cash
    np.testing.assert_allclose(result.trades["pnl"].sum(), change, rtol=1e-9, atol=1e-5)
    np.testing.assert_allclose(result.trades["fees"].sum(), result.fills["fee"].sum(), rtol=1e-9, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts)
def test_fills_lie_within_their_bounds(bars, seed, account):
    result = run(bars, seed, account)
    held = np.zeros(len(bars.symbols))
    for fill in result.fills:
        bar, symbol, quantity = fill["bar"], fill["symbol"], fill["quantity"]
        assert bar >= 1
        assert quantity != 0.0
        reference_low, reference_high = bars.low[bar, symbol], bars.high[bar, symbol]
        unslipped = fill["slippage"] / abs(quantity) / account.multiplier * np.sign(quantity)
        assert reference_low * (1 - 1e-9) <= fill["price"] - unslipped <= reference_high * (1 + 1e-9)
        held[symbol] += quantity
        np.testing.assert_allclose(fill["position"], held[symbol], rtol=1e-9, atol=1e-6)
        if account.lot_size:
            lots = held[symbol] / account.lot_size
            assert abs(lots - round(lots)) < 1e-6
    if isinstance(account.costs.slippage, ParticipationRate):
        for bar in np.unique(result.fills["bar"]):
            for symbol in range(len(held)):
                here = result.fills[(result.fills["bar"] == bar) & (result.fills["symbol"] == symbol)]
                most = account.costs.slippage.cap * bars.volume[bar, symbol]
                assert np.abs(here["quantity"]).sum() <= most * (1 + 1e-6) + 1e-5 * account.lot_size


@settings(max_examples=100, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts, st.data())
def test_later_bars_change_nothing_before_them(bars, seed, account, data):
    cut = data.draw(st.integers(1, len(bars)))
    targets = walking_targets(*bars.close.shape, seed=seed, levels=LEVELS)
    whole = simulate_account(bars, targets, account)
    part = simulate_account(bars.window(0, cut), targets[:cut], account)
    assert part.equity.tobytes() == whole.equity[:cut].tobytes()
    assert part.cash.tobytes() == whole.cash[:cut].tobytes()
    assert part.fills.tobytes() == whole.fills[whole.fills["bar"] < cut].tobytes()


@settings(max_examples=100, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts, st.randoms())
def test_the_order_of_the_symbols_changes_nothing(bars, seed, account, random):
    order = list(range(len(bars.symbols)))
    random.shuffle(order)
    targets = walking_targets(*bars.close.shape, seed=seed, levels=LEVELS)
    straight = simulate_account(bars, targets, account)
    shuffled = simulate_account(bars.select(order), targets[:, order], account)
    assert shuffled.equity.tobytes() == straight.equity.tobytes()
    np.testing.assert_array_equal(shuffled.positions, straight.positions[:, order])
    np.testing.assert_array_equal(np.asarray(order)[shuffled.fills["symbol"]], straight.fills["symbol"])


@settings(max_examples=100, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts)
def test_doubling_prices_and_cash_changes_no_return(bars, seed, account):
    doubled = Bars(bars.time, 2 * bars.open, 2 * bars.high, 2 * bars.low, 2 * bars.close, bars.volume, bars.symbols)
    once, twice = run(bars, seed, account), run(doubled, seed, replace(account, cash=2 * account.cash))
    # A factor of two changes no digit of a binary number.
    assert (2 * once.equity).tobytes() == twice.equity.tobytes()
    assert once.positions.tobytes() == twice.positions.tobytes()


@settings(max_examples=100, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts)
def test_doubling_prices_alone_changes_no_return_of_fractional_positions(bars, seed, account):
    free = replace(account, lot_size=0.0, costs=replace(account.costs, slippage=NoSlippage()))
    doubled = Bars(bars.time, 2 * bars.open, 2 * bars.high, 2 * bars.low, 2 * bars.close, bars.volume, bars.symbols)
    assert run(bars, seed, free).equity.tobytes() == run(doubled, seed, free).equity.tobytes()


@settings(max_examples=200, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), st.floats(0.05, 1.0), costs, st.sampled_from([0.0, 1.0]))
def test_costs_never_help(bars, seed, fraction, paid, lot):
    """For given quantities: the same fills at worse prices and with fees can only leave less.

    With one trade there are no later sizes that could turn a loss into luck, so a single symbol is bought or sold once.
    """
    generator = np.random.default_rng(seed)
    entry = int(generator.integers(0, len(bars)))
    leave = int(generator.integers(entry, len(bars)))
    one = bars.select([0])
    targets = np.zeros(len(bars))
    targets[entry:leave] = generator.choice([-1.0, 1.0])
    whole = paid if not isinstance(paid.slippage, ParticipationRate) else replace(paid, slippage=NoSlippage())
    account = Account(sizing=FixedFraction(fraction * 0.5), costs=whole, lot_size=lot)
    free = simulate_account(one, targets, replace(account, costs=Costs()))
    costly = simulate_account(one, targets, account)
    assert costly.equity[-1] <= free.equity[-1] * (1 + 1e-12)
    assert costly.fills["quantity"].tolist() == free.fills["quantity"].tolist()


@settings(max_examples=100, deadline=None)
@given(bars_drawn, st.integers(0, 1_000), accounts)
def test_metrics_are_those_of_the_arrays(bars, seed, account):
    """Each figure computed again, by numpy from the result's own arrays."""
    result = run(bars, seed, account)
    metrics = result.metrics(periods_per_year=365.0, risk_free=0.03, minimum_return=0.01)
    equity = result.equity
    returns = equity[1:] / equity[:-1] - 1
    peaks = np.maximum.accumulate(equity)
    closed = result.trades[result.trades["reason"] != 5]
    expected = {
        "final_equity": equity[-1],
        "total_return": equity[-1] / account.cash - 1,
        "max_drawdown": (1 - equity / peaks).max(),
        "exposure": (np.abs(result.positions) * bars.close * result.multiplier).sum() / equity.sum(),
        "time_in_market": (result.positions != 0).any(axis=1).mean(),
        "trades": len(closed),
        "fees": result.fills["fee"].sum(),
    }
    if result.ruined_bar is None and equity[-1] > 0:
        expected["cagr"] = (equity[-1] / equity[0]) ** (365 / (len(equity) - 1)) - 1
    if len(returns) > 1 and returns.std(ddof=1) > 1e-12:
        expected["volatility"] = np.sqrt(365) * returns.std(ddof=1)
        expected["sharpe"] = np.sqrt(365) * (returns.mean() - 0.03 / 365) / returns.std(ddof=1)
        downside = np.sqrt((np.minimum(returns - 0.01 / 365, 0) ** 2).mean())
        expected["sortino"] = np.sqrt(365) * (returns.mean() - 0.01 / 365) / downside if downside else np.nan
    if len(closed):
        expected["hit_rate"] = (closed["pnl"] > 0).mean()
        expected["mean_trade"] = closed["return"].mean()
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(metrics, name), value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_rounding_is_no_order():
    """All of the equity in one symbol: bringing it back to its size at every bar orders only what gaps have left."""
    bars = walk(500, 1, seed=1)
    level = Bars(bars.time, *[bars.close] * 4, bars.volume)
    result = simulate_account(level, np.ones(500), Account(rebalance="always"))
    assert (np.abs(result.fills["quantity"]) * 1e9 > result.fills["position"]).all()
    assert len(result.fills) < 10


def test_no_trade_of_nothing_when_others_have_taken_the_cash():
    """Shares that add up to twice the cash: whoever comes last finds what rounding left, which buys nothing."""
    bars = walk(400, 3, seed=5)
    rng = np.random.Generator(np.random.PCG64(6))
    for _ in range(20):
        wished = rng.choice([0.0, 1.0, -1.0, np.nan], bars.close.shape)
        account = Account(sizing=FixedFraction(2.0), costs=Costs(fee_bps=10, slippage=SpreadPct(0.002)))
        result = simulate_account(bars, wished, account)
        notional = result.trades["quantity"] * result.trades["entry_price"]
        assert notional.min() > 1e-9 * result.equity.min()
