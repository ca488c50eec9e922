"""From a recorded market to fills: market-refresh and execution-cycle on the bundled prices, checked from outside."""

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from statistics import median
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from pytest_django import Settings

from trading.brokers.adapters.paper import PaperBroker
from trading.brokers.base import BrokerUnavailable, OrderReport, OutcomeUnknown, Ticket
from trading.brokers.instruments import Instrument
from trading.brokers.models import PaperAccount, PaperHolding, PaperOrder
from trading.brokers.services import open_paper_account
from trading.execution import selectors
from trading.execution.models import Fill, Order, OrderState, PortfolioSnapshot, Position
from trading.jobs import runner, services
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.rehearsal import rehearse
from trading.jobs.states import FINAL, State
from trading.marketdata.models import Candle, Sentiment
from trading.risk.models import Guard, Reservation, RiskDecision
from trading.risk.switches import set_switches
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
CASH = Decimal(100_000)
Row = dict[str, str]


@pytest.fixture(autouse=True)
def _recorded_market(transactional_db: None, settings: Settings) -> Iterator[None]:
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    Guard.objects.get_or_create(id=1)
    settings.QT_MARKET_PROVIDER = "csv"
    settings.QT_CSV_BARS_PER_REFRESH = 1
    settings.QUANTUM_TRADER_SYMBOLS = SYMBOLS
    call_command("import_candles", str(settings.BUNDLED_CANDLES), until=date(2013, 2, 1), stdout=io.StringIO())
    yield
    cache.clear()


@pytest.fixture
def rows(settings: Settings) -> dict[str, list[Row]]:
    """The bundled file, read apart from the code that is tested."""
    found: dict[str, list[Row]] = defaultdict(list)
    with gzip.open(settings.BUNDLED_CANDLES, "rt") as text:
        for row in csv.DictReader(text):
            found[row["symbol"]].append(row)
    return found


@pytest.fixture
def desk() -> Client:
    client = Client.objects.create(name="Desk")
    open_paper_account(client.id, cash=CASH)
    return client


def _run(slug: str, client: Client | None = None) -> JobRun:
    """The whole chain, step by step, until it has ended or waits for a retry."""
    run = services.enqueue(slug, client_id=client.id if client else None).run
    return _go_on(run)


def _go_on(run: JobRun) -> JobRun:
    for _ in range(20):
        state = runner.execute(run.id, worker="test/hands", code_version="test")
        run.refresh_from_db()
        if state is None or state in (*FINAL, State.RETRYING):
            return run
    raise AssertionError(f"{run.job} does not end")


def _books_agree(client: Client) -> None:
    """Our positions, our fills, and the venue's own books say the same; cash went where the fills say."""
    fills = list(Fill.objects.filter(client=client))
    held: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        held[fill.symbol] += fill.quantity
    assert {row.symbol: row.quantity for row in Position.objects.filter(client=client)} == held
    venue = {row.symbol: row.quantity for row in PaperHolding.objects.filter(account_id=client.id) if row.quantity}
    assert venue == {symbol: quantity for symbol, quantity in held.items() if quantity}
    assert len(fills) == PaperOrder.objects.filter(account_id=client.id, filled_quantity__gt=0).count()
    paid = sum((Fraction(fill.quantity) * Fraction(fill.price) + Fraction(fill.fee) for fill in fills), Fraction(0))
    cash = Fraction(PaperAccount.objects.get(client=client).cash)
    assert abs(Fraction(CASH) - paid - cash) <= len(fills) * Fraction(1, 10**8)


def test_a_refresh_brings_the_next_day_of_every_symbol(rows: dict[str, list[Row]]) -> None:
    run = _run("market-refresh")
    assert (run.state, run.returned["candles"]["new"]) == (State.SUCCEEDED, dict.fromkeys(SYMBOLS, 1))
    for symbol in SYMBOLS:
        expected = next(row for row in rows[symbol] if row["time"] > "2013-02-01T99")
        bar = Candle.objects.filter(symbol=symbol).order_by("-time")[0]
        assert bar.time == datetime.fromisoformat(expected["time"]).replace(tzinfo=UTC)
        assert [str(value.normalize()) for value in (bar.open, bar.high, bar.low, bar.close)] == [
            str(Decimal(expected[name]).normalize()) for name in ("open", "high", "low", "close")
        ]
        assert Decimal(cache.get(f"quote:{symbol}")["price"]) == Decimal(expected["close"])
    assert Sentiment.objects.count() == len(SYMBOLS)
    before = Candle.objects.count()
    _run("market-refresh")
    assert Candle.objects.count() == before + len(SYMBOLS)


def test_the_market_ends_and_stays(settings: Settings) -> None:
    settings.QT_CSV_BARS_PER_REFRESH = 0
    _run("market-refresh")
    count = Candle.objects.count()
    run = _run("market-refresh")
    assert (run.state, run.returned["candles"]["new"]) == (State.SUCCEEDED, dict.fromkeys(SYMBOLS, 0))
    assert Candle.objects.count() == count


def test_a_cycle_turns_targets_into_fills(desk: Client, rows: dict[str, list[Row]]) -> None:
    run = _run("execution-cycle", desk)
    assert run.state == State.SUCCEEDED, run.error_message
    weights = _expected_weights(rows, "2013-02-01")
    assert {symbol: float(weight) for symbol, weight in run.returned["targets"]["weights"].items()} == {
        symbol: pytest.approx(float(weight), abs=0.0001) for symbol, weight in weights.items() if weight
    }
    orders = list(Order.objects.filter(run_id=run.id))
    assert {order.symbol for order in orders} == {symbol for symbol, weight in weights.items() if weight}
    assert {order.state for order in orders} == {OrderState.FILLED}
    assert all(900 < order.quantity * order.reference_price <= 1000 for order in orders)
    assert RiskDecision.objects.filter(approved=True).count() == len(orders)
    assert not Reservation.objects.exists()
    _books_agree(desk)
    kept = PortfolioSnapshot.objects.get(run_id=run.id)
    marks = {symbol: Decimal(_until(rows[symbol], "2013-02-01")[-1]["close"]) for symbol in SYMBOLS}
    worth = sum((row.quantity * marks[row.symbol] for row in Position.objects.all()), Decimal(0))
    assert kept.gross_exposure == worth.quantize(Decimal("1e-8"))
    assert selectors.gross_exposure(desk.id) == kept.gross_exposure
    assert run.returned["snapshot"]["gross_exposure"] == f"{kept.gross_exposure:.2f}"
    assert kept.equity == PaperAccount.objects.get().cash + kept.gross_exposure


def _until(bars: list[Row], day: str) -> list[Row]:
    return [row for row in bars if row["time"][:10] <= day]


def _expected_weights(rows: dict[str, list[Row]], day: str) -> dict[str, Fraction]:
    """Momentum of 66 bars without the last five, times liquidity's rank, none above 0.35; in fractions."""
    bars = {symbol: _until(rows[symbol], day)[-66:] for symbol in SYMBOLS}
    gains = {s: Fraction(found[60]["close"]) / Fraction(found[0]["close"]) - 1 for s, found in bars.items()}
    traded = {s: median(Fraction(r["close"]) * Fraction(r["volume"]) for r in found) for s, found in bars.items()}
    ranked = sorted(SYMBOLS, key=lambda symbol: traded[symbol])
    raw = {s: max(gains[s], Fraction(0)) * (ranked.index(s) + 1) for s in SYMBOLS}
    cap, capped = Fraction(35, 100), set[str]()
    while True:
        left = 1 - cap * len(capped)
        rest = sum((raw[s] for s in SYMBOLS if s not in capped), Fraction(0))
        weights = {s: cap if s in capped else left * raw[s] / rest if rest else Fraction(0) for s in SYMBOLS}
        over = {s for s in SYMBOLS if s not in capped and weights[s] > cap}
        if not over:
            return weights
        capped |= over


def test_days_of_trading_keep_the_books_in_step(desk: Client) -> None:
    for _ in range(6):
        assert _run("market-refresh").state == State.SUCCEEDED
        assert _run("execution-cycle", desk).state == State.SUCCEEDED
        _books_agree(desk)
    assert PortfolioSnapshot.objects.count() == 6
    assert not Order.objects.filter(finished_at=None).exists()


def _submit_with(monkeypatch: pytest.MonkeyPatch, faulty: Callable[[PaperBroker, Ticket], OrderReport]) -> None:
    monkeypatch.setattr(PaperBroker, "place", faulty)


def _lost(operation: str) -> OutcomeUnknown:
    return OutcomeUnknown("no answer", broker="paper", operation=operation, code="timeout")


def test_what_an_unanswered_order_bought_is_not_bought_again(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cycle's answers are all lost. The second learns them before it plans, and plans on top of them."""
    take = PaperBroker.place

    def lose_the_answer(broker: PaperBroker, ticket: Ticket) -> OrderReport:
        take(broker, ticket)
        raise _lost("submit")

    _submit_with(monkeypatch, lose_the_answer)
    first = _run("execution-cycle", desk)
    assert first.state == State.SUCCEEDED
    orders = Order.objects.filter(run_id=first.id)
    assert {order.state for order in orders} == {OrderState.UNKNOWN}
    assert Reservation.objects.count() == orders.count() > 0
    assert not Fill.objects.exists()
    _submit_with(monkeypatch, take)
    assert _run("execution-cycle", desk).state == State.SUCCEEDED
    assert {order.state for order in Order.objects.filter(run_id=first.id)} == {OrderState.FILLED}
    assert PaperOrder.objects.count() == Order.objects.count()
    _books_agree(desk)


def test_a_symbol_that_the_venue_is_silent_about_is_left_alone(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_all(broker: PaperBroker, ticket: Ticket) -> OrderReport:
        raise _lost("submit")

    _submit_with(monkeypatch, lose_all)
    first = _run("execution-cycle", desk)
    symbols = sorted(order.symbol for order in Order.objects.filter(run_id=first.id))

    def silent(broker: PaperBroker, client_order_id: str, *, symbol: str) -> OrderReport | None:
        raise _lost("find")

    monkeypatch.setattr(PaperBroker, "order", silent)
    second = _run("execution-cycle", desk)
    assert second.returned["risk"]["left_alone"] == symbols
    assert not Order.objects.filter(run_id=second.id).exists()
    assert Reservation.objects.count() == len(symbols)


def test_a_venue_that_is_down_is_tried_again_from_that_step(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    take, calls = PaperBroker.place, list[str]()

    def down_at_the_second(broker: PaperBroker, ticket: Ticket) -> OrderReport:
        calls.append(ticket.client_order_id)
        if len(calls) == 2:
            raise BrokerUnavailable("refused", broker="paper", operation="submit", code="down", retryable=True)
        return take(broker, ticket)

    _submit_with(monkeypatch, down_at_the_second)
    run = _run("execution-cycle", desk)
    assert (run.state, run.step) == (State.RETRYING, "orders")
    JobRun.objects.filter(id=run.id).update(scheduled_at=run.created_at)
    services.admit_due()
    run = _go_on(run)
    assert run.state == State.SUCCEEDED
    assert {order.state for order in Order.objects.all()} == {OrderState.FILLED}
    assert len(calls) == len(set(calls)) + 1
    assert PaperOrder.objects.count() == Order.objects.count()
    _books_agree(desk)


@pytest.mark.parametrize(
    "other", [{"multiplier": Decimal(50)}, {"expiry": date(2030, 12, 20)}, {"currency": "BTC"}], ids=str
)
def test_what_is_not_paid_in_full_in_the_account_s_money_is_left_alone(
    desk: Client, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    """A contract for 50 at 40 is worth 2,000, where 1,000 are allowed; what costs 40 BTC is worth far more."""
    listed = PaperBroker.instrument
    symbol = ""

    def instrument(self: PaperBroker, asked: str) -> Instrument:
        return replace(listed(self, asked), **other) if asked == symbol else listed(self, asked)

    monkeypatch.setattr(PaperBroker, "instrument", instrument)
    symbol = next(iter(_run("execution-cycle", _other_desk()).returned["targets"]["weights"]))
    run = _run("execution-cycle", desk)
    assert run.state == State.SUCCEEDED, run.error_message
    assert symbol in run.returned["targets"]["weights"]
    assert run.returned["risk"]["left_alone"] == [symbol]
    sent = set(Order.objects.filter(run_id=run.id).values_list("symbol", flat=True))
    assert sent == run.returned["targets"]["weights"].keys() - {symbol}


def _other_desk() -> Client:
    client = Client.objects.create(name="Other")
    open_paper_account(client.id, cash=CASH)
    return client


def test_under_a_halt_a_cycle_ends_with_refusals_that_say_so(desk: Client) -> None:
    set_switches(halted=True, reason="drill", by="test")
    run = _run("execution-cycle", desk)
    assert run.state == State.SUCCEEDED
    assert {order.state for order in Order.objects.all()} == {OrderState.REFUSED}
    assert {decision.limit for decision in RiskDecision.objects.all()} == {"emergency_halt"}
    assert not PaperOrder.objects.exists()
    assert run.result is not None
    assert run.result["positions"] == []


@pytest.mark.parametrize("slug", ["market-refresh", "execution-cycle"])
def test_a_dry_run_leaves_nothing(desk: Client, slug: str) -> None:
    def counts() -> list[int]:
        models: list[Any] = [Candle, Sentiment, Order, RiskDecision, Reservation, Fill, PaperOrder, JobRun]
        return [model.objects.count() for model in models]

    before = counts()
    steps = list(rehearse(slug, {}, client_id=desk.id if slug == "execution-cycle" else None))
    assert len(steps) == {"market-refresh": 3, "execution-cycle": 5}[slug]
    assert counts() == before


def test_what_is_made_up_and_what_a_market_gave_are_no_series(settings: Settings) -> None:
    """Nothing is drawn after the bars of a file; the file's bars take the place of what was drawn, from its first."""
    recorded = Candle.objects.count()
    settings.QT_MARKET_PROVIDER = "synthetic"
    assert _run("market-refresh").state == State.SUCCEEDED
    assert Candle.objects.count() == recorded
    Candle.objects.filter(symbol="AAPL").delete()
    _run("market-refresh")
    assert set(Candle.objects.filter(symbol="AAPL").values_list("source", flat=True)) == {"synthetic"}
    settings.QT_MARKET_PROVIDER, settings.QT_CSV_BARS_PER_REFRESH = "csv", 0
    _run("market-refresh")
    of_aapl, of_ibm = (Candle.objects.filter(symbol=symbol) for symbol in ("AAPL", "IBM"))
    assert set(of_aapl.values_list("source", flat=True)) == {"csv"}
    assert of_aapl.count() == of_ibm.count()


def test_without_history_or_provider_it_says_what_to_do(desk: Client, settings: Settings) -> None:
    Candle.objects.all().delete()
    run = _run("execution-cycle", desk)
    assert (run.state, run.attempt) == (State.FAILED, 1)
    assert "manage.py import_candles" in run.error_message
    settings.QT_MARKET_PROVIDER = "carrier-pigeon"
    run = _run("market-refresh")
    assert run.state == State.FAILED
    assert "csv, synthetic" in run.error_message
    settings.QT_MARKET_PROVIDER = "csv"
    settings.QUANTUM_TRADER_SYMBOLS = ["BTCUSDT"]
    assert "BTCUSDT" in _run("market-refresh").error_message
