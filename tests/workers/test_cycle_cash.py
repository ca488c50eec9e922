"""What a cycle sends: sells first, buys of the cash that is there then; and one figure of exposure everywhere."""

import re
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.db import transaction
from django.test import Client as Http
from django.utils import timezone
from pytest_django import Settings

from tests.execution.conftest import buy, make_market, quoted, sell
from trading.brokers.instruments import Instrument
from trading.brokers.models import PaperAccount, PaperHolding, PaperOrder
from trading.brokers.services import open_paper_account
from trading.core.ids import uuid7
from trading.execution import selectors, services
from trading.execution.models import Order, PortfolioSnapshot, Position
from trading.execution.planning import Planned, Rules, fit, plan
from trading.execution.states import OrderState
from trading.jobs.context import StepContext
from trading.risk.models import Guard, Reservation
from trading.tenants.models import Client, Role, User
from workers.jobs import execution_cycle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk(settings: Settings) -> Client:
    settings.QT_PAPER_FEE_BPS = settings.QT_PAPER_SPREAD_BPS = settings.QT_PAPER_SLIPPAGE_BPS = Decimal(0)
    Guard.objects.get_or_create(id=1)
    client = Client.objects.create(name="Desk")
    open_paper_account(client.id, cash=Decimal(100))
    PaperHolding.objects.create(account_id=client.id, symbol="AAA", quantity=20)
    return client


def send(client: Client, *planned: Planned) -> dict[str, Order]:
    run_id = uuid7()
    with transaction.atomic():
        quotes = {one.symbol: quoted(one.symbol, one.price) for one in planned}
        services.intend(client.id, run_id, planned, broker="paper", quotes=quotes)
    ctx = SimpleNamespace(
        run_id=run_id, client_id=client.id, transaction=services.in_transaction, progress=lambda *_: None
    )
    execution_cycle.orders(cast("StepContext", ctx), cast("Any", None))
    return {order.symbol: order for order in Order.objects.filter(run_id=run_id)}


def test_buys_spend_what_the_sells_have_brought(desk: Client, settings: Settings) -> None:
    """A bar of 50 units lets 5 of the 10 go: 500 and the 100 that were there buy 12 of 20 at 50."""
    settings.QT_PAPER_PARTICIPATION = Decimal("0.1")
    make_market({"AAA": (100, 100)}, volume=50)
    make_market({"BBB": (50, 50)})
    sent = send(desk, sell("10"), buy("20", symbol="BBB", price="50"))
    assert [row.side for row in PaperOrder.objects.order_by("id")] == ["sell", "buy"]
    assert (sent["AAA"].state, sent["AAA"].filled_quantity) == (OrderState.EXPIRED, 5)
    assert (sent["BBB"].state, sent["BBB"].quantity, sent["BBB"].filled_quantity) == (OrderState.FILLED, 12, 12)
    assert PaperAccount.objects.get().cash == 0
    assert not Reservation.objects.exists()


def test_the_buffer_is_kept_and_what_is_too_small_is_not_bought(desk: Client, settings: Settings) -> None:
    settings.QT_EXECUTION_CASH_BUFFER = Decimal(60)
    make_market({"AAA": (100, 100), "BBB": (50, 50)})
    sent = send(desk, buy("2", symbol="BBB", price="50"))
    assert (sent["BBB"].state, PaperOrder.objects.count()) == (OrderState.WITHDRAWN, 0)
    assert "does not pay for all of it" in sent["BBB"].reason
    assert not Reservation.objects.exists()


def test_a_retry_counts_what_is_under_way(desk: Client) -> None:
    make_market({"AAA": (100, 100), "BBB": (50, 50), "CCC": (10, 10)})
    run_id = uuid7()
    with transaction.atomic():
        planned = [buy("1", symbol="BBB", price="50"), buy("9", symbol="CCC", price="10")]
        quotes = {one.symbol: quoted(one.symbol, one.price) for one in planned}
        first, _ = services.intend(desk.id, run_id, planned, broker="paper", quotes=quotes)
    Order.objects.filter(id=first.id).update(state=OrderState.OPEN, broker_order_id="v-1", sent_at=timezone.now())
    ctx = SimpleNamespace(
        run_id=run_id, client_id=desk.id, transaction=services.in_transaction, progress=lambda *_: None
    )
    execution_cycle.orders(cast("StepContext", ctx), cast("Any", None))
    assert Order.objects.get(run_id=run_id, symbol="CCC").filled_quantity == 5, "50 of the 100 may go to BBB"


RULES = Rules(
    min_notional=Decimal(10), max_orders=10, cash_buffer=Decimal(0), allow_partial=True, lot=Decimal("0.001"),
    max_notional=Decimal(0),
)  # fmt: skip


def listed(lot: str, **more: Any) -> Instrument:
    return Instrument("X", "USD", lot=Decimal(lot), tick=Decimal("0.01"), **more)


@pytest.mark.parametrize(
    ("quantity", "instrument", "expected"),
    [
        ("1.23456789", None, "1.234"),
        ("1.23456789", listed("0.00001"), "1.23456"),
        ("7.9", listed("5"), "5"),
        ("4.9", listed("5"), "0"),
        ("1.2", listed("0.1", min_quantity=Decimal("1.5")), "0"),
        ("9", listed("1", max_quantity=Decimal(4)), "4"),
        ("1", listed("0.1", min_notional=Decimal(101)), "0"),
        ("0.09", listed("0.01"), "0"),  # worth 9, and 10 is the least
        ("1.123456789", listed("0"), "1.12345678"),
    ],
)
def test_quantities_fit_the_venue(quantity: str, instrument: Instrument | None, expected: str) -> None:
    assert fit(Decimal(quantity), Decimal(100), RULES, instrument) == Decimal(expected)


def test_what_closes_all_may_be_small_but_not_below_the_venue_s_minimum() -> None:
    small = {"X": Decimal("0.05")}
    prices = {"X": Decimal(100)}
    for least, expected in (("4", ["0.05"]), ("6", [])):
        made = plan(
            {}, small, prices, cash=Decimal(0), rules=RULES,
            instruments={"X": listed("0.01", min_notional=Decimal(least))},
        )  # fmt: skip
        assert [str(order.quantity.normalize()) for order in made] == expected


def test_what_is_held_elsewhere_is_not_sold_here(desk: Client) -> None:
    make_market({"AAA": (100, 100)})
    send(desk, sell("1"))
    assert selectors.held_at(desk.id, "paper") == {"AAA": -1}
    assert selectors.held_at(desk.id, "binance") == {}


def test_one_figure_of_exposure_everywhere(desk: Client, settings: Settings) -> None:
    """20 of 50 and 3 of 70, of two clients: 1,210 in the API, to the scheduler, to Prometheus and on the pages."""
    other = Client.objects.create(name="Other")
    for client, quantity, price in ((desk, 20, 50), (other, -3, 70)):
        for old in (True, False):
            PortfolioSnapshot.objects.create(
                client=client, run_id=uuid7(), time=timezone.now(), cash=0, equity=0,
                gross_exposure=Decimal(9_999) if old else abs(Decimal(quantity * price)),
            )  # fmt: skip
    assert selectors.gross_exposure() == Decimal(1_210)
    status = Http().get("/scheduler/status").json()
    assert status["execution"]["gross_exposure"] == "1210.00"
    text = Http().get("/metrics", REMOTE_ADDR="127.0.0.1").content.decode()
    found = re.search(r"^execution_gross_exposure (\S+)$", text, re.MULTILINE)
    assert found is not None
    assert Decimal(found.group(1)) == Decimal(1_210)
    told = Http().get("/risk", headers={"X-Admin-Token": settings.QT_ADMIN_TOKEN}).json()
    assert told["gross_exposure"] == "1210.00"
    for role, client, shown in ((Role.OPERATOR, None, "1,210.00"), (Role.READ_ONLY, desk, "1,000.00")):
        browser = Http()
        browser.force_login(User.objects.create_user(f"{role}", role=role, client=client))
        assert f"<dt>Gross exposure</dt><dd>{shown}</dd>" in browser.get("/app/risk").content.decode()


def test_a_snapshot_is_of_what_is_held_now(desk: Client) -> None:
    make_market({"AAA": (100, 100), "BBB": (50, 50)})
    send(desk, sell("4"), buy("2", symbol="BBB", price="50"))
    kept = services.snapshot(desk.id, uuid7(), cash=Decimal(0), now=timezone.now())
    assert {row.symbol: row.quantity for row in Position.objects.all()} == {"AAA": -4, "BBB": 2}
    assert (kept.gross_exposure, selectors.gross_exposure(desk.id)) == (500, 500)
