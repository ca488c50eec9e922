"""The governor's limits by hand: net delta, open legs, spread, market hours, circuit breaker."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from trading.brokers.base import Side
from trading.core import hours
from trading.risk.limits import Book, Proposal, modules
from trading.risk.limits import circuit_breaker as breaker

D = Decimal
BUY, SELL = Side.BUY, Side.SELL


def order(side: Side, quantity: str, symbol: str = "AAA", **changed: Any) -> Proposal:
    given: dict[str, Any] = {"bid": D("99.5"), "ask": D("100.5"), **changed}
    return Proposal(symbol, side, D(quantity), D(100), D(100), **given)


def book(held: dict[str, str] | None = None, **changed: Any) -> Book:
    """Everything is worth 100."""
    quantities = {symbol: D(quantity) for symbol, quantity in (held or {}).items()}
    ways = {way: {s: D(q) for s, q in changed.pop(way, {}).items()} for way in ("reserved_buys", "reserved_sells")}
    symbols = {*quantities, *ways["reserved_buys"], *ways["reserved_sells"]}
    return Book(quantities=quantities, prices=dict.fromkeys(symbols, D(100)), realised_today=D(0), **ways, **changed)


def refuses(name: str, proposal: Proposal, account: Book, *values: Any) -> bool:
    breach = modules()[name].check(proposal, account, *values)
    assert breach is None or (breach.limit_value and breach.order_value and breach.message)
    return breach is not None


# A call option on 10 units with a delta of a half, the underlying at 200: 10 x 0.5 x 200 = 1,000 each.
CALL: dict[str, Any] = {"multiplier": D(10), "delta": D("0.5"), "underlying_price": D(200)}
PUT: dict[str, Any] = {**CALL, "delta": D("-0.5")}


@pytest.mark.parametrize(
    ("proposal", "account", "refused"),
    [
        (order(BUY, "10"), book(), False),  # 1,000 of 1,000
        (order(BUY, "10.01"), book(), True),
        (order(SELL, "10.01"), book(), True),
        (order(BUY, "1", **CALL), book(), False),
        (order(BUY, "1.1", **CALL), book(), True),
        (order(BUY, "1.1", **PUT), book(), True),  # -1,100
        (order(BUY, "3", **CALL), book({"BBB": "-20"}), False),  # from -2,000 to 1,000
        (order(BUY, "5"), book({"BBB": "6"}), True),  # 1,100
        (order(BUY, "5"), book({"BBB": "6", "CCC": "-3"}), False),  # 800
        (order(BUY, "5"), book({"BBB": "6", "CCC": "-3"}, reserved_sells={"CCC": "-2"}), False),
        (order(BUY, "5"), book({"BBB": "6"}, reserved_sells={"CCC": "-3"}), True),  # that sell may not be filled
        (order(BUY, "5"), book({"BBB": "3"}, reserved_buys={"CCC": "3"}), True),  # that buy may be
        # Above the limit, at 3,000 (or -3,000): a hedge passes, also one that overshoots but ends nearer to 0.
        (order(SELL, "1"), book({"BBB": "30"}), False),
        (order(SELL, "59", symbol="BBB"), book({"BBB": "30"}), False),
        (order(SELL, "61", symbol="BBB"), book({"BBB": "30"}), True),
        (order(BUY, "0.01"), book({"BBB": "30"}), True),
        (order(BUY, "1"), book({"BBB": "-30"}), False),
        (order(SELL, "0.01"), book({"BBB": "-30"}), True),
        (order(BUY, "1", **PUT), book({"BBB": "30"}), False),
        (order(SELL, "1", **PUT), book({"BBB": "30"}), True),
        # Two hedges of the same delta do not both pass: the first may be filled.
        (order(SELL, "30"), book({"BBB": "30"}, reserved_sells={"CCC": "-30"}), True),
        (order(SELL, "10"), book({"BBB": "30"}, reserved_sells={"CCC": "-30"}), False),  # at the worst -1,000
        # What is not known.
        (order(SELL, "1", delta=None), book({"BBB": "30"}), True),
        (order(SELL, "1"), book({"BBB": "30"}, unit_deltas={"BBB": None}), True),
        (order(BUY, "1", delta=D(0)), book({"BBB": "30"}), False),
    ],
)
def test_net_delta(proposal: Proposal, account: Book, refused: bool) -> None:
    assert refuses("QT_MAX_NET_DELTA", proposal, account, D(1000)) == refused
    assert not refuses("QT_MAX_NET_DELTA", proposal, account, D(0)), "0 is no limit"


@pytest.mark.parametrize(
    ("symbol", "account", "refused"),
    [
        ("CCC", book({"AAA": "1"}), False),
        ("CCC", book({"AAA": "1", "BBB": "-1"}), True),
        ("CCC", book({"AAA": "1", "BBB": "0"}), False),
        ("CCC", book({"AAA": "1"}, reserved_buys={"BBB": "1"}), True),
        ("BBB", book({"AAA": "1"}, reserved_buys={"BBB": "1"}), False),
        ("AAA", book({"AAA": "1", "BBB": "1", "CCC": "1"}), False),  # more than allowed, but none more
    ],
)
def test_open_legs(symbol: str, account: Book, refused: bool) -> None:
    assert refuses("QT_MAX_OPEN_LEGS", order(BUY, "1", symbol), account, 2) == refused
    assert not refuses("QT_MAX_OPEN_LEGS", order(BUY, "1", symbol), account, 0)


@pytest.mark.parametrize(
    ("bid", "ask", "refused"),
    [
        ("99", "101", False),  # 2 % of 100
        ("98.99", "101.01", True),
        ("100", "100", False),
        ("101", "100", True),
        ("0", "100", True),
        (None, "100", True),
        ("100", None, True),
        (None, None, True),
    ],
)
def test_spread(bid: str | None, ask: str | None, refused: bool) -> None:
    proposal = order(BUY, "1", bid=bid and D(bid), ask=ask and D(ask))
    assert refuses("QT_MAX_SPREAD_PCT", proposal, book(), D(2)) == refused
    assert not refuses("QT_MAX_SPREAD_PCT", proposal, book(), D(0))


NEW_YORK = hours.parse("America/New_York mon-fri 09:30-16:00")
GLOBEX = hours.parse("America/Chicago sun-thu 17:00-16:00")
HOLIDAY = frozenset({date(2026, 11, 26)})


@pytest.mark.parametrize(
    ("at", "sessions", "refused"),
    [
        ("2026-11-20 14:29:59", [NEW_YORK], True),  # a Friday in winter: UTC - 5
        ("2026-11-20 14:30:00", [NEW_YORK], False),
        ("2026-11-20 20:59:59", [NEW_YORK], False),
        ("2026-11-20 21:00:00", [NEW_YORK], True),
        ("2026-11-21 15:00:00", [NEW_YORK], True),  # Saturday
        ("2026-07-17 13:30:00", [NEW_YORK], False),  # in summer: UTC - 4
        ("2026-07-17 13:29:00", [NEW_YORK], True),
        ("2026-11-26 15:00:00", [NEW_YORK], True),  # Thanksgiving
        ("2026-11-22 23:30:00", [GLOBEX], False),  # Sunday 17:30 in Chicago
        ("2026-11-22 22:30:00", [GLOBEX], True),
        ("2026-11-23 21:30:00", [GLOBEX], False),  # Monday 15:30, of Sunday's session
        ("2026-11-23 22:30:00", [GLOBEX], True),  # the hour between two sessions
        ("2026-11-20 21:30:00", [GLOBEX], False),  # Friday 15:30, of Thursday's session
        ("2026-11-20 23:30:00", [GLOBEX], True),  # Friday has none of its own
        ("2026-11-27 15:00:00", [GLOBEX], True),  # of the holiday's session
        ("2026-11-20 15:00:00", [GLOBEX, NEW_YORK], False),
        ("2026-11-20 14:00:00", [GLOBEX, NEW_YORK], True),  # both must be open
        ("2026-11-21 15:00:00", [], False),
    ],
)
def test_market_hours(at: str, sessions: list[hours.Hours], refused: bool) -> None:
    account = book(now=datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert refuses("QT_MARKET_HOURS", order(BUY, "1"), account, sessions, HOLIDAY) == refused


def test_market_hours_without_a_clock_refuse() -> None:
    assert refuses("QT_MARKET_HOURS", order(BUY, "1"), book(), [NEW_YORK], frozenset())


@pytest.mark.parametrize(
    "text",
    ["", "always", "America/New_York", "America/New_York mon-fri 9:30-16:00", "America/New_York fry 09:30-16:00",
     "America/New_York mon-fri 09:30-24:00", "Moon/Base mon-fri 09:30-16:00", "../etc mon 09:30-16:00",
     "America mon 09:30-16:00", "America/New_York mon-fri 09:30-16:00 ", "Europe/London mon-fri 0\u0669:30-16:00"],
)  # fmt: skip
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        hours.parse(text)


def results(*profits: int) -> tuple[Decimal, ...]:
    """Newest first."""
    return tuple(map(D, profits))


@pytest.mark.parametrize(
    ("newest_first", "refused"),
    [
        (results(), False),
        (results(-501, -501), False),
        (results(-501, -501, -501), True),
        (results(-500, -501, -501), False),  # of 500 is not over 500
        (results(-501, 1, -501, -501), False),
        (results(9000, -501, -600, -700), True),  # a profit later does not undo it
        (results(9000, -501, -600, 1, -700), False),
    ],
)
def test_circuit_breaker(newest_first: tuple[Decimal, ...], refused: bool) -> None:
    account = book({"AAA": "3"}, results=newest_first)
    assert refuses("QT_BREAKER_LOSSES", order(BUY, "1"), account, 3, D(500)) == refused
    assert breaker.trips(account, 3, D(500)) == refused
    assert not refuses("QT_BREAKER_LOSSES", order(SELL, "3"), account, 3, D(500)), "closing is allowed"
    assert refuses("QT_BREAKER_LOSSES", order(SELL, "4"), account, 3, D(500)) == refused
    assert not refuses("QT_BREAKER_LOSSES", order(BUY, "1"), account, 0, D(500))


def test_an_open_breaker_stays_open_whatever_the_results() -> None:
    account = book(results=results(5, 5, 5), tripped_at=datetime(2026, 11, 20, tzinfo=UTC))
    assert refuses("QT_BREAKER_LOSSES", order(BUY, "1"), account, 3, D(500))


def test_how_much_of_each_limit_is_used() -> None:
    account = book(
        {"AAA": "3", "BBB": "-5"},
        reserved_buys={"AAA": "2"},
        results=results(-501, -501, 5),
    )
    used = {name: limit.use for name, limit in modules().items() if limit.use is not None}
    values = {"QT_BREAKER_LOSSES": (3, D(500))}
    shown = {name: use(account, *values.get(name, (D(1000),))) for name, use in used.items()}
    assert shown == {
        "QT_BREAKER_LOSSES": 2,
        "QT_MAX_DAILY_LOSS": 0,
        "QT_MAX_GROSS_EXPOSURE": 1000,
        "QT_MAX_NET_DELTA": 200,  # -200 without the buy, 0 with it
        "QT_MAX_OPEN_LEGS": 2,
        "QT_MAX_POSITION_PER_SYMBOL": 500,
    }


@pytest.mark.parametrize("number", ["NaN", "Infinity", "sNaN"])
@pytest.mark.parametrize("name", ["quantity", "price", "previous_price", "delta", "bid"])
def test_an_order_without_numbers_is_none(name: str, number: str) -> None:
    given = {"quantity": D(1), "price": D(1), "previous_price": D(1), name: D(number)}
    with pytest.raises(ValueError, match="finite"):
        Proposal("AAA", BUY, **given)  # type: ignore[arg-type]
