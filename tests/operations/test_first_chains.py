"""What somebody sees in the first minute: an equity curve from the opening on, fills, and a backtest on real prices."""

import io
from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from pytest_django import Settings

from tests.jobs.conftest import Hands
from trading.backtests.models import Run
from trading.execution.models import PortfolioSnapshot
from trading.jobs.models import JobQueue
from trading.operations.management.commands import first_chains
from trading.risk.models import Guard
from trading.tenants.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh(transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)
    Guard.objects.get_or_create(id=1)
    settings.QT_MARKET_PROVIDER = "csv"
    settings.QT_CSV_BARS_PER_REFRESH = 1
    settings.QUANTUM_TRADER_SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    call_command("setup_demo", stdout=io.StringIO(), stderr=io.StringIO())
    monkeypatch.setattr(first_chains.time, "sleep", lambda seconds: Hands().work_off())  # the worker beside it
    yield
    cache.clear()


def test_the_curve_begins_with_the_opening_and_a_backtest_stands_there() -> None:
    told = io.StringIO()
    call_command("first_chains", "--once", stdout=told)
    opening, after = PortfolioSnapshot.objects.order_by("time")
    assert (opening.equity, opening.cash, opening.positions) == (Decimal(100_000), Decimal(100_000), [])
    assert Decimal(99_990) < after.equity < opening.equity  # the first orders cost fees, spread and slippage
    browser = Browser()
    browser.force_login(User.objects.get(username="demo"))
    page = browser.get("/app/").content.decode()
    assert "<polyline" in page
    assert f"{after.equity - opening.equity:+,.2f} since the first snapshot" in page
    Hands().work_off()
    tested = Run.objects.get()
    assert tested.metrics is not None
    assert f"/app/backtests/{tested.run_hash}" in browser.get("/app/backtests").content.decode()
    assert (tested.config["symbol"], tested.config["start"]) == ("AAPL", "2010-01-04")
    assert f"dual_sma on AAPL, 2010-01-04 to {tested.config['end']}, is on its way" in told.getvalue()
    call_command("first_chains", "--once", stdout=(again := io.StringIO()))
    assert again.getvalue() == ""
    assert PortfolioSnapshot.objects.count() == 2


def test_a_chain_that_no_worker_takes_is_named_and_begun_anew_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as idle:
        idle.setattr(first_chains.time, "sleep", lambda seconds: None)
        with pytest.raises(CommandError, match="market-refresh is queued after 0 s"):
            call_command("first_chains", "--once", "--timeout", "0.05", stdout=io.StringIO())
    call_command("first_chains", "--once", stdout=(told := io.StringIO()))
    assert "execution-cycle: universe" in told.getvalue()


def test_without_prices_the_example_needs_none(settings: Settings) -> None:
    browser = Browser()
    browser.force_login(User.objects.get(username="demo"))
    for path in ("/app/backtests", "/app/sweeps"):
        settings.QUANTUM_TRADER_SYMBOLS = ["FB"]  # of which there is no year yet
        assert "&quot;symbol&quot;: &quot;TEST&quot;" in browser.get(path).content.decode()
        settings.QUANTUM_TRADER_SYMBOLS = ["FB", "IBM"]
        assert "&quot;symbol&quot;: &quot;IBM&quot;" in browser.get(path).content.decode()
