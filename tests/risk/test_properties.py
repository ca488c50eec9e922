"""What must hold of each limit for any order and any book: a bigger order never passes where a smaller fails, say."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from hypothesis import assume, given
from hypothesis import strategies as st

from trading.brokers.base import Side
from trading.risk.limits import Book, Proposal, modules

D = Decimal
SYMBOLS = ("AAA", "BBB", "CCC")
VALUES: dict[str, tuple[Any, ...]] = {
    "QT_MAX_NOTIONAL_PER_TRADE": (D(500),),
    "QT_MAX_DAILY_LOSS": (D(500),),
    "QT_MAX_POSITION_PER_SYMBOL": (D(500),),
    "QT_MAX_GROSS_EXPOSURE": (D(1000),),
    "QT_MAX_PRICE_MOVE_PCT": (D(25),),
    "QT_MAX_NET_DELTA": (D(500),),
    "QT_MAX_OPEN_LEGS": (2,),
    "QT_MARKET_HOURS": ((), frozenset()),
    "QT_MAX_SPREAD_PCT": (D(5),),
    "QT_BREAKER_LOSSES": (3, D(500)),
}

quantities = st.integers(-12, 12).map(D)
amounts = st.integers(1, 40).map(lambda n: D(n) / 2)
prices = st.sampled_from([D(10), D(50), D(100)])
deltas = st.sampled_from([D(1), D("0.5"), D("-0.5"), D("-1"), D(0)])


@st.composite
def books(draw: st.DrawFn) -> Book:
    """Up to three symbols, with deltas of either sign, held either way, with orders under way on both sides."""
    price = {symbol: draw(prices) for symbol in SYMBOLS}
    return Book(
        quantities={symbol: draw(quantities) for symbol in SYMBOLS},
        reserved_buys={symbol: abs(draw(quantities)) for symbol in SYMBOLS},
        reserved_sells={symbol: -abs(draw(quantities)) for symbol in SYMBOLS},
        prices=price,
        realised_today=draw(st.integers(-1000, 1000).map(D)),
        unit_deltas={symbol: draw(deltas) * price[symbol] for symbol in SYMBOLS},
        results=tuple(draw(st.lists(st.sampled_from([D(-501), D(-500), D(10)]), max_size=5))),
    )


@st.composite
def orders(draw: st.DrawFn, book: Book) -> Proposal:
    symbol = draw(st.sampled_from(SYMBOLS))
    price = book.prices[symbol]
    spread = draw(st.sampled_from([D(0), D("0.02"), D("0.06")])) * price / 2
    previous = price * draw(st.sampled_from([D(1), D("0.8"), D("0.79"), D("1.5")]))
    return Proposal(
        symbol, draw(st.sampled_from(Side)), draw(amounts), price, previous,
        delta=book.unit_deltas[symbol] / price if book.unit_deltas[symbol] is not None else None,  # type: ignore[operator]
        bid=price - spread, ask=price + spread,
    )  # fmt: skip


cases = books().flatmap(lambda book: st.tuples(st.just(book), orders(book)))


def passes(name: str, proposal: Proposal, book: Book) -> bool:
    return modules()[name].check(proposal, book, *VALUES[name]) is None


def outcomes(book: Book, *extra: tuple[str, Decimal]) -> Iterator[dict[str, Decimal]]:
    """The positions after each way in which the orders under way, and ``extra``, may be filled or not."""
    moves = [(s, q) for way in (book.reserved_buys, book.reserved_sells) for s, q in way.items() if q]
    for filled in product((False, True), repeat=len(moves)):
        after = dict(book.quantities)
        for (symbol, quantity), is_filled in zip(moves, filled, strict=True):
            after[symbol] += quantity if is_filled else 0
        for symbol, quantity in extra:
            after[symbol] += quantity
        yield after


def net(held: dict[str, Decimal], book: Book) -> Decimal:
    return sum((quantity * book.delta_of(symbol) for symbol, quantity in held.items()), D(0))


def gross(held: dict[str, Decimal], book: Book) -> Decimal:
    return sum((abs(quantity) * book.prices[symbol] for symbol, quantity in held.items()), D(0))


def test_every_limit_in_force_is_tried_here() -> None:
    assert set(VALUES) == set(settings.RISK_LIMITS) == set(modules())


@pytest.mark.parametrize("name", VALUES)
@given(case=cases, more=amounts)
def test_a_bigger_order_never_passes_where_a_smaller_one_fails(
    name: str, case: tuple[Book, Proposal], more: Decimal
) -> None:
    book, proposal = case
    if not passes(name, proposal, book):
        assert not passes(name, replace(proposal, quantity=proposal.quantity + more), book)


@pytest.mark.parametrize("name", ["QT_MAX_NOTIONAL_PER_TRADE", "QT_MAX_DAILY_LOSS", "QT_MAX_POSITION_PER_SYMBOL",
                                  "QT_MAX_GROSS_EXPOSURE", "QT_MAX_NET_DELTA", "QT_MAX_SPREAD_PCT"])  # fmt: skip
@given(case=cases, wider=st.integers(1, 1000).map(D))
def test_what_a_limit_lets_pass_a_wider_one_does_too(name: str, case: tuple[Book, Proposal], wider: Decimal) -> None:
    book, proposal = case
    if passes(name, proposal, book):
        assert modules()[name].check(proposal, book, *(value + wider for value in VALUES[name])) is None


@given(case=cases)
def test_whatever_is_filled_a_passed_order_leaves_the_net_delta_within_the_limit_or_nearer_to_0(
    case: tuple[Book, Proposal],
) -> None:
    book, proposal = case
    change = (proposal.symbol, proposal.signed_quantity)
    pairs = list(zip(outcomes(book), outcomes(book, change), strict=True))
    is_safe = all(
        abs(net(after, book)) <= 500 or abs(net(after, book)) <= abs(net(before, book)) for before, after in pairs
    )
    if passes("QT_MAX_NET_DELTA", proposal, book):
        assert is_safe
    if all(abs(net(after, book)) <= 500 for _, after in pairs):
        assert passes("QT_MAX_NET_DELTA", proposal, book), "nothing that may come of it is over the limit"


@given(case=cases)
def test_a_hedge_of_all_that_is_held_passes_however_large(case: tuple[Book, Proposal]) -> None:
    held, proposal = replace(case[0], reserved_buys={}, reserved_sells={}), case[1]
    delta = held.delta_of(proposal.symbol)
    exposure = net(dict(held.quantities), held)
    assume(delta != 0 and exposure != 0)
    needed = -exposure / delta
    hedge = replace(proposal, side=Side.BUY if needed > 0 else Side.SELL, quantity=abs(needed))
    assert passes("QT_MAX_NET_DELTA", hedge, held)
    if abs(exposure) >= 500:
        wrong = replace(hedge, side=Side.SELL if needed > 0 else Side.BUY)
        assert not passes("QT_MAX_NET_DELTA", wrong, held), "the same the other way doubles it"


@given(case=cases)
def test_whatever_is_filled_a_passed_order_keeps_positions_and_gross_exposure_or_only_closes(
    case: tuple[Book, Proposal],
) -> None:
    book, proposal = case
    change = (proposal.symbol, proposal.signed_quantity)
    after = list(outcomes(book, change))
    before = list(outcomes(book))
    for name, limit, size in (
        ("QT_MAX_GROSS_EXPOSURE", D(1000), gross),
        ("QT_MAX_POSITION_PER_SYMBOL", D(500), lambda held, b: abs(held[proposal.symbol]) * b.prices[proposal.symbol]),
    ):
        if passes(name, proposal, book):
            assert all(
                size(then, book) <= limit or size(then, book) <= size(first, book)
                for first, then in zip(before, after, strict=True)
            )


@given(case=cases)
def test_what_only_closes_a_position_passes_the_daily_loss_and_the_breaker(case: tuple[Book, Proposal]) -> None:
    book = replace(case[0], realised_today=D(-10_000), results=(D(-501),) * 3, reserved_buys={}, reserved_sells={})
    proposal = case[1]
    held = book.quantities[proposal.symbol]
    closing = held * proposal.side.sign < 0 and abs(held) >= proposal.quantity
    for name in ("QT_MAX_DAILY_LOSS", "QT_BREAKER_LOSSES"):
        assert passes(name, proposal, book) == closing


@given(case=cases, count=st.integers(1, 30))
def test_orders_one_after_the_other_never_come_to_more_than_the_limit_together(
    case: tuple[Book, Proposal], count: int
) -> None:
    """Each that passes is reserved for the next, as a review does."""
    proposal = case[1]
    book = replace(
        case[0], quantities=dict.fromkeys(SYMBOLS, D(0)), reserved_buys={}, reserved_sells={},
        unit_deltas={**case[0].unit_deltas, proposal.symbol: proposal.unit_delta},
    )  # fmt: skip
    taken = D(0)
    for _ in range(count):
        if passes("QT_MAX_NET_DELTA", proposal, book) and passes("QT_MAX_GROSS_EXPOSURE", proposal, book):
            taken += proposal.signed_quantity
            way = "reserved_buys" if proposal.signed_quantity > 0 else "reserved_sells"
            book = replace(book, **{way: {proposal.symbol: taken}})  # type: ignore[arg-type]
    assert abs(taken) * proposal.worth <= 1000
    assert abs(taken * (proposal.unit_delta or 0)) <= 500
