"""A cycle follows a promoted strategy: the code of its backtest on the same bars; and the two can be compared."""

import csv
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.utils import timezone
from pytest_django import Settings

from trading.backtests import canonical, parity, pipeline, registry
from trading.backtests.models import Level, Promotion
from trading.backtests.parsing import parse
from trading.brokers.services import open_paper_account
from trading.core.ids import uuid7
from trading.execution.models import Fill, Order, Position
from trading.execution.states import OrderState
from trading.jobs import runner, services
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.states import FINAL, State
from trading.risk.models import Guard
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db(transaction=True)
CASH = Decimal(100_000)
CONFIG: dict[str, Any] = {
    "symbols": ["AAPL", "MSFT"],
    "timeframe": "1d",
    "start": "2012-01-02",
    "end": "2012-12-31",
    "strategy": {"name": "dual_sma", "params": {"fast": 3, "slow": 8}},
    "risk": {"model": "fixed_fraction", "params": {"fraction": 0.4}},
    "execution": {"fee_bps": 0},
}


@pytest.fixture(autouse=True)
def _recorded_market(transactional_db: None, settings: Settings) -> Iterator[None]:
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    Guard.objects.get_or_create(id=1)
    settings.QT_MARKET_PROVIDER = "csv"
    settings.QT_CSV_BARS_PER_REFRESH = 1
    settings.QUANTUM_TRADER_SYMBOLS = ["AAPL", "MSFT"]
    settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(60_000)
    settings.QT_MAX_DAILY_LOSS = Decimal(50_000)
    call_command("import_candles", str(settings.BUNDLED_CANDLES), until=date(2013, 2, 1), stdout=io.StringIO())
    yield
    cache.clear()


@pytest.fixture
def desk() -> Client:
    client = Client.objects.create(name="Desk")
    open_paper_account(client.id, cash=CASH)
    return client


@pytest.fixture
def prices(settings: Settings) -> dict[str, dict[str, dict[str, float]]]:
    """By symbol and day, from the bundled file."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    with gzip.open(settings.BUNDLED_CANDLES, "rt") as text:
        for row in csv.DictReader(text):
            found[row["symbol"]][row["time"][:10]] = {name: float(row[name]) for name in ("open", "close")}
    return found


def promoted(client: Client, **changes: Any) -> Promotion:
    config = parse({**CONFIG, **changes})
    return Promotion.objects.create(
        client=client,
        level=Level.PAPER,
        strategy=config.strategy.name,
        strategy_sha256=registry.find(config.strategy.name).sha256,
        run_hash=config.run_hash,
        content_hash=canonical.digest("tested"),
        config=json.loads(config.canonical()),
        evidence={},
        promoted_by="Ann",
    )


def run(slug: str, client: Client | None = None) -> JobRun:
    found = services.enqueue(slug, client_id=client.id if client else None).run
    for _ in range(20):
        state = runner.execute(found.id, worker="test/hands", code_version="test")
        found.refresh_from_db()
        if state is None or state in (*FINAL, State.RETRYING):
            return found
    raise AssertionError(f"{found.job} does not end")


def cycle(client: Client) -> JobRun:
    found = run("execution-cycle", client)
    assert found.state == State.SUCCEEDED, found.error_message
    return found


def plain_crossing(closes: list[float], fast: int, slow: int) -> bool:
    return sum(closes[-fast:]) / fast > sum(closes[-slow:]) / slow


def test_the_cycle_wants_what_the_backtest_wants(
    desk: Client, prices: dict[str, dict[str, dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(desk)
    asked: list[str] = []
    say = pipeline.targets

    def heard(name: str, *arguments: Any) -> Any:
        asked.append(name)
        return say(name, *arguments)

    def up_to(day: str) -> dict[str, list[float]]:
        return {symbol: [row["close"] for at, row in prices[symbol].items() if at <= day] for symbol in prices}

    def wanted_at(day: str) -> dict[str, float]:
        closes = up_to(day)
        return {symbol: 0.4 if plain_crossing(closes[symbol], 3, 8) else 0.0 for symbol in ("AAPL", "MSFT")}

    days = [day for day in sorted(prices["AAPL"]) if day >= "2013-02-01"]
    first = next(place for place, day in enumerate(days) if any(wanted_at(day).values()))
    for _ in range(first):
        run("market-refresh")
    monkeypatch.setattr(pipeline, "targets", heard)
    done = cycle(desk)
    assert asked == ["dual_sma"]  # by the one function that a run asks
    said = done.returned["targets"]
    closes = up_to(days[first])
    for symbol, wanted in wanted_at(days[first]).items():
        assert float(said["weights"][symbol]) == wanted
        held = Position.objects.filter(client=desk, symbol=symbol).first()
        units = 0.0 if held is None else float(held.quantity)
        assert units == pytest.approx(wanted * 100_000 / closes[symbol][-1], abs=0.001)
    assert Fill.objects.exists()


def test_a_decision_is_ordered_once_and_reached_in_parts(desk: Client, settings: Settings) -> None:
    settings.QT_MAX_NOTIONAL_PER_TRADE = Decimal(30_000)
    promoted(desk, symbols=None, symbol="MSFT", strategy={"name": "buy_and_hold"}, risk={"params": {"fraction": 0.5}})
    goal = cycle(desk).returned["risk"]["goals"]["MSFT"]
    run("market-refresh")
    second = cycle(desk)
    run("market-refresh")
    third = cycle(desk)
    assert second.returned["risk"]["goals"]["MSFT"] == third.returned["risk"]["goals"]["MSFT"] == goal
    assert (len(second.returned["orders"]["orders"]), third.returned["orders"]["orders"]) == (1, [])
    assert Decimal(0) <= Decimal(goal) - Position.objects.get(client=desk).quantity < Decimal("0.002")


def test_without_a_promotion_the_platforms_own_rule_trades(desk: Client) -> None:
    promotion = promoted(desk)
    Promotion.objects.filter(id=promotion.id).update(demoted_at=timezone.now())
    done = cycle(desk)
    assert "momentum" in done.returned["targets"]
    assert "promotion" not in done.returned["targets"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"risk": {"stop_loss": 0.1}}, "stops"),
        ({"strategy": {"name": "dual_sma", "params": {"fast": 3, "slow": 8, "short": True}}}, "goes short"),
    ],
)
def test_what_a_cycle_cannot_do_is_refused_and_nothing_else_traded(
    desk: Client, changes: dict[str, Any], sentence: str
) -> None:
    promoted(desk, **changes)
    for _ in range(12):  # until one of the two is below its average
        done = run("execution-cycle", desk)
        if done.state == State.FAILED:
            break
        run("market-refresh")
    assert (done.state, sentence in done.error_message) == (State.FAILED, True)


def test_a_file_that_is_not_the_tested_one_is_not_followed(desk: Client) -> None:
    Promotion.objects.filter(id=promoted(desk).id).update(strategy_sha256="0" * 64)
    done = run("execution-cycle", desk)
    assert (done.state, "promote it again" in done.error_message) == (State.FAILED, True)
    assert not Order.objects.exists()


def test_parity_explains_every_fill(
    desk: Client, settings: Settings, prices: dict[str, dict[str, dict[str, float]]]
) -> None:
    """25 days: the cycle trades at the close that decides, the backtest at the open after it, by the bundled file."""
    promotion = promoted(desk)
    assert parity.report(promotion, now=timezone.now()).pairs == ()
    for _ in range(25):
        cycle(desk)
        run("market-refresh")
    assert set(Order.objects.values_list("state", flat=True)) == {OrderState.FILLED}
    report = parity.report(promotion, now=timezone.now())
    assert (report.began, report.cash) == (datetime.fromisoformat("2013-02-01T00:00:00+00:00"), CASH)
    both = [pair for pair in report.pairs if pair.backtest is not None and pair.account is not None]
    assert len(both) >= 4
    assert {pair.backtest.quantity > 0 for pair in both if pair.backtest} == {True, False}
    days = sorted(prices["AAPL"])
    for pair in both:
        assert pair.backtest is not None
        assert pair.account is not None
        assert pair.decided is not None
        decided = max(f"{pair.decided:%Y-%m-%d}", "2013-02-01")
        opened = prices[pair.symbol][days[days.index(decided) + 1]]["open"]
        closed = prices[pair.symbol][decided]["close"]
        units, sign = float(pair.account.quantity), 1 if pair.account.quantity > 0 else -1
        assert float(pair.backtest.price or 0) == pytest.approx(opened, rel=1e-12)
        assert float(pair.causes.latency) == pytest.approx(units * (closed - opened), abs=1e-6)
        worse = closed * (1 + 5e-4 + 1e-4) if sign > 0 else closed * (1 - 5e-4 - 1e-4)  # slippage, half of the spread
        assert float(pair.causes.slippage) == pytest.approx(units * (worse - closed), abs=1e-3)
        assert float(pair.causes.fee) == pytest.approx(abs(units) * worse * 5e-4, abs=1e-3)
        assert pair.causes.whole == parity.total([pair.account.cost, -pair.backtest.cost])
    assert report.causes.whole == report.difference
    assert all(pair.waits for pair in report.pairs if pair.backtest is None)
    page = looked_at(desk)
    for amount in (report.difference, report.causes.latency, report.causes.slippage, both[0].causes.fee):
        assert f">{amount:+,.2f}<" in page
    assert page.count("<tr>") == 1 + len(report.pairs)
    said = json.loads(told("parity", "Desk", "--json"))
    assert Decimal(said["difference"]) == sum(map(Decimal, said["causes"].values())) == report.difference
    assert [row["symbol"] for row in said["fills"]] == [pair.symbol for pair in report.pairs]
    assert told("parity", str(desk.id)).splitlines()[-1].split()[:3] == ["in", "all", f"{report.difference:.2f}"]


def looked_at(client: Client, query: str = "", status: int = 200) -> str:
    """The page, as somebody of the client sees it."""
    browser = Browser()
    browser.force_login(User.objects.create_user(f"{uuid7()}", client=client, role=Role.TRADER))
    answer = browser.get(f"/app/parity{query}")
    assert answer.status_code == status
    return answer.content.decode()


def test_the_page_shows_ones_own_promotions_alone(desk: Client) -> None:
    assert "No strategy has been promoted" in looked_at(desk)
    own, others = promoted(desk), promoted(Client.objects.create(name="Other"))
    assert "No cycle has followed it yet" in looked_at(desk)
    assert "dual_sma on paper" in looked_at(desk, f"?promotion={own.id}")
    looked_at(desk, f"?promotion={others.id}", 404)
    looked_at(desk, "?promotion=nonsense", 404)
    Promotion.objects.filter(id=own.id).update(demoted_at=timezone.now())
    assert "No strategy has been promoted" in looked_at(desk)


def told(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_without_a_promotion_or_a_cycle_there_is_nothing_to_compare(desk: Client) -> None:
    with pytest.raises(CommandError, match="promote one first"):
        told("parity", "Desk")
    with pytest.raises(CommandError, match="no client"):
        told("parity", "Nobody")
    promoted(desk)
    assert "No cycle has followed dual_sma yet" in told("parity", "Desk")


def test_no_money_moves_by_what_a_strategy_said_of_years_ago(desk: Client, settings: Settings) -> None:
    settings.USE_MOCK_BROKER, settings.QT_EXECUTION_EXCHANGE = False, "binance"
    Promotion.objects.filter(id=promoted(desk).id).update(level=Level.LIVE)
    stopped = run("execution-cycle", desk)
    assert stopped.state == State.FAILED
    assert stopped.error_message.startswith("The newest candles of AAPL, MSFT ended more than 7 days ago")
