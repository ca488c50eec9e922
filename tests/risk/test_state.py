"""What a review reads of the database: who may trade alone, what has been lost, and a state that cannot be read."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from pytest_django import Settings

from tests.execution.conftest import Venue, buy, desk, intend, make_market, market, quoted, sell  # noqa: F401  # fixtures
from tests.risk.books import read_book, unreadable
from trading.audit.models import AuditEntry
from trading.brokers.base import Side
from trading.brokers.instruments import Quote
from trading.core.models import ChangedSetting
from trading.core.scope import tenant_scope
from trading.execution import services as execution
from trading.execution.exposure import BOOK, RESULTS
from trading.execution.models import Fill, Order, OrderState
from trading.execution.planning import Planned
from trading.marketdata.models import Candle
from trading.risk import services as risk
from trading.risk import state
from trading.risk.limits import Proposal
from trading.risk.models import Guard, Reservation, RiskAccount, RiskDecision
from trading.tenants import parameters
from trading.tenants.models import Client

D = Decimal
pytestmark = pytest.mark.usefixtures("transactional_db", "market")


@pytest.fixture(autouse=True)
def _wide(transactional_db: None, settings: Settings) -> None:
    Guard.objects.get_or_create(id=1)
    settings.QT_MAX_NOTIONAL_PER_TRADE = D(1_000_000)
    settings.QT_MAX_DAILY_LOSS = D(1_000_000)
    settings.QT_MAX_PRICE_MOVE_PCT = D(99)


def traded(client: Client, *orders: Planned) -> None:
    """Each at its price."""
    for planned in orders:
        (order,) = intend(client, planned)
        assert order.state == OrderState.INTENDED, order.reason
        done = execution.submit(order, Venue(price=planned.price), hold=execution.in_transaction)
        assert done.state == OrderState.FILLED


def lose(client: Client, amount: int) -> None:
    """Buy ten at 100 and sell them so much lower that the sell loses ``amount``, its fee of 0.50 included."""
    price = D(100) - (D(amount) - D("0.5")) / 10
    traded(client, buy("10"), sell("10", price=str(price)))


def refused(order: Order) -> str:
    assert order.state == OrderState.REFUSED
    return order.reason.partition(":")[0]


def test_an_order_that_nobody_approved_needs_leave_where_money_can_move(desk: Client, settings: Settings) -> None:  # noqa: F811
    settings.AUTONOMOUS_ENABLED = False
    (order,) = intend(desk, buy())
    assert refused(order) == "AUTONOMOUS_ENABLED"
    entry = AuditEntry.objects.get(client_id=desk.id, action="risk.refused")
    assert (entry.data["limit"], entry.data["limit_value"], entry.data["order_value"]) == (
        "AUTONOMOUS_ENABLED",
        "false",
        "buy 2 AAA",
    )
    by_person = Proposal("AAA", Side.BUY, D(2), D(100), D(100), bid=D(100), ask=D(100), is_autonomous=False)
    with transaction.atomic():
        answer = risk.review(desk.id, "by-a-person", by_person, book=BOOK)
    assert isinstance(answer, risk.ApprovedOrder)
    assert isinstance(risk.approved(desk.id, "by-a-person", by_person), risk.ApprovedOrder)


def test_leave_that_is_withdrawn_holds_for_what_was_approved_before(desk: Client, settings: Settings) -> None:  # noqa: F811
    (order,) = intend(desk, buy())
    settings.AUTONOMOUS_ENABLED = False
    venue = Venue()
    assert execution.submit(order, venue, hold=execution.in_transaction).state == OrderState.WITHDRAWN
    assert venue.submissions == []


@pytest.mark.parametrize(("broker", "passes"), [("paper", True), ("mock", True), ("binance", False), ("none", False)])
def test_a_cycle_trades_alone_where_no_money_can_move(
    desk: Client,  # noqa: F811
    settings: Settings,
    broker: str,
    passes: bool,
) -> None:
    settings.AUTONOMOUS_ENABLED = False
    settings.QT_MAX_SPREAD_PCT = D(0)
    with transaction.atomic():
        (order,) = execution.intend(desk.id, uuid4(), [buy()], broker=broker, quotes={"AAA": quoted("AAA", D(100))})
    assert (order.state == OrderState.INTENDED) == passes


@pytest.mark.parametrize("spread", [0, 5])
@pytest.mark.parametrize("asked", [None, D(101)])
def test_without_a_bid_and_an_ask_no_money_moves(
    desk: Client,  # noqa: F811
    settings: Settings,
    spread: int,
    asked: Decimal | None,
) -> None:
    """Nor at the newest close, when no limit on the spread is set; a venue that moves none may do without."""
    settings.QT_MAX_SPREAD_PCT = D(spread)
    quotes = {} if asked is None else {"AAA": Quote("AAA", None, asked, D(100), datetime(2026, 11, 20, tzinfo=UTC))}
    with transaction.atomic():
        (order,) = execution.intend(desk.id, uuid4(), [buy()], broker="venue", quotes=quotes)
        (simulated,) = execution.intend(desk.id, uuid4(), [buy()], broker="paper", quotes=quotes)
    assert refused(order) == "quote"
    assert "venue quotes no bid and ask of AAA" in order.reason
    assert "try again while it trades" in order.reason
    assert (simulated.state == OrderState.INTENDED) == (spread == 0)
    assert not Reservation.objects.filter(client_order_id=order.client_order_id).exists()
    assert AuditEntry.objects.filter(action="order.refused", subject=f"order:{order.id}").exists()


def test_a_symbol_without_a_market_refuses(desk: Client) -> None:  # noqa: F811
    (order,) = intend(desk, buy(symbol="ZZZ"))
    assert refused(order) == "QT_MAX_PRICE_MOVE_PCT"


def test_the_breaker_opens_at_the_third_loss_in_a_row_and_stays_open(desk: Client) -> None:  # noqa: F811
    traded(desk, buy("30", symbol="BBB", price="50"))
    for amount in (501, 502, 499, 600, 600):
        lose(desk, amount)
    traded(desk, buy("3"))
    traded(desk, buy("10"), sell("10", price="39.95"))
    assert read_book(desk.id).results == (D(-601), D(-600), D(-600), D(-499), D(-502), D(-501))
    (order,) = intend(desk, buy())
    assert refused(order) == "QT_BREAKER_LOSSES"
    assert RiskAccount.objects.get(client=desk).tripped_at is not None
    for _ in range(2):
        traded(desk, sell("1", price="150"))  # closing passes, at a profit
    assert refused(intend(desk, buy())[0]) == "QT_BREAKER_LOSSES"
    Fill.objects.all().update(time=datetime(2020, 1, 1, tzinfo=UTC))
    assert refused(intend(desk, buy())[0]) == "QT_BREAKER_LOSSES"


def test_a_loss_in_many_parts_counts_as_one(desk: Client) -> None:  # noqa: F811
    """Three orders that each lose 40 times 15 are three losses of 600 in a row."""
    orders = intend(desk, *[buy("1")] * 3)
    now = datetime.now(UTC)
    Fill.objects.bulk_create(
        Fill(
            client=desk, order=order, broker="venue", execution_id=f"{number}-{part}", symbol="AAA", quantity=D(-1),
            price=D(100), fee=D(0), realised_pnl=D(-15), time=now + timedelta(seconds=number, milliseconds=part),
        )
        for number, order in enumerate(orders)
        for part in range(40)
    )  # fmt: skip
    assert read_book(desk.id).results == (D(-600), D(-600), D(-600))
    assert refused(intend(desk, buy(symbol="BBB", price="50"))[0]) == "QT_BREAKER_LOSSES"


def test_an_index_answers_for_what_closed_something(desk: Client) -> None:  # noqa: F811
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT order_id FROM trades WHERE client_id = %s AND NOT (realised_pnl = (fee * -1))"
            " ORDER BY time DESC LIMIT %s",
            [desk.id, RESULTS],
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "trades_closing" in plan


def test_trades_of_yesterday_do_not_count_for_today_nor_those_before_a_reset(desk: Client) -> None:  # noqa: F811
    lose(desk, 300)
    now = datetime.now(UTC)
    Fill.objects.update(time=now)
    assert read_book(desk.id).realised_today == D("-300.5")  # the buy's fee too
    for reset in (Guard.objects.all(), RiskAccount.objects.filter(client=desk)):
        reset.update(trades_since=now + timedelta(seconds=1))
        assert read_book(desk.id).realised_today == 0
        assert read_book(desk.id).results == ()
        reset.update(trades_since=None)
    Fill.objects.update(time=now - timedelta(days=1))
    assert read_book(desk.id).realised_today == 0
    assert read_book(desk.id).results == (D(-300),)


@pytest.mark.parametrize("what", ["dial", "hours", "holiday", "book", "guard"])
def test_a_state_that_cannot_be_read_refuses(desk: Client, settings: Settings, what: str) -> None:  # noqa: F811
    book = replace(BOOK, read=unreadable) if what == "book" else BOOK
    if what == "dial":
        ChangedSetting.objects.create(name="QT_MAX_DAILY_LOSS", value="a lot", changed_by="x")
    elif what == "hours":
        settings.QT_MARKET_HOURS = "sometimes"
    elif what == "holiday":
        settings.QT_MARKET_HOLIDAYS = ["Christmas"]
    elif what == "guard":
        Guard.objects.all().delete()
    proposal = Proposal("AAA", Side.SELL, D(1), D(100), D(100), bid=D(100), ask=D(100))
    with transaction.atomic():
        answer = risk.review(desk.id, "x", proposal, book=book)
    assert isinstance(answer, risk.Refusal)
    assert answer.limit == ("guard" if what == "guard" else "state")
    assert answer.breach.limit_value and answer.breach.order_value == "sell 1 AAA"
    assert not Reservation.objects.exists()
    assert RiskDecision.objects.get().limit == answer.limit
    assert AuditEntry.objects.filter(client_id=desk.id, action="risk.refused").count() == 1


@pytest.mark.parametrize("table", ["risk_guard", "risk_accounts", "risk_reservations", "client_parameters", "trades"])
def test_a_table_that_cannot_be_read_lets_nothing_pass(desk: Client, table: str) -> None:  # noqa: F811
    def rename(before: str, after: str) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE NONE")
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename(table, "away")
    try:
        with pytest.raises(DatabaseError):
            intend(desk, buy())
    finally:
        rename("away", table)
    assert not Order.objects.exists()
    assert not Reservation.objects.exists()


def test_a_client_s_own_limits_hold_in_its_reviews(desk: Client) -> None:  # noqa: F811
    make_market({"CCC": (100, 100)})
    traded(desk, buy("2"))
    parameters.change(desk.id, {"max_open_legs": 1, "max_net_delta": "250"}, by="ann")
    assert refused(intend(desk, buy("1", symbol="CCC"))[0]) == "QT_MAX_NET_DELTA"
    assert refused(intend(desk, buy("0.1", symbol="CCC"))[0]) == "QT_MAX_OPEN_LEGS"
    assert intend(desk, sell("2"))[0].state == OrderState.INTENDED
    parameters.change(desk.id, {"market_hours": "UTC mon 00:00-00:01"}, by="ann")
    assert refused(intend(desk, sell("1"))[0]) == "QT_MARKET_HOURS"


@pytest.mark.parametrize("limit", ["QT_MAX_GROSS_EXPOSURE", "QT_MAX_NET_DELTA"])
def test_no_money_moves_by_what_others_were_worth_long_ago(
    desk: Client,  # noqa: F811
    settings: Settings,
    limit: str,
) -> None:
    """AAA's newest candle ended seven days and a while ago: only what closes a position passes, also of AAA."""
    traded(desk, buy("2"))
    traded(desk, buy("2", symbol="BBB", price="50"))
    Candle.objects.filter(symbol="AAA").update(time=F("time") - timedelta(days=6))
    assert intend(desk, buy("1", symbol="BBB", price="50"))[0].state == OrderState.INTENDED, "no limit looks at others"
    setattr(settings, limit, D(100_000))
    assert intend(desk, buy("1", symbol="BBB", price="50"))[0].state == OrderState.INTENDED, "it is recent enough"
    Candle.objects.filter(symbol="AAA").update(time=F("time") - timedelta(days=1, minutes=1))
    (order,) = intend(desk, buy("1", symbol="BBB", price="50"))
    assert refused(order) == limit
    assert "ended in the last 7 days: AAA; run market-refresh" in order.reason
    for passes in (sell("1", symbol="BBB", price="50"), sell("1"), buy("1")):
        assert intend(desk, passes)[0].state == OrderState.INTENDED
    with transaction.atomic():
        (simulated,) = execution.intend(
            desk.id, uuid4(), [buy("1", symbol="BBB", price="50")], broker="paper", quotes={"BBB": quoted("BBB", D(50))}
        )
    assert simulated.state == OrderState.INTENDED
    Candle.objects.filter(symbol="AAA").delete()
    Reservation.objects.all().delete()
    assert refused(intend(desk, buy("1", symbol="BBB", price="50"))[0]) == limit
    assert intend(desk, sell("1", symbol="BBB", price="50"))[0].state == OrderState.INTENDED


@pytest.mark.parametrize("has_account", [True, False])
def test_who_waits_for_an_account_sees_what_its_holder_has_committed(desk: Client, has_account: bool) -> None:  # noqa: F811
    """The lock and the state go to the server in one message: the state must not be of the message's beginning."""
    if has_account:
        RiskAccount.objects.create(client=desk)
    order = Proposal("AAA", Side.BUY, D(3), D(100), D(100), bid=D(100), ask=D(100), is_autonomous=False)

    def another() -> list[state.Reserved]:
        try:
            with tenant_scope(desk.id), transaction.atomic():
                asking.append(_session())
                return list(state.locked(desk.id, BOOK).reserved)
        finally:
            connection.close()

    asking: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert isinstance(risk.review(desk.id, "first", order, book=BOOK), risk.ApprovedOrder)
            assert Reservation.objects.count() == 1
            second = pool.submit(another)
            until = time.monotonic() + 20
            while not (asking and _waits(asking[0])):
                assert not second.done() and time.monotonic() < until
                time.sleep(0.01)
        found = second.result(timeout=20)
    assert [(row.symbol, row.buys) for row in found] == [("AAA", D(3))]


def _session() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _waits(session: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [session])
        return bool(cursor.fetchone()[0])
