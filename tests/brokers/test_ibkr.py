"""Interactive Brokers over its wire, with the process of the login killed, stopped and cut off."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psutil
import pytest
import redis
from django.conf import settings
from django.db import connection

from tests.conformance.benches.ibkr import CLIENT_ID, IbkrBench, environment, gateways, venue
from tests.conformance.benches.ibkr import credentials as of_bench
from tests.conformance.orders import limit, market
from tests.venues.ibkr.process import PROJECT
from trading.brokers.adapters.ibkr import ADAPTER
from trading.brokers.adapters.ibkr.broker import IbkrBroker
from trading.brokers.adapters.ibkr.login import IbkrCredentials, key_of
from trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
    Side,
    Ticket,
)
from trading.brokers.instruments import Right
from trading.core.ids import uuid7
from trading.tenants.models import Client

pytestmark = pytest.mark.alone  # the answers of a login's process are waited for by the second

EXPIRY = date(2028, 3, 17)
CALL = "IND.EX1-20280317-4000-C"


@pytest.fixture
def bench(transactional_db: None, gateways_end: None) -> Iterator[IbkrBench]:
    """A gateway with an empty ledger, and a process that is connected to it."""
    made = IbkrBench()
    yield made
    venue().do("clear")
    made.close()


@pytest.fixture
def broker(bench: IbkrBench) -> Broker:
    return bench.open()


def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """What ``condition`` gives once it is true; errors of the venue count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except BrokerError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def login_process() -> psutil.Process:
    """The process that holds the bench's login."""
    key = key_of(CLIENT_ID, of_bench())
    (child,) = [child for child in psutil.Process(gateways().pid).children() if key in child.cmdline()]
    return child


def test_no_more_is_sent_in_a_second_than_the_gateway_bears(bench: IbkrBench, broker: Broker) -> None:
    """Each question for the account's figures is two messages, the second of which ends it."""
    for _ in range(60):
        assert broker.balances()


def test_order_id_does_not_fall_back_with_the_gateways(bench: IbkrBench, broker: Broker) -> None:
    first, second = market(bench), market(bench)
    broker.place(first)
    venue().do("next_id", client_id=7, value=1)
    venue().do("drop")
    report = eventually(lambda: broker.place(second))
    assert report.status is OrderStatus.FILLED
    (old,), (new,) = venue().orders(first.client_order_id), venue().orders(second.client_order_id)
    assert new["order_id"] > old["order_id"]


def test_a_client_id_that_lingers_is_waited_for_and_no_other_taken(bench: IbkrBench, broker: Broker) -> None:
    broker.balances()
    venue().do("linger", seconds=2)
    venue().do("drop")
    began = time.monotonic()
    report = eventually(lambda: broker.place(market(bench)))
    assert report.status is OrderStatus.FILLED
    assert time.monotonic() - began > 1.5
    assert venue().do("sessions") == [7]


@pytest.mark.parametrize(("down", "up"), [(1100, 1102), (1100, 1101), (2110, 1102)])
def test_nothing_is_sent_while_the_gateway_is_cut_off(bench: IbkrBench, broker: Broker, down: int, up: int) -> None:
    broker.balances()
    venue().do("notice", code=down, message="Connectivity has been lost")
    time.sleep(0.2)
    ticket = market(bench)
    with pytest.raises(BrokerUnavailable) as error:
        broker.place(ticket)
    assert (error.value.code, error.value.operation) == ("connectivity_lost", "place")
    assert bench.booked(ticket.client_order_id) == 0
    venue().do("notice", code=up, message="Connectivity has been restored")
    report = eventually(lambda: broker.place(ticket))
    assert report.status is OrderStatus.FILLED
    assert bench.booked(ticket.client_order_id) == 1


def test_a_connection_that_is_open_by_one_end_alone(bench: IbkrBench, broker: Broker) -> None:
    """The order lies in the socket of a gateway that has stopped reading: it is booked when that goes on."""
    broker.instrument(bench.symbol)  # so that the order goes out at once
    ticket = market(bench)
    venue().do("freeze")
    with pytest.raises(OutcomeUnknown):
        broker.place(ticket)
    with pytest.raises(BrokerError):
        broker.order(ticket.client_order_id, symbol=bench.symbol)
    venue().do("thaw")

    def filled() -> OrderReport | None:
        found = broker.order(ticket.client_order_id, symbol=bench.symbol)
        return found if found is not None and found.status is OrderStatus.FILLED else None

    report = eventually(filled)
    assert broker.place(ticket) == report
    assert bench.booked(ticket.client_order_id) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_login_process_that_is_killed_while_an_order_goes_out(bench: IbkrBench, broker: Broker, seed: int) -> None:
    broker.balances()
    ticket = market(bench)
    outcome: list[OrderReport | BrokerError] = []

    def place() -> None:
        try:
            outcome.append(broker.place(ticket))
        except BrokerError as error:
            outcome.append(error)

    thread = threading.Thread(target=place)
    thread.start()
    time.sleep(random.Random(seed).uniform(0, 0.06))
    login_process().kill()
    thread.join(timeout=60)
    (found,) = outcome
    eventually(lambda: broker.balances())
    taken = bench.booked(ticket.client_order_id)
    assert taken <= 1
    if isinstance(found, BrokerUnavailable):
        assert taken == 0
    elif isinstance(found, OutcomeUnknown):
        shown = broker.order(ticket.client_order_id, symbol=bench.symbol)
        assert (shown is not None) == (taken == 1)
    try:
        again = broker.place(ticket)
    except OutcomeUnknown:
        assert bench.booked(ticket.client_order_id) == 0, "written down, but not sent: it is not sent later either"
    else:
        assert again.status is OrderStatus.FILLED
        assert bench.booked(ticket.client_order_id) == 1


def test_redis_that_breaks_off_while_an_order_goes_out(bench: IbkrBench, broker: Broker) -> None:
    broker.place(market(bench))
    for seed in range(5):
        ticket = market(bench)
        cut = threading.Timer(random.Random(seed).uniform(0, 0.03), _cut_redis)
        cut.start()
        try:
            broker.place(ticket)
        except BrokerUnavailable:
            assert bench.booked(ticket.client_order_id) == 0
        except OutcomeUnknown:
            pass
        cut.join()
        eventually(lambda: broker.balances())
        shown = broker.order(ticket.client_order_id, symbol=bench.symbol)
        assert bench.booked(ticket.client_order_id) == (0 if shown is None else 1)


def _cut_redis() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as other:
        other.client_kill_filter(_type="normal", skipme=True)


def test_postgres_that_breaks_off_before_an_order_goes_out(bench: IbkrBench, broker: Broker) -> None:
    broker.place(market(bench))
    ticket = market(bench)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    try:
        report = broker.place(ticket)
    except BrokerUnavailable:
        assert bench.booked(ticket.client_order_id) == 0
        report = eventually(lambda: broker.place(ticket))
    except OutcomeUnknown:  # on a busy machine the answer may come too late to be heard
        assert bench.booked(ticket.client_order_id) <= 1
        return
    assert report.status is OrderStatus.FILLED
    assert bench.booked(ticket.client_order_id) == 1


def test_what_was_asked_for_too_long_ago_is_not_sent(bench: IbkrBench, broker: Broker) -> None:
    """A stopped process has taken the request, and goes on when the caller has given up, and trading was halted."""
    broker.balances()
    ticket = market(bench)
    process = login_process()
    process.suspend()
    try:
        with pytest.raises((OutcomeUnknown, BrokerUnavailable)):
            broker.place(ticket)
    finally:
        process.resume()
    eventually(lambda: broker.balances())
    time.sleep(1)
    assert bench.booked(ticket.client_order_id) == 0


def test_a_gateway_of_another_client_is_refused(bench: IbkrBench, broker: Broker) -> None:
    broker.place(market(bench))
    neighbour = Client.objects.create(name="Neighbour")
    theirs = ADAPTER.open(neighbour.id, IbkrCredentials(host="127.0.0.1", port=venue().port, client_id=8))
    with pytest.raises(BrokerRefused) as error:
        theirs.positions()
    assert (error.value.code, error.value.operation) == ("login_in_use", "positions")
    assert venue().do("sessions") == [7]


def test_a_host_that_is_not_listed_is_refused(bench: IbkrBench) -> None:
    other = ADAPTER.open(CLIENT_ID, IbkrCredentials(host="169.254.169.254", port=80, client_id=9))
    with pytest.raises(BrokerRefused) as error:
        other.balances()
    assert error.value.code == "host_refused"


def test_a_second_process_waits_for_the_lease(bench: IbkrBench, broker: Broker) -> None:
    broker.balances()
    other = subprocess.Popen([sys.executable, "-m", "workers.gateway"], cwd=PROJECT, env=environment())
    try:
        eventually(lambda: psutil.Process(other.pid).children(), 30)
        time.sleep(3)
        assert broker.place(market(bench)).status is OrderStatus.FILLED
        assert venue().do("sessions") == [7]
    finally:
        other.terminate()
        other.wait(timeout=20)


def test_options_on_a_future(bench: IbkrBench, broker: Broker) -> None:
    instrument = broker.instrument(CALL)
    assert (instrument.multiplier, instrument.strike, instrument.right) == (50, 4000, Right.CALL)
    assert (instrument.underlying, instrument.expiry, instrument.tick) == ("IND-20280317", EXPIRY, Decimal("0.25"))
    quote = broker.quote(CALL)
    assert quote.greeks is not None
    assert quote.greeks.volatility == Decimal("0.2")
    assert Decimal("0.5") < quote.greeks.delta < Decimal("0.6")
    report = broker.place(Ticket(f"qt-{uuid7().hex[:29]}", CALL, Side.SELL, Decimal(2)))
    assert (report.status, report.symbol, report.filled) == (OrderStatus.FILLED, CALL, 2)
    (part,) = report.executions
    assert part.fee == Decimal("2.84"), "1.42 a contract"
    (held,) = broker.positions()
    assert (held.symbol, held.quantity) == (CALL, -2)
    assert held.average_cost is not None
    assert abs(held.average_cost - part.price) < Decimal("0.1"), "per unit of the underlying, not per contract"


def test_a_month_is_no_contract_to_trade(bench: IbkrBench, broker: Broker) -> None:
    assert broker.instrument("IND-202803").symbol == "IND-20280317"
    report = broker.place(replace(market(bench), symbol="IND-202803", quantity=Decimal(1)))
    assert report.status is OrderStatus.REJECTED
    assert "IND-20280317" in report.reason
    with pytest.raises(BrokerRefused) as wrong:
        broker.instrument("YM-20280317")
    assert wrong.value.code == "unknown_symbol", "it trades at the CBOT: exchange_overrides"


def test_credentials_say_where_and_what(bench: IbkrBench) -> None:
    theirs = IbkrCredentials(
        host="127.0.0.1", port=venue().port, client_id=7, request_seconds=2, underlying_instrument="IND",
        underlying_expiry="202803", exchange_overrides={"YM": "CBOT"}, trading_class="EX1", multiplier="50",
    )  # fmt: skip
    assert bench.open().balances()
    session = ADAPTER.open(CLIENT_ID, theirs)  # as after a change: the older process makes room
    assert eventually(lambda: session.instrument("YM-20280317")).multiplier == 5
    chain = session.chain("IND")
    assert (chain.underlying, chain.expiry, chain.future.symbol) == ("IND-20280317", EXPIRY, "IND-20280317")
    assert len(chain.options) == 22
    assert {row.instrument.strike for row in chain.options} == {Decimal(3875 + 25 * step) for step in range(11)}
    greeks = [row.quote.greeks for row in chain.options if row.instrument.right == "call"]
    deltas = [row.delta for row in greeks if row is not None]
    assert len(deltas) == 11
    assert deltas == sorted(deltas, reverse=True), "a call's delta falls with its strike"
    with pytest.raises(BrokerRefused) as error:
        session.chain("IND", expiry=EXPIRY + timedelta(days=1))
    assert error.value.code == "unknown_expiry"


@pytest.mark.parametrize("kind", ["no_greeks", "unset_greeks"])
def test_greeks_that_are_missing_are_none(bench: IbkrBench, broker: Broker, kind: str) -> None:
    venue().fault("market_data", kind)
    quote = broker.quote(CALL)
    assert quote.greeks is None
    assert quote.bid is not None


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (354, BrokerRefused, "market_data_not_subscribed"),
        (10168, BrokerRefused, "market_data_not_subscribed"),
        (10197, BrokerUnavailable, "market_data_competing_session"),
        (10167, BrokerRefused, "market_data_delayed"),
    ],
)
def test_prices_that_there_are_none_of(
    bench: IbkrBench, broker: Broker, code: int, kind: type[BrokerError], name: str
) -> None:
    venue().fault("market_data", "error", code=code)
    with pytest.raises(kind) as error:
        broker.quote("AAPL")
    assert error.value.code == name


def test_a_hint_is_no_refusal(bench: IbkrBench, broker: Broker) -> None:
    venue().fault("market_data", "error", code=10090)
    quote = broker.quote("AAPL")
    assert (quote.bid, quote.ask, quote.last) == (Decimal("199.99"), Decimal("200.01"), 200)


def test_history_within_the_rules(bench: IbkrBench) -> None:
    session = bench.open()
    assert isinstance(session, IbkrBroker)
    end = datetime.now(UTC).replace(microsecond=0)
    bars = session.bars("AAPL", end=end, span="5 D", size="1 day")
    assert len(bars) == 5
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert [bar.time for bar in bars] == sorted(bar.time for bar in bars)
    with pytest.raises(BrokerUnavailable) as again:
        session.bars("AAPL", end=end, span="5 D", size="1 day")
    assert again.value.code == "pacing"
    assert again.value.retry_after is not None
    assert 10 < again.value.retry_after <= 15


def test_an_order_by_hand_is_seen_and_left_alone(bench: IbkrBench, broker: Broker) -> None:
    venue().do("manual", symbol="AAPL", action="BUY", quantity=5, price=150)
    (report,) = broker.open_orders()
    assert (report.client_order_id, report.symbol, report.quantity) == ("", "AAPL", 5)
    venue().do("manual", symbol="AAPL", action="BUY", quantity=3, price=210)
    fills = broker.fills(datetime.now(UTC) - timedelta(minutes=1), symbols=[])
    assert [fill.execution.quantity for fill in fills if not fill.client_order_id] == [3]


def test_executions_of_an_earlier_day_are_not_called_none(bench: IbkrBench, broker: Broker) -> None:
    with pytest.raises(BrokerRefused) as error:
        broker.fills(datetime.now(UTC) - timedelta(days=2), symbols=[])
    assert error.value.code == "out_of_reach"
    assert "earliest" in error.value.context


def test_a_refusal_stays_one(bench: IbkrBench, broker: Broker) -> None:
    venue().fault("place", "reject", message="Order rejected - reason:no margin")
    ticket = market(bench)
    report = broker.place(ticket)
    assert (report.status, report.reason) == (OrderStatus.REJECTED, "201: Order rejected - reason:no margin")
    assert broker.place(ticket).status is OrderStatus.REJECTED
    found = broker.order(ticket.client_order_id, symbol=bench.symbol)
    assert found is not None
    assert found.status is OrderStatus.REJECTED
    assert bench.booked(ticket.client_order_id) == 0


def test_a_price_between_two_ticks_is_refused_by_the_venue(bench: IbkrBench, broker: Broker) -> None:
    report = broker.place(limit(bench, Decimal("150.001")))
    assert report.status is OrderStatus.REJECTED
    assert report.reason.startswith("110:")


def test_a_commission_that_comes_late_and_one_that_comes_when_asked(bench: IbkrBench, broker: Broker) -> None:
    venue().fault("place", "late_commission", seconds=0.5)
    (part,) = broker.place(market(bench)).executions
    assert part.fee == 1
    venue().fault("place", "no_commission")
    ticket = market(bench)
    report = broker.place(ticket)
    assert (report.status, report.executions) == (OrderStatus.FILLED, ()), "it owes its execution, with its fee"
    found = broker.order(ticket.client_order_id, symbol=bench.symbol)
    assert found is not None
    assert [part.fee for part in found.executions] == [1]


def test_an_execution_told_twice_and_then_corrected(bench: IbkrBench, broker: Broker) -> None:
    venue().fault("place", "duplicate_execution")
    assert broker.place(market(bench)).filled == bench.quantity
    venue().fault("place", "correct", price=199.5)
    ticket = market(bench)
    (first,) = broker.place(ticket).executions

    def corrected() -> bool:
        found = broker.order(ticket.client_order_id, symbol=bench.symbol)
        assert found is not None
        (part,) = found.executions
        assert part.execution_id == first.execution_id
        return part.price == Decimal("199.5")

    eventually(corrected)


def test_a_cancel_that_came_too_late(bench: IbkrBench, broker: Broker) -> None:
    ticket = limit(bench, bench.far_bid)
    broker.place(ticket)
    (order,) = venue().orders(ticket.client_order_id)
    venue().fault("cancel", "ignore")
    filler = threading.Timer(0.2, lambda: venue().do("fill", perm_id=order["perm_id"], quantity=10, price=150))
    filler.start()
    report = broker.cancel(ticket.client_order_id, symbol=bench.symbol)
    filler.join()
    assert (report.status, report.filled) == (OrderStatus.FILLED, 10)


def test_a_cancel_that_nobody_carried_out_is_unknown(bench: IbkrBench, broker: Broker) -> None:
    ticket = limit(bench, bench.far_bid)
    broker.place(ticket)
    venue().fault("cancel", "ignore")
    with pytest.raises(OutcomeUnknown) as error:
        broker.cancel(ticket.client_order_id, symbol=bench.symbol)
    assert error.value.operation == "cancel"
    assert broker.cancel(ticket.client_order_id, symbol=bench.symbol).status is OrderStatus.CANCELLED


def test_quotes_stream_as_they_change_until_the_line_breaks(bench: IbkrBench, broker: Broker) -> None:
    stream = broker.stream(["AAPL", CALL])
    seen = {(quote := next(stream)).symbol: quote for _ in range(2)}
    assert set(seen) == {"AAPL", CALL}
    assert seen[CALL].greeks is not None
    venue().do("price", symbol="AAPL", price=201)
    try:
        quote = next(stream)
        while quote.last != 201:
            quote = next(stream)
        assert (quote.bid, quote.ask) == (Decimal("200.99"), Decimal("201.01"))
        venue().do("lose_subscriptions")
        venue().do("notice", code=1101, message="Connectivity restored - data lost")
        with pytest.raises(BrokerUnavailable):
            for _ in range(200):
                next(stream)
    finally:
        venue().do("price", symbol="AAPL", price=200)


def test_greeks_that_are_not_told_anew_are_none_after_a_while(bench: IbkrBench, broker: Broker) -> None:
    venue().fault("market_data", "greeks_once")
    stream = broker.stream([CALL])
    assert next(stream).greeks is not None
    later = threading.Timer(16, lambda: venue().do("price", symbol="INDH8", price=4010))
    later.start()
    try:
        quote = next(stream)
        assert quote.bid is not None
        assert quote.greeks is None, "the prices are new, the greeks are those of before"
    finally:
        later.join()
        venue().do("price", symbol="INDH8", price=4000)


def test_the_library_chosen_is_the_only_one_there() -> None:
    """Both bring an event package of the same name, and the later installed overwrites the other's."""
    code = "import importlib.util as u; print([n for n in ('ib_insync', 'ib_async') if u.find_spec(n)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "['ib_insync']"


def test_what_ends_with_the_supervisor(bench: IbkrBench, broker: Broker) -> None:
    broker.balances()
    other = subprocess.Popen([sys.executable, "-m", "workers.gateway"], cwd=PROJECT, env=environment())
    children = eventually(lambda: psutil.Process(other.pid).children(), 30)
    os.kill(other.pid, signal.SIGKILL)
    other.wait(timeout=10)
    eventually(lambda: not any(_is_living(child) for child in children), 30)


def _is_living(process: psutil.Process) -> bool:
    """Whether it runs; where nobody reaps orphans, a dead one stays a zombie."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
