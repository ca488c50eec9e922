"""The plan of a cycle and the books of a position, against computations of their own."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from trading.brokers.base import Side
from trading.execution.books import apply_fill
from trading.execution.models import Position
from trading.execution.planning import Rules, plan

SYMBOLS = ("A", "B", "C", "D")
quantities = st.decimals("0", "500", places=3)
prices = st.decimals("0.5", "400", places=2)


def rules(**changes: object) -> Rules:
    """Lenient rules, but for ``changes``."""
    values: dict[str, object] = {
        "min_notional": Decimal(50), "max_orders": 10, "cash_buffer": Decimal(0), "allow_partial": True,
        "lot": Decimal("0.001"), "max_notional": Decimal(0), **changes,
    }  # fmt: skip
    return Rules(**values)  # type: ignore[arg-type]


@given(
    held=st.dictionaries(st.sampled_from(SYMBOLS), quantities),
    marks=st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices)),
    raw=st.dictionaries(st.sampled_from(SYMBOLS), st.integers(1, 100)),
    cash=st.decimals("0", "50000", places=2),
    kept=st.decimals("0", "5000", places=2),
    cap=st.sampled_from([Decimal(0), Decimal(300), Decimal(1000)]),
    most=st.integers(0, 5),
    allow_partial=st.booleans(),
)
def test_a_plan_keeps_to_its_rules(
    held: dict[str, Decimal],
    marks: dict[str, Decimal],
    raw: dict[str, int],
    cash: Decimal,
    kept: Decimal,
    cap: Decimal,
    most: int,
    allow_partial: bool,
) -> None:
    weights = {symbol: Decimal(part) / sum(raw.values()) for symbol, part in raw.items()}
    given_rules = rules(max_orders=most, cash_buffer=kept, max_notional=cap, allow_partial=allow_partial)
    orders = plan(weights, held, marks, cash=cash, rules=given_rules)
    sides = [order.side for order in orders]
    assert sides == sorted(sides, key=lambda side: side is Side.BUY)
    assert len(orders) <= most
    proceeds = sum(order.quantity * order.price for order in orders if order.side is Side.SELL)
    spent = sum(order.quantity * order.price for order in orders if order.side is Side.BUY)
    assert spent <= max(cash + proceeds - kept, 0)
    for order in orders:
        worth = order.quantity * order.price
        assert order.quantity > 0
        assert order.quantity % Decimal("0.001") == 0
        assert cap == 0 or worth <= cap
        if order.side is Side.SELL:
            assert order.quantity <= held[order.symbol]
            assert allow_partial or order.symbol not in weights
        else:
            assert worth >= 50


def test_a_plan_by_hand() -> None:
    # Equity 1000 + 10 x 100 = 2000: A to 500 (5 held too many), B to 1500 (30 at 50), and no cent more.
    orders = plan(
        {"A": Decimal("0.25"), "B": Decimal("0.75")},
        {"A": Decimal(10)},
        {"A": Decimal(100), "B": Decimal(50)},
        cash=Decimal(1000),
        rules=rules(),
    )
    assert [(order.symbol, order.side, order.quantity) for order in orders] == [
        ("A", Side.SELL, 5),
        ("B", Side.BUY, 30),
    ]


def test_what_is_not_sold_is_not_spent() -> None:
    orders = plan(
        {"A": Decimal("0.25"), "B": Decimal("0.75")},
        {"A": Decimal(10)},
        {"A": Decimal(100), "B": Decimal(50)},
        cash=Decimal(1000),
        rules=rules(allow_partial=False),
    )
    assert [(order.symbol, order.quantity) for order in orders] == [("B", 20)]


def test_an_unsettled_symbol_is_left_alone() -> None:
    one = plan({"A": Decimal(1)}, {}, {"A": Decimal(10)}, cash=Decimal(100), rules=rules(), unsettled={"A"})
    assert list(one) == []


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 400)), max_size=15))
def test_a_position_is_the_sum_of_its_fills(fills: list[tuple[int, int]]) -> None:
    position, realised = Position(quantity=Decimal(0), average_cost=Decimal(0)), Decimal(0)
    for quantity, price in fills:
        realised += apply_fill(position, Decimal(quantity), Decimal(price))
    # Independently, unit by unit: profit = money taken in, plus what is still held at its cost.
    held = cost = taken = Fraction(0)
    for quantity, price in fills:
        step = 1 if quantity > 0 else -1
        for _ in range(abs(quantity)):
            cost += step * price if held * step >= 0 else -cost / held * -step
            held += step
            taken -= step * price
    assert position.quantity == sum(quantity for quantity, _ in fills)
    assert abs(Fraction(realised) - (taken + cost)) < Fraction(1, 10_000)
