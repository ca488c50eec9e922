"""The money's books in the admin: every page opens, nothing is edited, and the guard is switched with a question."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client as Browser
from django.utils import timezone

from tests.execution.conftest import Venue, buy, intend
from trading.brokers.models import PaperHolding, PaperOrder
from trading.core.ids import uuid7
from trading.execution import outcomes, services
from trading.execution.models import Fill, Order, OrderState, PortfolioSnapshot, Position
from trading.marketdata.models import Candle, Sentiment
from trading.risk.models import Guard, Reservation, RiskDecision
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def browser(transactional_db: None) -> Browser:
    browser = Browser()
    operator = User.objects.create_user("olga", password="a-long-password", role=Role.OPERATOR, is_staff=True)
    browser.force_login(operator)
    return browser


def test_every_page_opens_and_none_can_be_changed(desk: Client, market: None, venue: Venue, browser: Browser) -> None:
    filled, _ = intend(desk, buy(), buy(symbol="BBB", price="50"))
    services.submit(filled, venue, hold=services.in_transaction)
    services.snapshot(desk.id, uuid7(), cash=Decimal(1), now=timezone.now())
    Sentiment.objects.create(symbol="AAA", time=timezone.now(), score=Decimal("0.5"), source="test")
    holding = PaperHolding.objects.create(account_id=desk.id, symbol="AAA", quantity=1)
    PaperOrder.objects.create(
        account_id=desk.id, client_order_id="x", symbol="AAA", side="buy", quantity=1, status="filled"
    )
    for model in (
        Order, Fill, Position, PortfolioSnapshot, Guard, RiskDecision, Reservation, Candle, Sentiment, PaperHolding,
        PaperOrder,
    ):  # fmt: skip
        row = model.objects.first()
        assert row is not None, model
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert browser.get(page).status_code == 200, page
        assert browser.get(f"{page}{row.pk}/change/").status_code == 200, page
        assert browser.post(f"{page}{row.pk}/change/", {"quantity": "9"}).status_code == 403, page
        assert browser.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 403, page
    assert browser.get("/admin/brokers/paperaccount/").status_code == 200
    assert holding.quantity == 1


def test_only_what_is_there_is_linked_as_an_order_s_origin(desk: Client, market: None, browser: Browser) -> None:
    """A run that is not kept, or was never; and the order in whose place another stands."""
    first, second = intend(desk, buy(), buy(symbol="BBB", price="50"))
    Order.objects.filter(id=second.id).update(run_id=first.id, sequence=1)
    page = browser.get(f"/admin/execution/order/{first.id}/change/").content.decode()
    assert "none, or no longer kept" in page
    assert "/admin/jobs/jobrun/0" not in page
    page = browser.get(f"/admin/execution/order/{second.id}/change/").content.decode()
    assert f'<a href="/admin/execution/order/{first.id}/change/">{first.id}</a>' in page


def test_the_halt_asks_first_and_then_holds(browser: Browser) -> None:
    assert browser.get("/admin/risk/guard/1/halt/").status_code == 200
    assert not Guard.objects.get(id=1).halted
    assert browser.post("/admin/risk/guard/1/halt/", {"confirmed": "yes"}).status_code == 302
    guard = Guard.objects.get(id=1)
    assert (guard.halted, guard.kill_switch, guard.changed_by) == (True, None, "olga")
    browser.post("/admin/risk/guard/1/lift/", {"confirmed": "yes"})
    assert not Guard.objects.get(id=1).halted


def test_only_an_old_order_without_an_answer_is_written_off(
    desk: Client, market: None, venue: Venue, browser: Browser
) -> None:
    venue.fails = ["lost request"]
    (order,) = intend(desk, buy())
    services.submit(order, venue, hold=services.in_transaction)
    page = f"/admin/execution/order/{order.id}/write-off/"
    browser.post(page, {"confirmed": "yes"})
    assert Order.objects.get(id=order.id).state == OrderState.UNKNOWN
    assert Reservation.objects.count() == 1
    Order.objects.filter(id=order.id).update(sent_at=timezone.now() - timedelta(minutes=6))
    browser.post(page, {"confirmed": "yes"})
    order.refresh_from_db()
    assert (order.state, order.reason) == (OrderState.NOT_BOOKED, "written off by olga: the venue never took it")
    assert order.finished_at is not None
    assert not Reservation.objects.exists()
    with pytest.raises(outcomes.NotForgotten, match="not booked"):
        outcomes.write_off(order.id, by="olga")
