"""Why a backtest and an account paid differently: parts by hand, and that they add up to the last digit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from trading.backtests import following, parity
from trading.backtests.parity import Causes, Filled, Pair, Report

AT = datetime(2024, 1, 2, tzinfo=UTC)
amounts = st.decimals(min_value="0.001", max_value="1e7", places=8)
sides = st.sampled_from([1, -1])


def filled(quantity: str, price: str, reference: str, fee: str) -> Filled:
    units = Decimal(quantity)
    return Filled(AT, units, units * Decimal(price), units * Decimal(reference), Decimal(fee))


def test_each_cause_by_hand() -> None:
    """10 units at the open of 100 with 1 of slippage and 5 of fee; the account: 8 at 103, planned at 102, fee 6.

    Latency 8 x (102 - 100) = 16. Slippage 8 x (103 - 102) - 8 x (101 - 100) = 0. Fee 6 - 5 x 8/10 = 2. Size, the two
    units that were not bought at what they cost the backtest: -(2 x 101 + 5 x 2/10) = -203. In all 824 + 6 - 1010 - 5.
    """
    causes = parity.explained(filled("10", "101", "100", "5"), filled("8", "103", "102", "6"))
    assert causes == Causes(size=Decimal(-203), latency=Decimal(16), slippage=Decimal(0), fee=Decimal(2))
    assert causes.whole == Decimal(-185)


def test_a_sale_that_brought_less_cost_more() -> None:
    """Sold 4 at 49 (reference 50) rather than at 50: slippage 4, and nothing else."""
    causes = parity.explained(filled("-4", "50", "50", "0"), filled("-4", "49", "50", "0"))
    assert causes == Causes(size=Decimal(0), latency=Decimal(0), slippage=Decimal(4), fee=Decimal(0))


def test_what_only_one_filled_is_of_size() -> None:
    only = filled("2", "10", "10", "1")
    assert parity.explained(only, None) == Causes(size=Decimal(-21))
    assert parity.explained(None, only) == Causes(size=Decimal(21))
    waiting = Pair("A", AT, None, only, waits=True)
    assert waiting.causes == Causes()
    assert Report(AT, Decimal(1), (waiting,)).difference == 0


@given(st.lists(st.tuples(sides, amounts, amounts, amounts, amounts), min_size=2, max_size=8))
def test_the_causes_add_up_to_the_whole_difference(rows: list[tuple[int, Decimal, Decimal, Decimal, Decimal]]) -> None:
    parts = [
        Filled(AT, side * units, side * units * price, side * units * reference, fee)
        for side, units, price, reference, fee in rows
    ]
    pairs = tuple(Pair("A", AT, one, other, waits=False) for one, other in zip(parts[::2], parts[1::2], strict=False))
    for pair in pairs:
        assert pair.backtest is not None
        assert pair.account is not None
        assert pair.causes.whole == parity.total([pair.account.cost, -pair.backtest.cost])
    report = Report(AT, Decimal(1), pairs)
    assert report.causes.whole == report.difference


def test_a_backtest_that_begins_later_takes_up_what_stands() -> None:
    nan = np.nan
    targets = np.array([[1.0, nan], [nan, nan], [nan, 0.5], [0.0, nan]])
    np.testing.assert_array_equal(parity.begun(targets, 2), np.array([[nan, nan], [nan, nan], [1.0, 0.5], [0.0, nan]]))
    known, unknown = np.ones((1, 1)), np.array([[nan, 1.0], [nan, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert parity.decisions(np.array([[nan], [1.0], [1.0], [0.0]]), known, 0) == [1, 3]
    assert parity.decisions(np.array([[1.0], [1.0], [1.0], [0.0]]), unknown, 0) == [2, 3]


def test_a_goal_stays_as_long_as_its_decision() -> None:
    """Half of 1,000 at 20 are 25 units. They stay 25 when the price doubles, until something else is decided."""
    said = {"promotion": "p", "weights": {"A": "0.5"}, "decided": {"A": "monday"}}
    first = following.goals(said, {}, prices={"A": Decimal(20)}, investable=Decimal(1_000))
    assert first == {"A": Decimal(25)}
    before = {"targets": said, "risk": {"goals": {"A": "25"}}}
    dear = {"A": Decimal(40)}
    assert following.goals(said, before, prices=dear, investable=Decimal(1_500)) == first
    tuesday = {**said, "decided": {"A": "tuesday"}}
    assert following.goals(tuesday, before, prices=dear, investable=Decimal(1_600)) == {"A": Decimal(20)}
    other = {**said, "promotion": "q"}
    assert following.goals(other, before, prices=dear, investable=Decimal(1_600)) == {"A": Decimal(20)}


@given(amounts, amounts, st.decimals(min_value="1", max_value="1e9", places=2))
def test_a_goal_survives_being_a_weight(units: Decimal, price: Decimal, investable: Decimal) -> None:
    """Of an account that can pay for it: nothing too little, and nothing that a venue would see too much."""
    assume(units * price <= investable)
    weight = following.as_weights({"A": units}, {"A": price}, investable)["A"]
    assert units <= weight * investable / price < units + Decimal("1e-7")


def test_without_equity_nothing_is_wanted() -> None:
    assert following.as_weights({"A": Decimal(1)}, {"A": Decimal(1)}, Decimal(0)) == {}
    assert following.moment(1_704_153_600 * 10**9 + 1_500) == AT + timedelta(microseconds=1)


def test_a_wish_is_of_the_venues_kind() -> None:
    assert following.level_of("paper") == "paper"
    assert following.level_of("mock") == "paper"
    assert following.level_of("binance") == "live"
