"""What is made of the wire of Interactive Brokers: symbols, books, greeks, pacing, order ids, the line to workers."""

import asyncio
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import redis
from django.core import signing
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trading.brokers.adapters.ibkr import broker, channel, forms, symbols
from trading.brokers.adapters.ibkr.books import Books, number
from trading.brokers.adapters.ibkr.broker import IbkrBroker
from trading.brokers.adapters.ibkr.figures import sane_greeks
from trading.brokers.adapters.ibkr.login import IbkrCredentials, dumped, key_of
from trading.brokers.adapters.ibkr.pacing import HistoryPace
from trading.brokers.adapters.ibkr.store import Known, Lease, LeaseLost
from trading.brokers.adapters.ibkr.trader import Trader
from trading.brokers.base import (
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    OrderStatus,
    OutcomeUnknown,
    Side,
    Ticket,
)
from trading.brokers.instruments import Greeks, Instrument, Quote, Right
from trading.brokers.models import IbkrLogin, IbkrOrder
from trading.core.scope import platform_scope
from trading.tenants.models import Client


def contract(kind: str = "STK", symbol: str = "AAPL", **fields: Any) -> Any:
    values = {"lastTradeDateOrContractMonth": "", "strike": 0.0, "right": "", "tradingClass": "", "localSymbol": symbol}
    return SimpleNamespace(secType=kind, symbol=symbol, **{**values, **fields})


def order(perm_id: int = 1, ref: str = "qt-1", **fields: Any) -> Any:
    values = {
        "action": "BUY", "totalQuantity": 10.0, "orderType": "MKT", "lmtPrice": 0.0, "clientId": 7, "whatIf": False,
    }  # fmt: skip
    return SimpleNamespace(permId=perm_id, orderRef=ref, **{**values, **fields})


def told(status: str) -> Any:
    return SimpleNamespace(status=status)


def part(exec_id: str, shares: float, price: float, perm_id: int = 1, ref: str = "qt-1") -> Any:
    return SimpleNamespace(
        execId=exec_id, shares=shares, price=price, side="BOT", permId=perm_id, orderRef=ref,
        time=datetime(2026, 11, 20, 15, tzinfo=UTC),
    )  # fmt: skip


def cost(exec_id: str, amount: float) -> Any:
    return SimpleNamespace(execId=exec_id, commission=amount, currency="USD")


@pytest.mark.parametrize(
    ("symbol", "wire"),
    [
        ("AAPL", contract()),
        ("BRK.B", contract(symbol="BRK B")),
        ("IND-20270319", contract("FUT", "IND", lastTradeDateOrContractMonth="20270319 16:00:00 US/Eastern")),
        (
            "IND.EX1-20270319-4000.5-C",
            contract("FOP", "IND", lastTradeDateOrContractMonth="20270319", strike=4000.5, right="C",
                     tradingClass="EX1"),
        ),
        (
            "AAPL.AAPL-20270319-200-P",
            contract("OPT", "AAPL", lastTradeDateOrContractMonth="20270319", strike=200.0, right="P",
                     tradingClass="AAPL"),
        ),
    ],
)  # fmt: skip
def test_each_contract_has_one_symbol_that_means_it(symbol: str, wire: Any) -> None:
    assert symbols.write(wire) == symbol
    meaning = symbols.read(symbol)
    assert meaning.root == wire.symbol
    assert meaning.expiry == wire.lastTradeDateOrContractMonth[:8]
    assert (meaning.right, meaning.trading_class) == (wire.right, wire.tradingClass)
    assert meaning.strike == (Decimal(str(wire.strike)) if wire.right else None)
    assert len(symbol) <= 32


@pytest.mark.parametrize("text", ["", "aapl", "IND-2027", "IND-20270319-C", "A" * 40, "IND-20270319-1-X", "A\0"])
def test_what_is_no_symbol(text: str) -> None:
    with pytest.raises(symbols.NoSymbol):
        symbols.read(text)
    with pytest.raises(symbols.NoSymbol):
        symbols.write(contract("CASH", "EUR"))


@given(st.decimals(min_value="0.000001", max_value="9999999", places=6))
def test_a_number_of_the_wire_keeps_its_digits(value: Decimal) -> None:
    if len(value.as_tuple().digits) <= 15:  # what a double holds, and more than a price has
        assert number(float(value)) == value


def test_what_the_wire_writes_for_no_value_is_none() -> None:
    for nothing in (None, sys.float_info.max, math.nan, math.inf):
        assert number(nothing) is None


def test_an_execution_counts_once_in_its_last_statement_and_with_its_fee() -> None:
    clock = [0.0]
    books = Books(clock=lambda: clock[0])
    books.open_order(5, contract(), order(), told("Filled"))
    (fact,) = books.facts.values()
    books.execution(-1, contract(), part("0000e0d5.01.01.01", 10, 200.01))
    books.execution(-1, contract(), part("0000e0d5.01.01.01", 10, 200.01))
    assert books.report(fact).executions == (), "its fee is not known"
    assert not books.is_told_whole(fact)
    books.commission(cost("0000e0d5.01.01.01", sys.float_info.max))
    assert not books.is_told_whole(fact), "the largest double means that it is not known yet"
    books.commission(cost("0000e0d5.01.01.01", 1.25))
    assert books.is_told_whole(fact)
    (done,) = books.report(fact).executions
    assert (done.quantity, done.price, done.fee, done.fee_asset) == (10, Decimal("200.01"), Decimal("1.25"), "USD")
    books.execution(-1, contract(), part("0000e0d5.01.01.02", 10, 199.5))
    books.execution(-1, contract(), part("0000e0d5.01.01.01", 10, 200.01))  # the first again, late
    (corrected,) = books.report(fact).executions
    assert (corrected.price, corrected.fee) == (Decimal("199.5"), Decimal("1.25"))
    assert corrected.execution_id == done.execution_id, "so that who has counted it does not count it again"


def test_a_fee_that_never_comes_does_not_hide_a_trade_for_ever() -> None:
    clock = [0.0]
    books = Books(clock=lambda: clock[0])
    books.open_order(5, contract(), order(), told("Filled"))
    books.execution(-1, contract(), part("0000e0d5.01.01.01", 10, 200.01))
    (fact,) = books.facts.values()
    clock[0] = 59.0
    assert books.report(fact).executions == ()
    clock[0] = 61.0
    assert [(done.quantity, done.fee) for done in books.report(fact).executions] == [(10, 0)]


def test_a_commission_that_comes_before_its_execution() -> None:
    books = Books()
    books.commission(cost("0000e0d5.01.01.01", 1.25))
    books.open_order(5, contract(), order(), told("Filled"))
    books.execution(-1, contract(), part("0000e0d5.01.01.01", 10, 200.01))
    (fact,) = books.facts.values()
    assert books.is_told_whole(fact)


@pytest.mark.parametrize(
    ("status", "traded", "refusal", "shown"),
    [
        ("PreSubmitted", False, "", OrderStatus.ACCEPTED),
        ("Submitted", False, "", OrderStatus.ACCEPTED),
        ("PendingCancel", True, "", OrderStatus.PARTIALLY_FILLED),
        ("Submitted", True, "", OrderStatus.PARTIALLY_FILLED),
        ("Filled", True, "", OrderStatus.FILLED),
        ("Cancelled", False, "", OrderStatus.CANCELLED),
        ("ApiCancelled", True, "", OrderStatus.CANCELLED),
        ("Inactive", False, "", OrderStatus.ACCEPTED),
        ("Inactive", False, "201: no", OrderStatus.REJECTED),
        ("Cancelled", False, "201: no", OrderStatus.REJECTED),
        ("Cancelled", True, "201: no", OrderStatus.CANCELLED),
    ],
)
def test_how_an_order_stands(status: str, traded: bool, refusal: str, shown: OrderStatus) -> None:
    books = Books()
    books.open_order(5, contract(), order(orderType="LMT", lmtPrice=150.0), told(status))
    (fact,) = books.facts.values()
    fact.refusal = refusal
    if traded:
        books.execution(-1, contract(), part("0000e0d5.01.01.01", 4, 200.01))
        books.commission(cost("0000e0d5.01.01.01", 1.0))
    report = books.report(fact)
    assert (report.status, report.limit_price, report.symbol) == (shown, 150, "AAPL")


def test_what_the_venue_tells_no_more_is_let_go_of_when_it_has_ended() -> None:
    clock = [0.0]
    books = Books(clock=lambda: clock[0])
    for perm_id, status in ((1, "Filled"), (2, "Submitted"), (3, "Filled")):
        books.open_order(perm_id, contract(), order(perm_id, f"qt-{perm_id}"), told(status))
        books.execution(-1, contract(), part(f"0000e0d5.{perm_id:02d}.01.01", 10, 200.01, perm_id, f"qt-{perm_id}"))
        books.commission(cost(f"0000e0d5.{perm_id:02d}.01.01", 1.0))
    clock[0] = 2 * 86_400.0
    books.completed_order(contract(), order(3, "qt-3"), told("Filled"))
    clock[0] += 1
    books.forget_what_is_long_over()
    assert [books.by_ref(f"qt-{number}") is not None for number in (1, 2, 3)] == [False, True, True]
    assert sorted(books.parts) == ["0000e0d5.02.01", "0000e0d5.03.01"]
    assert all(books.is_told_whole(fact) for fact in books.facts.values())


@pytest.mark.parametrize(
    ("claimed", "kind", "code"),
    [(timedelta(hours=1), BrokerUnavailable, "not_shown"), (timedelta(hours=11), BrokerRefused, "out_of_reach")],
)
def test_an_order_of_yesterday_that_is_shown_no_more_does_not_silence_the_account(
    claimed: timedelta, kind: type[BrokerError], code: str
) -> None:
    """It is 10:00 in New York. Who asks for all orders goes on after a refusal, and ends at a venue that is away."""
    now = datetime(2026, 11, 20, 15, tzinfo=UTC)
    books = Books()
    books.open_order(3, contract(), order(), told("Submitted"))
    books.shown_open.clear()

    async def refresh() -> None: ...

    async def stored(read: Callable[[], Any]) -> Any:
        return read()

    link = cast("Any", SimpleNamespace(refresh=refresh))
    lease = cast("Any", SimpleNamespace(known=lambda ref: Known(3, now - claimed, "")))
    trader = Trader(link, books, cast("Any", None), lease, stored, lambda: now)
    with pytest.raises(kind) as error:
        asyncio.run(trader.order("qt-1"))
    assert error.value.code == code


def test_the_orders_of_another_account_are_not_ours() -> None:
    books = Books(account="DU1")
    books.open_order(1, contract(), order(1, account="DU2"), told("Submitted"))
    mine = part("0000e0d5.01.01.01", 10, 200.01)
    mine.acctNumber = "DU2"
    books.execution(-1, contract(), mine)
    assert (books.facts, books.parts) == ({}, {})
    books.open_order(2, contract(), order(2, account="DU1"), told("Submitted"))
    mine.acctNumber = "DU1"
    books.execution(-1, contract(), mine)
    assert len(books.facts) == len(books.parts) == 1


def test_what_has_ended_does_not_begin_again() -> None:
    books = Books()
    books.open_order(5, contract(), order(), told("Submitted"))
    books.order_status(5, "Filled", 10.0, 0.0, 200.0, 1)
    books.order_status(5, "Submitted", 0.0, 10.0, 0.0, 1)
    books.open_order(5, contract(), order(), told("Submitted"))
    (fact,) = books.facts.values()
    assert fact.status == "Filled"
    books.completed_order(contract(), order(perm_id=2, ref="qt-2"), told("Cancelled"))
    assert books.shown_ended == {2}
    assert books.facts[2].order_id == 0, "the list of completed orders does not tell it"


CALL = Instrument("X", "USD", Decimal(1), Decimal("0.25"), expiry=date(2027, 11, 21), right=Right.CALL)
NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)


def test_greeks_as_the_model_tells_them_with_rho_by_the_identity() -> None:
    """Black (1976) and Black-Scholes, without a rate: d1 = 0.1 at S = K, volatility 0.2 and one year."""
    normal = math.erf(0.1 / math.sqrt(2)) / 2 + 0.5
    delta, price = normal, 100 * (2 * normal - 1)
    figures = (0.2, delta, price, 0.0198, 0.397, -0.0109, 100.0)
    greeks = sane_greeks(CALL, figures, on_future=True, now=NOW)
    assert greeks is not None
    assert float(greeks.delta) == pytest.approx(0.53983, abs=1e-5)
    assert float(greeks.rho) == pytest.approx(-price / 100, abs=1e-7), "dV/dr = -T V"
    stock = sane_greeks(CALL, figures, on_future=False, now=NOW)
    assert stock is not None
    assert float(stock.rho) == pytest.approx(100 * (1 - normal) / 100, abs=1e-7), "K T N(d2), with d2 = -0.1"


GOOD = (0.2, 0.54, 7.97, 0.0198, 0.397, -0.0109, 100.0)


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("nothing", [sys.float_info.max, math.nan])
def test_one_missing_figure_denies_all_greeks(at: int, nothing: float) -> None:
    assert sane_greeks(CALL, GOOD, on_future=True, now=NOW) is not None
    assert sane_greeks(CALL, (*GOOD[:at], nothing, *GOOD[at + 1 :]), on_future=True, now=NOW) is None


@pytest.mark.parametrize(
    "figures",
    [(-1.0, *GOOD[1:]), (0.2, -2.0, *GOOD[2:]), (0.2, -0.5, *GOOD[2:]), (0.2, 0.54, -1.0, *GOOD[3:]),
     (*GOOD[:3], -2.0, *GOOD[4:]), (*GOOD[:4], -2.0, *GOOD[5:]), (*GOOD[:6], -1.0)],
)  # fmt: skip
def test_figures_that_cannot_be_deny_all_greeks(figures: tuple[float, ...]) -> None:
    assert sane_greeks(CALL, figures, on_future=True, now=NOW) is None


def test_history_is_asked_for_within_the_rules() -> None:
    clock = [0.0]
    pace = HistoryPace(lambda: clock[0])
    pace.take("AAPL", ("AAPL", "1 D"))
    with pytest.raises(BrokerUnavailable) as same:
        pace.take("AAPL", ("AAPL", "1 D"))
    assert (same.value.code, same.value.retry_after) == ("pacing", 15)
    for days in range(2, 6):
        pace.take("AAPL", ("AAPL", f"{days} D"))
    with pytest.raises(BrokerUnavailable):
        pace.take("AAPL", ("AAPL", "9 D"))
    clock[0] = 2.5
    pace.take("AAPL", ("AAPL", "9 D"))
    for other in range(54):
        clock[0] += 1
        pace.take(f"S{other}", (f"S{other}",))
    with pytest.raises(BrokerUnavailable) as full:
        pace.take("LAST", ("LAST",))
    assert full.value.retry_after == math.ceil(600 - clock[0])
    clock[0] = 600.0
    pace.take("LAST", ("LAST",))


@pytest.fixture
def client(transactional_db: None) -> Client:
    return Client.objects.create(name="Holder")


def lease(client: Client, login: str = "127.0.0.1:4002") -> Lease:
    return Lease(login, client.id, uuid4())


def test_one_process_at_a_time_holds_a_login(client: Client) -> None:
    first, second = lease(client), lease(client)
    assert first.keep(10)
    assert not second.keep(10)
    assert first.keep(10)
    with pytest.raises(LeaseLost):
        second.claim("qt-1", at_least=1)
    first.release()
    assert second.keep(10)
    assert not first.keep(10)
    with pytest.raises(LeaseLost):
        first.claim("qt-1", at_least=1)
    assert not IbkrOrder.objects.exists()


def test_a_lease_that_has_run_out_is_taken_over_and_the_late_one_is_fenced(client: Client) -> None:
    first, second = lease(client), lease(client)
    first.keep(0.2)
    time.sleep(0.3)
    assert second.keep(10)
    with pytest.raises(LeaseLost):
        first.claim("qt-1", at_least=1)
    assert second.claim("qt-1", at_least=1) == 1


def test_a_gateway_belongs_to_the_first_client(client: Client) -> None:
    mine, theirs = lease(client), lease(Client.objects.create(name="Neighbour"))
    assert mine.keep(0.1)
    mine.release()
    time.sleep(0.2)
    assert not theirs.keep(10), "whoever reaches a gateway trades on its account"
    assert theirs.is_anothers()
    assert not mine.is_anothers()
    IbkrLogin.objects.all().delete()
    assert theirs.keep(10)


def test_order_ids_go_up_whatever_the_gateway_says(client: Client) -> None:
    held = lease(client)
    held.keep(10)
    assert held.claim("qt-1", at_least=40) == 40
    assert held.claim("qt-2", at_least=1) == 41, "nextValidId has fallen back"
    assert held.claim("qt-3", at_least=90) == 90
    assert held.next_order_id() == 91
    assert held.claim("qt-2", at_least=99) is None, "once for ever"
    known = held.known("qt-2")
    assert known is not None
    assert known.order_id == 41
    held.unclaim("qt-3")
    assert held.claim("qt-3", at_least=1) == 91


def test_twenty_that_claim_one_order_at_once(client: Client) -> None:
    held = lease(client)
    held.keep(30)
    won: list[int | None] = []
    gate = threading.Barrier(20)

    @platform_scope()
    def claim() -> None:
        try:
            gate.wait()
            won.append(held.claim("qt-1", at_least=1))
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won, key=lambda value: value is None) == [1, *[None] * 19]
    assert IbkrOrder.objects.count() == 1


LOGIN = "test-login"


@pytest.fixture
def line() -> Any:
    channel.client().delete(channel.Keys(LOGIN).requests, channel.Keys(LOGIN).alive)
    yield
    channel.client().delete(channel.Keys(LOGIN).requests, channel.WANTED)


def call(**values: Any) -> Any:
    defaults = {"begin": 0.3, "answer": 0.3, "changes": True, "broker": "ibkr"}
    return channel.call(LOGIN, "place", {"a": 1}, **{**defaults, **values})


def test_a_request_that_nobody_took_is_taken_back(line: None) -> None:
    with pytest.raises(BrokerUnavailable) as error:
        call()
    assert error.value.code == "no_process"
    assert channel.client().llen(channel.Keys(LOGIN).requests) == 0


def test_a_login_that_is_being_tried_is_not_ended_by_the_questions_of_the_stored_one(line: None) -> None:
    """As the reconciliation of each minute has them; they are told to ask again, and do when the trial is over."""
    client_id = uuid4()
    stored, tried = (IbkrCredentials(host="localhost", client_id=number) for number in (1, 2))
    session, login = IbkrBroker(client_id, stored), key_of(client_id, tried)
    channel.claim(login, str(client_id), "trial", seconds=60)
    assert channel.want(login, str(client_id), dumped(tried))
    with pytest.raises(BrokerUnavailable) as error:
        session.balances()
    assert error.value.code == "other_login"
    assert channel.client().get(channel.CURRENT + str(client_id)) == login.encode()
    channel.settle(login, str(client_id), "another")
    assert not channel.want("stored", str(client_id), dumped(stored))
    channel.settle(login, str(client_id), "trial")
    assert channel.want("stored", str(client_id), dumped(stored))


def test_who_waits_for_a_process_keeps_its_place_and_leaves_it(line: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "START_SECONDS", 0.2)
    client_id = uuid4()
    starting: list[Any] = []
    monkeypatch.setattr(broker.time, "sleep", lambda _: starting.append(channel.client().get(place)))
    place = channel.STARTING + str(client_id)
    with pytest.raises(BrokerUnavailable) as error:
        IbkrBroker(client_id, IbkrCredentials(host="localhost")).balances()
    assert error.value.code == "no_process"
    assert all(starting)
    assert channel.client().get(place) is None


def served(answer: Callable[[channel.Request], str | None]) -> threading.Thread:
    def serve() -> None:
        taken = channel.client().blpop([channel.Keys(LOGIN).requests], timeout=2)
        assert taken is not None
        request = channel.read_request(taken[1])
        text = answer(request)
        if text is not None:
            channel.client().rpush(request.answers, text)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(("changes", "kind"), [(True, OutcomeUnknown), (False, BrokerUnavailable)])
def test_a_request_that_was_taken_and_not_answered(line: None, changes: bool, kind: type[BrokerError]) -> None:
    thread = served(lambda request: None)
    with pytest.raises(kind):
        call(changes=changes)
    thread.join()


def test_answers_and_errors_come_as_they_were(line: None) -> None:
    thread = served(lambda request: channel.success([request.operation, request.arguments]))
    assert call() == ["place", {"a": 1}]
    thread.join()
    sent = BrokerRefused("no", broker="ibkr", operation="place", code="x", context={"n": 1})
    thread = served(lambda request: channel.failure(sent))
    with pytest.raises(BrokerRefused) as error:
        call()
    thread.join()
    assert error.value.body() == sent.body()
    limited = BrokerUnavailable("later", broker="ibkr", operation="place", code="pacing", retry_after=1.5)
    thread = served(lambda request: channel.failure(limited))
    with pytest.raises(BrokerUnavailable) as later:
        call()
    thread.join()
    assert later.value.retry_after == 1.5


def test_what_is_not_signed_is_not_read() -> None:
    message = channel.pack({"number": "1", "operation": "place", "arguments": {}, "begin_by": 0})
    assert channel.read_request(message).operation == "place"
    for forged in (message[:-1] + ("A" if message[-1] != "A" else "B"), "e30:1:x", b"\xff\xfe"):
        with pytest.raises((signing.BadSignature, UnicodeDecodeError)):
            channel.read_request(forged)


def test_values_cross_the_line_whole() -> None:
    ticket = Ticket("qt-1", "AAPL", Side.BUY, Decimal("10.50"))
    assert forms.TICKET.validate_python(forms.plain(forms.TICKET, ticket)) == ticket
    quote = Quote("X", Decimal("1.10"), None, Decimal("1E+3"), NOW, greeks=Greeks(*[Decimal("0.1")] * 6))
    assert forms.QUOTE.validate_python(forms.plain(forms.QUOTE, quote)) == quote


SEED = {
    "host": "localhost",
    "port": 4002,
    "client_id": 1,
    "underlying_instrument": "IND",
    "underlying_expiry": "202603",
    "connect_retries": 3,
    "connect_backoff_seconds": 0.5,
    "exchange_overrides": {"YM": "CBOT"},
    "trading_class": "EX1",
    "multiplier": "50",
}


def test_credentials_as_people_already_send_them() -> None:
    credentials = IbkrCredentials.model_validate(SEED)
    assert credentials.exchange_overrides == {"YM": "CBOT"}
    one, other = key_of(UUID(int=1), credentials), key_of(UUID(int=2), credentials)
    assert one != other
    assert key_of(UUID(int=1), IbkrCredentials.model_validate({**SEED, "client_id": 2})) != one


@pytest.mark.parametrize(
    "change",
    [{"port": 0}, {"port": 70_000}, {"client_id": 0}, {"multiplier": "0"}, {"multiplier": "fifty"}, {"extra": 1},
     {"exchange_overrides": {"ym": "CBOT"}}, {"underlying_instrument": None}, {"connect_backoff_seconds": 0},
     {"connect_backoff_seconds": float("nan")}, {"underlying_expiry": "26-03"}, {"host": ""}],
)  # fmt: skip
def test_credentials_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IbkrCredentials.model_validate({**SEED, **change})


def test_a_worker_never_brings_in_the_library() -> None:
    """Opening a session must not import it: a worker's children would share its event loop with their parent."""
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings.test'\n"
        "import django; django.setup()\n"
        "from uuid import uuid4\n"
        "from trading.brokers import registry\n"
        "session = registry.open_session('ibkr', uuid4(), credentials={'host': '127.0.0.1'})\n"
        "session.close()\n"
        "import workers.gateway, workers.worker\n"
        "print([name for name in sys.modules if name.startswith(('ib_insync', 'ib_async', 'eventkit'))])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stderr


def test_the_day_of_a_symbol() -> None:
    assert symbols.expiry_date("20270319") == date(2027, 3, 19)
    assert symbols.expiry_date("202703") is None


def test_without_redis_nothing_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = redis.Redis(unix_socket_path="/nonexistent/valkey.sock", socket_connect_timeout=1)
    monkeypatch.setattr(channel, "client", lambda: nobody)
    with pytest.raises(BrokerUnavailable) as error:
        call()
    assert error.value.code == "no_redis"
