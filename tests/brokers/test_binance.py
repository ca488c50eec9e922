"""Binance: within its filters whatever is asked, by its clock, within its limits, against its protocol on loopback."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from tests.venues.binance import rules as venue_rules
from tests.venues.process import VenueProcess
from tests.venues.server import Rejection
from trading.brokers.adapters.binance import session as binance
from trading.brokers.adapters.binance.answers import execution
from trading.brokers.adapters.binance.filters import Breach, Rules
from trading.brokers.base import (
    Broker,
    BrokerUnavailable,
    Execution,
    OrderReport,
    OrderStatus,
    OrderType,
    OutcomeUnknown,
    Side,
    Ticket,
    TimeInForce,
)
from trading.brokers.lists import PartlyUnreadable
from trading.brokers.registry import open_session
from trading.core.ids import uuid7

SYMBOL = "BTCUSDT"


def _ticket(quantity: str = "0.1", limit: str | None = None, side: Side = Side.BUY, symbol: str = SYMBOL) -> Ticket:
    ticket = Ticket(f"qt-{uuid7().hex[:29]}", symbol, side, Decimal(quantity))
    if limit is None:
        return ticket
    return replace(ticket, order_type=OrderType.LIMIT, limit_price=Decimal(limit), time_in_force=TimeInForce.GTC)


@pytest.fixture
def venue(transactional_db: None, tmp_path: Path, settings: Settings) -> Iterator[VenueProcess]:
    process = VenueProcess("binance", tmp_path / "ledger.sqlite")
    settings.QT_EXECUTION_BINANCE_URL, settings.QT_BROKER_TIMEOUT_SECONDS = process.url, 5.0
    yield process
    process.close()


@pytest.fixture
def broker(venue: VenueProcess) -> Iterator[Broker]:
    credentials = {"api_key": "test-key", "api_secret": "test-secret"}
    with open_session("binance", uuid7(), credentials=credentials) as session:
        yield session


def _orders(venue: VenueProcess) -> list[dict[str, Any]]:
    return venue.ledger("SELECT * FROM orders ORDER BY order_id")


# --- Filters ---------------------------------------------------------------------------------------------------------

SYMBOLS = {name: Rules.read(symbol.info()) for name, symbol in venue_rules.SYMBOLS.items()}
AVERAGES = {"BTCUSDT": "60000.005", "ETHUSDT": "3000.005", "SOLUSDT": "150.005", "ETHBTC": "0.050005"}


def _fit(ticket: Ticket) -> Ticket:
    return SYMBOLS[ticket.symbol].fit(ticket, lambda: Decimal(AVERAGES[ticket.symbol]))


def test_quantities_go_down_to_the_lot_and_limits_to_the_tick_that_is_no_worse() -> None:
    assert _fit(_ticket("0.123456789")).quantity == Decimal("0.12345")
    assert _fit(_ticket("1.23456", symbol="ETHUSDT")).quantity == Decimal("1.234"), "market orders have a coarser step"
    assert _fit(_ticket("1.23456", "3000", symbol="ETHUSDT")).quantity == Decimal("1.2345")
    assert _fit(_ticket("0.1", "59999.999")).limit_price == Decimal("59999.99")
    assert _fit(_ticket("0.1", "59999.991", side=Side.SELL)).limit_price == Decimal("60000")
    assert _fit(_ticket("0.1", "59999.99", side=Side.SELL)).limit_price == Decimal("59999.99")


@pytest.mark.parametrize(
    ("quantity", "limit", "filter_name"),
    [
        ("0.000009", None, "LOT_SIZE"),
        ("9000.00001", "60000", "LOT_SIZE"),
        ("80.00001", None, "MARKET_LOT_SIZE"),
        ("0.00008", None, "NOTIONAL"),
        ("0.00009", "55000", "NOTIONAL"),
        ("151", "60000", "NOTIONAL"),
        ("1", "0.001", "PRICE_FILTER"),
        ("1", "1000000.01", "PRICE_FILTER"),
        ("1", "12000", "PERCENT_PRICE_BY_SIDE"),
        ("1", "300000.03", "PERCENT_PRICE_BY_SIDE"),
    ],
)
def test_what_breaks_a_filter_is_told_by_its_name(quantity: str, limit: str | None, filter_name: str) -> None:
    with pytest.raises(Breach, match=f"^{filter_name}:"):
        _fit(_ticket(quantity, limit))


@given(
    symbol=st.sampled_from(sorted(SYMBOLS)),
    side=st.sampled_from(Side),
    quantity=st.decimals("0.00000001", "20000", allow_nan=False),
    factor=st.none() | st.decimals("0.1", "6", places=9),
)
def test_what_is_sent_is_never_refused_for_a_filter(
    symbol: str, side: Side, quantity: Decimal, factor: Decimal | None
) -> None:
    average = Decimal(AVERAGES[symbol])
    limit = None if factor is None else str(average * factor)
    try:
        fitted = _fit(_ticket(str(quantity), limit, side, symbol))
    except Breach:
        return
    assert fitted.quantity <= quantity
    wire = {"quantity": f"{fitted.quantity.normalize():f}"}
    if fitted.limit_price is not None and limit is not None:
        assert side.sign * (fitted.limit_price - Decimal(limit)) <= 0
        wire["price"] = f"{fitted.limit_price.normalize():f}"
    try:
        numbers = {name: venue_rules.number(wire, name) for name in wire}
        venue_rules.check_filters(
            venue_rules.SYMBOLS[symbol],
            side=side.upper(),
            price=numbers.get("price"),
            quantity=numbers["quantity"],
            average=average,
        )
    except Rejection as rejection:
        pytest.fail(str(rejection))


def test_the_old_names_of_filters_are_read_too() -> None:
    row = venue_rules.SYMBOLS[SYMBOL].info()
    new = {"NOTIONAL", "PERCENT_PRICE_BY_SIDE"}
    row["filters"] = [entry for entry in row["filters"] if entry["filterType"] not in new] + [
        {"filterType": "MIN_NOTIONAL", "minNotional": "7.0", "applyToMarket": True, "avgPriceMins": 5},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1", "multiplierDown": "0.9", "avgPriceMins": 5},
    ]
    rules = Rules.read(row)
    for ticket in (_ticket("0.0001", "60000"), _ticket("0.0001")):
        with pytest.raises(Breach, match=r"below 7\.0"):
            rules.fit(ticket, lambda: Decimal(60_000))
    with pytest.raises(Breach, match="PERCENT_PRICE"):
        rules.fit(_ticket("1", "66001"), lambda: Decimal(60_000))


# --- Clock -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-3_600_000, 3_600_000])
def test_requests_are_timed_by_the_venues_clock(venue: VenueProcess, broker: Broker, offset: int) -> None:
    venue.tell("/clock", offset=offset)
    assert broker.place(_ticket()).status is OrderStatus.FILLED
    venue.tell("/clock", offset=0)  # it jumps: the request is refused for its time, and is timed anew
    ticket = _ticket()
    assert broker.place(ticket).status is OrderStatus.FILLED
    assert [row["client_order_id"] for row in _orders(venue)].count(ticket.client_order_id) == 1


def test_a_clock_that_is_refused_again_is_not_asked_for_ever(venue: VenueProcess, broker: Broker) -> None:
    body = {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
    venue.fault(method="POST", path="/api/v3/order", process="never", answer="status", status=400, body=body, times=9)
    report = broker.place(_ticket())
    assert (report.status, _orders(venue)) == (OrderStatus.REJECTED, [])
    assert "-1021" in report.reason


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_a_ban_is_waited_out_by_all(venue: VenueProcess, broker: Broker) -> None:
    body = {"code": -1003, "msg": "Way too much request weight used; IP banned until 1."}
    venue.fault(
        method="GET", path="/api/v3/account", process="never", answer="status", status=418, body=body,
        headers={"Retry-After": "120"},
    )  # fmt: skip
    with pytest.raises(BrokerUnavailable) as banned:
        broker.balances()
    assert (banned.value.code, banned.value.retry_after) == ("418", 120)
    credentials = {"api_key": "test-key", "api_secret": "test-secret"}
    with (
        open_session("binance", uuid7(), credentials=credentials) as another,
        pytest.raises(BrokerUnavailable) as not_asked,
    ):
        another.place(_ticket())
    assert not_asked.value.code == "throttled"
    assert not_asked.value.retry_after == pytest.approx(120, abs=5)
    assert _orders(venue) == []


def test_too_many_orders_stop_orders_and_nothing_else(venue: VenueProcess, broker: Broker) -> None:
    venue.tell("/limits", orders_per_10_seconds=1)
    assert broker.place(_ticket()).status is OrderStatus.FILLED
    for code in ("429", "throttled"):
        with pytest.raises(BrokerUnavailable) as limited:
            broker.place(_ticket())
        assert limited.value.code == code
    assert broker.open_orders() == ()
    assert len(_orders(venue)) == 1


def test_weight_that_others_used_is_counted(venue: VenueProcess, broker: Broker) -> None:
    quote = {"symbol": SYMBOL, "bidPrice": "1", "bidQty": "1", "askPrice": "2", "askQty": "1"}
    venue.fault(
        method="GET", path="/api/v3/ticker/bookTicker", answer="status", status=200, body=quote,
        headers={"X-MBX-USED-WEIGHT-1M": "5999"},
    )  # fmt: skip
    assert broker.quote(SYMBOL).ask == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT tokens FROM broker_budgets WHERE scope LIKE 'binance:%:weight'")
        assert cursor.fetchone()[0] <= 1


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_an_id_that_is_open_is_not_placed_again(venue: VenueProcess, broker: Broker) -> None:
    ticket = _ticket("0.1", "50000")
    first = broker.place(ticket)
    assert first.status is OrderStatus.ACCEPTED
    assert broker.place(ticket) == first
    assert len(_orders(venue)) == 1


def test_an_order_that_fills_before_it_is_cancelled_is_filled(venue: VenueProcess, broker: Broker) -> None:
    ticket = _ticket("0.1", "59000")
    broker.place(ticket)
    venue.tell("/market", symbol=SYMBOL, bids=[["58000", "1"]], asks=[["58000.01", "1"]])
    report = broker.cancel(ticket.client_order_id, symbol=SYMBOL)
    assert (report.status, report.executions[0].price) == (OrderStatus.FILLED, 59_000)


def test_an_order_is_not_believed_without_its_trades(venue: VenueProcess, broker: Broker) -> None:
    """They come from another server than the order, and may be behind it."""
    ticket = _ticket("0.35")
    report = broker.place(ticket)
    lists = [venue.ledger("SELECT * FROM trades WHERE 0"), [_shown(venue.ledger("SELECT * FROM trades")[0])]]
    for listed in lists:
        venue.fault(method="GET", path="/api/v3/myTrades", answer="status", status=200, body=listed)
        with pytest.raises(BrokerUnavailable):
            broker.order(ticket.client_order_id, symbol=SYMBOL)
    assert broker.order(ticket.client_order_id, symbol=SYMBOL) == report
    resting = _ticket("0.5", "59999")
    broker.place(resting)
    venue.tell("/market", symbol=SYMBOL, bids=[["58000", "1"]], asks=[["58000.01", "0.2"]])
    venue.fault(method="GET", path="/api/v3/myTrades", answer="status", status=200, body=[])
    with pytest.raises(OutcomeUnknown) as unknown:
        broker.cancel(resting.client_order_id, symbol=SYMBOL)
    assert unknown.value.operation == "cancel"
    ended = broker.cancel(resting.client_order_id, symbol=SYMBOL)
    assert (ended.status, ended.filled) == (OrderStatus.CANCELLED, Decimal("0.2"))


def _shown(trade: dict[str, Any]) -> dict[str, Any]:
    """A row of the ledger as the API lists it."""
    return {
        "symbol": trade["symbol"], "id": trade["id"], "orderId": trade["order_id"], "price": trade["price"],
        "qty": trade["quantity"], "commission": trade["commission"], "commissionAsset": trade["asset"],
        "time": trade["time"],
    }  # fmt: skip


def test_long_lists_are_read_to_their_end(venue: VenueProcess, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    tickets = [_ticket("0.25") for _ in range(4)]  # the first two of two trades each
    parts = [part for ticket in tickets for part in broker.place(ticket).executions]
    monkeypatch.setattr(binance, "PAGE", 2)
    found = broker.fills(since, symbols=[SYMBOL, "ETHUSDT"])
    assert [fill.execution for fill in found] == parts
    assert {fill.client_order_id for fill in found} == {ticket.client_order_id for ticket in tickets}


def test_an_order_of_more_trades_than_a_page_is_known_whole(
    venue: VenueProcess, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue.tell("/market", symbol=SYMBOL, bids=[["59000", "1"]], asks=[[f"{60_000 + n}", "0.1"] for n in range(5)])
    ticket = _ticket("0.5")
    placed = broker.place(ticket)
    assert len(placed.executions) == 5
    monkeypatch.setattr(binance, "PAGE", 2)
    assert broker.order(ticket.client_order_id, symbol=SYMBOL) == placed


def test_fees_are_told_in_the_account_currency() -> None:
    rules = SYMBOLS[SYMBOL]
    trade = {"id": 7, "price": "60000.01", "qty": "0.3", "commission": "0.00004", "commissionAsset": "BNB"}

    def worth(asset: str, amount: Decimal) -> Decimal:
        return amount * {"BNB": Decimal("600.5")}[asset]

    in_bnb = execution(rules, trade, 0, worth)
    assert (in_bnb.fee, in_bnb.fee_asset, in_bnb.fee_quantity) == (Decimal("0.02402"), "BNB", 0)
    in_base = execution(rules, {**trade, "commission": "0.0003", "commissionAsset": "BTC"}, 0, worth)
    assert (in_base.fee, in_base.fee_quantity) == (Decimal("18.000003"), Decimal("0.0003"))
    in_quote = execution(rules, {**trade, "commission": "18.000003", "commissionAsset": "USDT"}, 0, worth)
    assert (in_quote.fee, in_quote.fee_quantity) == (Decimal("18.000003"), 0)


@pytest.mark.parametrize("answer", [{"status": 400, "body": {"code": -1121, "msg": "Invalid symbol."}},
                                    {"status": 200, "body": {"symbol": "NEWUSDT", "price": "0.00000000"}}])  # fmt: skip
def test_a_fee_that_has_no_price_hides_no_trade(venue: VenueProcess, broker: Broker, answer: dict[str, object]) -> None:
    """It was bought at 60000.01 all the same; the fee is told in its own asset, and in money once there is a price."""
    since = datetime.now(UTC) - timedelta(minutes=1)
    ticket = _ticket("0.12345")
    own = broker.place(ticket)
    (trade,) = venue.ledger("SELECT * FROM trades")
    listed = [{**_shown(trade), "commission": "0.00012345", "commissionAsset": "NEW", "isBuyer": True}]

    def ask(ask: Callable[[], tuple[Execution, ...]]) -> Execution:
        venue.fault(method="GET", path="/api/v3/myTrades", answer="status", status=200, body=listed)
        venue.fault(method="GET", path="/api/v3/ticker/price", answer="status", **answer)
        (part,) = ask()
        return part

    asked = ask(lambda: _found(broker.order(ticket.client_order_id, symbol=SYMBOL)).executions)
    assert ask(lambda: tuple(one.execution for one in broker.fills(since, symbols=[SYMBOL]))) == asked
    assert (asked.quantity, asked.price) == (Decimal("0.12345"), own.executions[0].price)
    assert (asked.fee, asked.fee_asset) == (0, "NEW")
    assert (asked.fee_quantity, asked.fee_unvalued) == (0, Decimal("0.00012345"))
    answer = {"status": 200, "body": {"symbol": "NEWUSDT", "price": "2"}}
    priced = ask(lambda: _found(broker.order(ticket.client_order_id, symbol=SYMBOL)).executions)
    assert (priced.fee, priced.fee_unvalued) == (Decimal("0.00024690"), 0)
    answer = {"status": 503}
    with pytest.raises(BrokerUnavailable):
        ask(lambda: _found(broker.order(ticket.client_order_id, symbol=SYMBOL)).executions)


def test_a_row_that_cannot_be_read_hides_no_other(venue: VenueProcess, broker: Broker) -> None:
    resting = broker.place(_ticket("0.5", "59000"))
    (row,) = broker._line.signed("GET", "openOrders", "test")  # type: ignore[attr-defined]
    bad = [{**row, "orderId": 1, "status": "HELD"}, {**row, "orderId": 2, "symbol": "GONEUSDT"}, "none"]
    venue.fault(method="GET", path="/api/v3/openOrders", answer="status", status=200, body=[*bad, row])
    with pytest.raises(PartlyUnreadable, match="binance lists 4, of which 3 cannot be read: 1, 2, no row") as partly:
        broker.open_orders()
    assert partly.value.readable == (resting,)
    since = datetime.now(UTC) - timedelta(minutes=1)
    bought = broker.place(_ticket("0.12345"))
    shown = {**_shown(venue.ledger("SELECT * FROM trades")[0]), "isBuyer": True}
    listed = [{**shown, "qty": "0"}, shown]
    venue.fault(method="GET", path="/api/v3/myTrades", answer="status", status=200, body=listed)
    with pytest.raises(PartlyUnreadable, match="binance lists 2, of which 1 cannot be read") as partly:
        broker.fills(since, symbols=[SYMBOL])
    assert [one.execution for one in partly.value.readable] == list(bought.executions)


def _found(report: OrderReport | None) -> OrderReport:
    assert report is not None
    return report


def test_the_flag_and_the_url_choose_the_host(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    credentials = {"api_key": "test-key", "api_secret": "test-secret"}
    for is_testnet, host in ((True, "testnet.binance.vision"), (False, "api.binance.com")):
        settings.QT_EXECUTION_BINANCE_TESTNET = is_testnet
        with pytest.raises(BrokerUnavailable, match=f"^{host} could not be resolved"):
            open_session("binance", uuid7(), credentials=credentials)


def test_past_its_time_an_order_is_not_sent(broker: Broker, venue: VenueProcess) -> None:
    ticket = replace(_ticket(), send_by=datetime.now(UTC) - timedelta(milliseconds=1))
    with pytest.raises(BrokerUnavailable, match="time to send"):
        broker.place(ticket)
    assert venue.ledger("SELECT 1 FROM received") == []
    assert broker.place(replace(ticket, send_by=datetime.now(UTC) + timedelta(seconds=5))).status is OrderStatus.FILLED


def test_what_the_venue_refuses_for_its_age_is_not_sent_anew_past_its_time(broker: Broker, venue: VenueProcess) -> None:
    """A sender that is stopped for ten seconds between its look at the clock and the sending."""
    ticket = _ticket()
    broker.order(ticket.client_order_id, symbol=SYMBOL)  # the venue's clock is known from here on
    venue.tell("/clock", offset=10_000)
    line = broker._line  # type: ignore[attr-defined]
    began = line._clock()
    line._clock = chain([began, began], repeat(began + 10)).__next__
    with pytest.raises(BrokerUnavailable, match="time to send"):
        broker.place(replace(ticket, send_by=datetime.fromtimestamp(began + 5, UTC)))
    assert len(venue.ledger("SELECT 1 FROM received")) == 1
    assert venue.ledger("SELECT 1 FROM orders") == []
