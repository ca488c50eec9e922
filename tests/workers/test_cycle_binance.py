"""The execution cycle against Binance's protocol: what we hold is what its ledger says, to the last digit."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from tests.venues.process import VenueProcess
from trading.brokers import accounts
from trading.brokers.services import open_paper_account
from trading.execution.models import Fill, Order, Position
from trading.execution.states import LIVE, OrderState
from trading.jobs import runner, services
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.states import FINAL, State
from trading.marketdata.models import Candle
from trading.risk.models import Guard
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
LAST = {"BTCUSDT": 60_000, "ETHUSDT": 3000}
BEFORE = {"BTC": Decimal(2), "ETH": Decimal(0)}


@pytest.fixture
def venue(transactional_db: None, tmp_path: Path, settings: Settings) -> Iterator[VenueProcess]:
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    Guard.objects.get_or_create(id=1)
    process = VenueProcess("binance", tmp_path / "ledger.sqlite")
    settings.USE_MOCK_BROKER, settings.QT_EXECUTION_EXCHANGE = False, "binance"
    settings.QT_EXECUTION_BINANCE_URL, settings.QT_BROKER_TIMEOUT_SECONDS = process.url, 1.0
    settings.QUANTUM_TRADER_SYMBOLS = list(LAST)
    yield process
    process.close()


@pytest.fixture
def desk(venue: VenueProcess) -> Client:
    client = Client.objects.create(name="Desk")
    accounts.store(client.id, "binance", {"api_key": "test-key", "api_secret": "test-secret"}, now=timezone.now())
    return client


def _days_ago(days: int) -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)


def _market(daily: float, *, ended: int = 1) -> None:
    """Seventy days that rise or fall by ``daily`` of the last price, and end at it, ``ended`` days ago."""
    Candle.objects.all().delete()
    for symbol, last in LAST.items():
        for back in range(70):
            price = Decimal(round(last * (1 - daily * back), 2)).quantize(Decimal("0.01"))
            Candle.objects.create(
                symbol=symbol, time=_days_ago(ended + back), open=price, high=price, low=price, close=price,
                volume=1000, source="test",
            )  # fmt: skip


def _run(client: Client) -> JobRun:
    run = services.enqueue("execution-cycle", client_id=client.id).run
    for _ in range(20):
        state = runner.execute(run.id, worker="test/hands", code_version="test")
        run.refresh_from_db()
        if state is None or state in (*FINAL, State.RETRYING):
            return run
    raise AssertionError("it does not end")


def _held(venue: VenueProcess) -> dict[str, Decimal]:
    """What the account has more than it began with, by the venue's ledger."""
    rows = venue.ledger("SELECT asset, free, locked FROM balances")
    now = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
    return {f"{asset}USDT": now[asset] - before for asset, before in BEFORE.items()}


def _ours(client: Client) -> dict[str, Decimal]:
    rows = {row.symbol: row.quantity for row in Position.objects.filter(client=client)}
    return {symbol: rows.get(symbol, Decimal(0)) for symbol in LAST}


def test_what_it_buys_and_sells_there(venue: VenueProcess, desk: Client) -> None:
    """Fees are taken of what is bought, and what is left of it can be sold."""
    _market(0.002)
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    orders = {order.client_order_id: order for order in Order.objects.all()}
    assert len(orders) == 2
    assert {row["client_order_id"] for row in venue.ledger("SELECT * FROM orders")} == set(orders)
    assert _ours(desk) == _held(venue)
    assert all(quantity > 0 for quantity in _ours(desk).values())
    _market(-0.002)
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    assert _ours(desk) == _held(venue)
    assert _ours(desk)["BTCUSDT"] < Decimal("0.00001"), "less than a lot is left"
    assert _ours(desk)["ETHUSDT"] < Decimal("0.001")
    assert not Order.objects.filter(state__in=LIVE).exists()


def test_what_was_simulated_is_not_counted_with_what_is_traded(
    venue: VenueProcess, desk: Client, settings: Settings
) -> None:
    """Held on paper, or earned there today, it would make a sale a close and a loss smaller."""

    def cycle(exchange: str, daily: float) -> JobRun:
        settings.QT_EXECUTION_EXCHANGE = exchange
        _market(daily)
        return _run(desk)

    open_paper_account(desk.id, cash=Decimal(100_000))
    assert cycle("paper", 0.002).state == State.SUCCEEDED
    assert Fill.objects.filter(broker="paper").exists()
    for _ in range(2):  # while it is held, and on the day on which it was sold
        run = cycle("binance", 0.002)
        assert run.state == State.FAILED
        assert "hold simulated trades in BTCUSDT, ETHUSDT" in run.error_message
        assert "as a client of its own" in run.error_message
        assert cycle("paper", -0.002).state == State.SUCCEEDED
    assert not any(_ours(desk).values())
    assert venue.ledger("SELECT * FROM orders") == []
    Fill.objects.update(time=timezone.now() - timedelta(days=1))
    run = cycle("binance", 0.002)
    assert run.state == State.SUCCEEDED, run.error_message
    assert _ours(desk) == _held(venue)


def test_an_answer_that_is_lost_is_found_in_the_next_cycle(venue: VenueProcess, desk: Client) -> None:
    _market(0.002)
    venue.fault(method="POST", path="/api/v3/order", answer="hang", delay=1.5, times=2)
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    assert {order.state for order in Order.objects.all()} == {OrderState.UNKNOWN}
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    assert _ours(desk) == _held(venue)
    sent = [row["client_order_id"] for row in venue.ledger("SELECT client_order_id FROM orders")]
    assert len(sent) == len(set(sent))
    assert set(sent) == set(Order.objects.values_list("client_order_id", flat=True))


def _quote(venue: VenueProcess, symbol: str, middle: int) -> None:
    venue.tell("/market", symbol=symbol, bids=[[str(middle - 1), "50"]], asks=[[str(middle + 1), "50"]])


def test_an_order_is_worth_what_the_venue_asks_not_what_was_last_recorded(
    venue: VenueProcess, desk: Client, settings: Settings
) -> None:
    """A sixth above the last close the limit of an order still holds; twenty times above it nothing is sent."""
    settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(1000)
    _market(0.002)
    _quote(venue, "BTCUSDT", 70_000)
    _quote(venue, "ETHUSDT", 60_000)
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    (sent,) = venue.ledger("SELECT symbol, value FROM orders")
    assert sent["symbol"] == "BTCUSDT"
    assert 999 < Decimal(sent["value"]) < 1001
    refused = Order.objects.get(state=OrderState.REFUSED)
    assert (refused.symbol, refused.reference_price) == ("ETHUSDT", 60_000)
    assert refused.reason.startswith("QT_MAX_PRICE_MOVE_PCT: ETHUSDT has moved 19")


@pytest.mark.parametrize("spread", [0, 5])
def test_without_a_quote_nothing_is_sent(venue: VenueProcess, desk: Client, settings: Settings, spread: int) -> None:
    settings.QT_MAX_SPREAD_PCT = Decimal(spread)
    _market(0.002)
    venue.tell("/market", symbol="BTCUSDT", bids=[], asks=[])
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    assert [row["symbol"] for row in venue.ledger("SELECT symbol FROM orders")] == ["ETHUSDT"]
    assert Order.objects.get(state=OrderState.REFUSED).reason.startswith(
        "quote: binance quotes no bid and ask of BTCUSDT"
    )


def test_candles_of_no_market_move_no_money(venue: VenueProcess, desk: Client, settings: Settings) -> None:
    _market(0.002)
    Candle.objects.filter(symbol="ETHUSDT", time=_days_ago(3)).update(source="synthetic")
    run = _run(desk)
    assert run.state == State.FAILED
    assert "candles of ETHUSDT are made up, and orders at binance move money" in run.error_message
    settings.USE_MOCK_BROKER = True
    assert "made up" not in _run(desk).error_message
    assert venue.ledger("SELECT symbol FROM orders") == []


def test_candles_that_ended_long_ago_move_no_money(venue: VenueProcess, desk: Client, settings: Settings) -> None:
    """One symbol that is not traded any more is left out; where all of them are, nothing is sent."""
    _market(0.002, ended=9)
    run = _run(desk)
    assert run.state == State.FAILED
    assert run.error_message.startswith("The newest candles of BTCUSDT, ETHUSDT ended more than 7 days ago")
    assert Order.objects.count() == 0
    _market(0.002)
    Candle.objects.filter(symbol="ETHUSDT", time__gt=_days_ago(9)).delete()
    for back in range(70, 80):  # as much history as before, which ends nine days ago
        Candle.objects.create(
            symbol="ETHUSDT", time=_days_ago(back + 1), open=1, high=1, low=1, close=1, volume=1000, source="test"
        )
    run = _run(desk)
    assert run.state == State.SUCCEEDED, run.error_message
    assert [row["symbol"] for row in venue.ledger("SELECT symbol FROM orders")] == ["BTCUSDT"]
