"""The pages of orders: who sees and cancels which, and how a difference is explained."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client as Browser
from django.utils import timezone

from tests.execution.conftest import Venue, buy, intend, make_market
from trading.core.ids import uuid7
from trading.execution import differences, services
from trading.execution.models import Adjustment, Difference, DifferenceKind, Order, Reconciliation
from trading.execution.states import OrderState
from trading.jobs.models import JobRun
from trading.risk.models import Guard
from trading.tenants.models import Client, Role, User

pytestmark = pytest.mark.django_db(transaction=True)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def alpha(transactional_db: None) -> Client:
    Guard.objects.get_or_create(id=1)
    make_market({"AAA": (100, 100)})
    return Client.objects.create(name="Alpha")


def browser_of(role: Role, client: Client | None) -> Browser:
    user = User.objects.create_user(f"{role}-{uuid4()}", password="a-long-password", role=role, client=client)
    browser = Browser()
    browser.force_login(user)
    return browser


def order_of(client: Client, state: OrderState = OrderState.INTENDED) -> Order:
    (order,) = intend(client, buy("2"))
    if state == OrderState.OPEN:
        Order.objects.filter(id=order.id).update(state=state, sent_at=timezone.now(), broker_order_id="v-1")
    return order


def differ(client: Client, kind: DifferenceKind = DifferenceKind.POSITION) -> Difference:
    with transaction.atomic():
        one = differences.Found(kind, "AAA", "AAA", "5", HOSTILE, Decimal(-1))
        (row,) = differences.report(client.id, "paper", [one], now=timezone.now())
    return row


def test_the_list_and_an_order(alpha: Client) -> None:
    order = order_of(alpha)
    services.submit(order, Venue(), hold=services.in_transaction)
    browser = browser_of(Role.READ_ONLY, alpha)
    shown = browser.get("/app/orders").content.decode()
    assert f"/app/orders/{order.id}" in shown
    assert "What venues say otherwise" not in shown
    assert f"/app/orders/{order.id}" not in browser.get("/app/orders?state=rejected").content.decode()
    page = browser.get(f"/app/orders/{order.id}").content.decode()
    assert order.client_order_id in page
    assert f"x-{order.client_order_id}" in page, "its fill"
    assert "Cancel what is left" not in page


def test_a_page_of_the_list_leads_to_the_next(alpha: Client) -> None:
    for number in range(32):
        Order.objects.create(
            client=alpha, run_id=uuid7(), sequence=1, client_order_id=f"c-{number}", broker="paper",
            symbol=f"S{number}", side="buy", quantity=1, reference_price=1, previous_price=1, state="refused",
            finished_at=timezone.now(),
        )  # fmt: skip
    browser = browser_of(Role.READ_ONLY, alpha)
    first = browser.get("/app/orders").content.decode()
    assert "buy 1 S31" in first and "buy 1 S1<" not in first
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "buy 1 S1<" in browser.get(f"/app/orders{older}").content.decode()


@pytest.mark.parametrize("state", [OrderState.INTENDED, OrderState.OPEN])
def test_a_trader_cancels(alpha: Client, state: OrderState) -> None:
    order = order_of(alpha, state)
    address = f"/app/orders/{order.id}/cancel"
    assert browser_of(Role.READ_ONLY, alpha).post(address).status_code == 403
    beta = Client.objects.create(name="Beta")
    assert browser_of(Role.TRADER, beta).post(address).status_code == 404
    order.refresh_from_db()
    assert order.cancel_requested_at is None
    assert browser_of(Role.TRADER, alpha).post(address).status_code == 302
    order.refresh_from_db()
    assert order.cancel_requested_at is not None
    assert order.state == (OrderState.WITHDRAWN if state == OrderState.INTENDED else OrderState.OPEN)
    assert JobRun.objects.filter(job="order-reconcile", client=alpha).count() == (state == OrderState.OPEN)


def test_a_difference_is_explained_with_a_reason(alpha: Client) -> None:
    row = differ(alpha)
    trader = browser_of(Role.TRADER, alpha)
    page = trader.get("/app/orders").content.decode()
    assert "Another position" in page
    assert HOSTILE not in page
    assert "differs from our books in 1 place" in trader.get("/app/").content.decode()
    address = f"/app/differences/{row.id}/explain"
    assert browser_of(Role.READ_ONLY, alpha).post(address, {"reason": "x"}).status_code == 403
    beta = Client.objects.create(name="Beta")
    assert browser_of(Role.TRADER, beta).post(address, {"reason": "x"}).status_code == 404
    assert "Say why" in trader.post(address, {"reason": "  "}, follow=True).content.decode()
    assert differences.standing(alpha.id) == [row]
    assert trader.post(address, {"reason": "moved by hand"}).status_code == 302
    row.refresh_from_db()
    assert (row.resolution, row.resolved_at is not None) == ("moved by hand", True)
    assert Adjustment.objects.get().quantity == -1
    assert "It was resolved by" in trader.post(address, {"reason": "again"}, follow=True).content.decode()
    assert (
        "Only an order or a fill"
        in trader.post(f"/app/differences/{differ(alpha).id}/adopt", {"reason": "mine"}, follow=True).content.decode()
    )


def test_an_operator_chooses_a_client_and_has_the_accounts_compared(alpha: Client) -> None:
    row = differ(alpha)
    Reconciliation.objects.create(
        client=alpha, broker="paper", fills_since=timezone.now(), tried_at=timezone.now(), error="no route"
    )
    operator = browser_of(Role.OPERATOR, None)
    assert "Alpha" in operator.get("/app/orders").content.decode()
    page = operator.get(f"/app/orders?client={alpha.id}").content.decode()
    assert "no route" in page
    assert f"/app/differences/{row.id}/explain?client={alpha.id}" in page
    assert operator.post(f"/app/orders/compare?client={alpha.id}").status_code == 302
    assert JobRun.objects.filter(job="order-reconcile", client=alpha).exists()
    assert operator.post("/app/orders/compare").status_code == 404


def test_the_admin_shows_them(alpha: Client) -> None:
    row = differ(alpha)
    order = order_of(Client.objects.create(name="Beta"), OrderState.OPEN)
    operator = User.objects.create_user("olga", password="a-long-password", role=Role.OPERATOR, is_staff=True)
    browser = Browser()
    browser.force_login(operator)
    mark = Reconciliation.objects.create(
        client=alpha, broker="paper", fills_since=timezone.now(), tried_at=datetime(2026, 11, 20, tzinfo=UTC)
    )
    Reconciliation.objects.create(
        client=order.client, broker="paper", fills_since=timezone.now(), tried_at=timezone.now(),
        checked_at=timezone.now(),
    )  # fmt: skip
    for model, key in (("difference", row.id), ("reconciliation", mark.id), ("adjustment", None)):
        assert browser.get(f"/admin/execution/{model}/").status_code == 200
        if key is not None:
            assert browser.get(f"/admin/execution/{model}/{key}/change/").status_code == 200
            assert browser.post(f"/admin/execution/{model}/{key}/change/", {}).status_code == 403
    browser.post(f"/admin/execution/order/{order.id}/cancel/", {"confirmed": "yes"})
    order.refresh_from_db()
    assert order.cancel_requested_at is not None
    metrics = Browser().get("/metrics", REMOTE_ADDR="127.0.0.1").content.decode()
    assert 'order_differences{kind="position"} 1.0' in metrics
    assert 'orders_live{state="open"} 1.0' in metrics
    assert 'reconciliation_age_seconds{broker="paper"} -1.0' in metrics, "Alpha's was never compared"
