"""``/clients/{id}/orders`` and the page of an order: what is shown, and how one is cancelled and replaced."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client as Http
from pytest_django import Settings

from tests.execution.conftest import Venue, buy, intend, quoted
from trading.brokers.adapters.paper import PaperBroker
from trading.brokers.base import Capabilities, Side, TimeInForce
from trading.brokers.models import PaperOrder
from trading.execution import services
from trading.execution.models import Order
from trading.execution.planning import Planned
from trading.execution.states import OrderState
from trading.jobs import runner
from trading.jobs.models import JobQueue, JobRun
from trading.risk.models import Reservation
from trading.risk.switches import set_switches
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = {"quantity": "4", "limit_price": "80"}


@pytest.fixture(autouse=True)
def _platform(transactional_db: None, market: None) -> None:
    JobQueue.objects.get_or_create(name="critical")


@pytest.fixture
def resting(desk: Client) -> Order:
    """Five at 90 or better, in the book of the paper venue."""
    planned = Planned("AAA", Side.BUY, Decimal(5), Decimal(90), Decimal(90), TimeInForce.GTC)
    with transaction.atomic():
        quotes = {"AAA": quoted("AAA", Decimal(100))}
        (order,) = services.intend(desk.id, uuid4(), [planned], broker="paper", quotes=quotes)
    order = services.submit(order, PaperBroker(desk.id), hold=services.in_transaction)
    assert order.state == OrderState.OPEN
    return order


def http_of(client: Client | None, role: Role = Role.TRADER) -> Http:
    user = User.objects.create_user(f"user-{uuid4()}", role=role, client=client)
    return Http(headers={"Authorization": f"Bearer {issue_access_token(user)}"}, raise_request_exception=False)


def address(order: Order, what: str = "") -> str:
    return f"/clients/{order.client_id}/orders/{order.id}{what}"


def post(http: Http, path: str, body: Any = None, **headers: str) -> Any:
    return http.post(path, body or {}, content_type="application/json", headers=headers)


def perform(run_id: str) -> JobRun:
    runner.execute(JobRun.objects.get(id=run_id).id, worker="test/hands", code_version="test")
    return JobRun.objects.get(id=run_id)


def test_the_list_in_pages_and_by_state_and_symbol(desk: Client, resting: Order) -> None:
    first, second = intend(desk, buy("1"), buy("2", symbol="BBB", price="50"))
    services.submit(first, Venue(), hold=services.in_transaction)
    http = http_of(desk, Role.READ_ONLY)
    path = f"/clients/{desk.id}/orders"
    page = http.get(f"{path}?limit=2").json()
    assert [one["id"] for one in page["results"]] == [str(second.id), str(first.id)]
    rest = http.get(page["next"]).json()
    assert ([one["id"] for one in rest["results"]], rest["next"]) == ([str(resting.id)], None)
    assert [one["symbol"] for one in http.get(f"{path}?symbol=BBB").json()["results"]] == ["BBB"]
    (is_open,) = http.get(f"{path}?state=open&symbol=AAA").json()["results"]
    assert (is_open["quantity"], is_open["limit_price"], is_open["order_type"], is_open["time_in_force"]) == (
        "5", "90", "limit", "gtc",
    )  # fmt: skip
    assert (is_open["run_id"], is_open["replaces"], is_open["average_price"]) == (None, None, None)
    for wrong in ("state=lost", "colour=red", "limit=0", "cursor=x", "state=open&state=filled", "symbol=A%00"):
        assert http.get(f"{path}?{wrong}").status_code == 422, wrong


def test_one_order_with_its_fills_and_what_happened_to_it(desk: Client) -> None:
    (order,) = intend(desk, buy("2"))
    services.submit(order, Venue(), hold=services.in_transaction)
    told = http_of(desk, Role.READ_ONLY).get(address(order)).json()
    assert (told["state"], told["filled_quantity"], told["average_price"], told["fees"]) == (
        "filled",
        "2",
        "100",
        "0.5",
    )
    assert [(fill["quantity"], fill["price"], fill["side"]) for fill in told["fills"]] == [("2", "100", "buy")]
    assert [event["action"] for event in told["events"]] == ["order.sent", "order.filled", "order.ended"]
    assert http_of(desk).get(f"/clients/{desk.id}/orders/{uuid4()}").status_code == 404


@pytest.mark.parametrize("state", [OrderState.INTENDED, OrderState.OPEN])
def test_cancelling_is_asked_for_once(desk: Client, state: OrderState) -> None:
    (order,) = intend(desk, buy("2"))
    Order.objects.filter(id=order.id).update(state=state)
    assert post(http_of(desk, Role.READ_ONLY), address(order, "/cancel")).status_code == 403
    http = http_of(desk)
    assert post(http, address(order, "/cancel"), {"now": True}).status_code == 422
    first = post(http, address(order, "/cancel"), **{"Idempotency-Key": "k"})
    again = post(http, address(order, "/cancel"), **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    is_over = state == OrderState.INTENDED
    assert first.json()["order"]["state"] == (OrderState.WITHDRAWN if is_over else OrderState.OPEN)
    assert (first.json()["run_id"] is None) == is_over
    assert JobRun.objects.filter(job="order-reconcile").count() == (not is_over)
    if is_over:
        refused = post(http, address(order, "/cancel"))
        assert (refused.status_code, refused.json()["detail"]["type"]) == (409, "not_cancellable")


def test_a_replacement_takes_the_place_of_what_is_left(desk: Client, resting: Order) -> None:
    http = http_of(desk)
    first = post(http, address(resting, "/replace"), WANTED, **{"Idempotency-Key": "k"})
    assert first.status_code == 202, first.content
    done = perform(first.json()["run_id"])
    assert done.state == "succeeded", done.error_message
    assert [row.status for row in PaperOrder.objects.order_by("id")] == ["cancelled", "accepted"]
    again = post(http, address(resting, "/replace"), WANTED, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first.json()), "also when it is done"
    new, old = http.get(f"/clients/{desk.id}/orders").json()["results"]
    assert (old["state"], new["state"]) == ("cancelled", "open")
    assert (new["quantity"], new["limit_price"], new["replaces"], new["run_id"]) == ("4", "80", old["id"], None)
    assert {row.client_order_id for row in Reservation.objects.all()} == {new["client_order_id"]}
    assert JobRun.objects.filter(job="order-replace").count() == 1
    assert post(http, address(resting, "/replace"), {**WANTED, "quantity": "3"}).status_code == 409


def test_who_may_not_and_what_makes_no_sense(desk: Client, resting: Order) -> None:
    path = address(resting, "/replace")
    assert post(http_of(desk, Role.READ_ONLY), path, WANTED).status_code == 403
    assert post(http_of(Client.objects.create(name="Other")), path, WANTED).status_code == 404
    http = http_of(desk)
    for quantity in ("0", "-1", "1e3", "a lot", True, "0.000000001", "1" * 30, None):
        assert post(http, path, {**WANTED, "quantity": quantity}).status_code == 422, quantity
    assert post(http, path, {"quantity": "1"}).status_code == 422
    assert post(http, path, {**WANTED, "side": "sell"}).status_code == 422
    assert not JobRun.objects.exists()


def not_replaceable(answer: Any) -> str:
    assert (answer.status_code, answer.json()["detail"]["type"]) == (409, "not_replaceable"), answer.content
    assert not JobRun.objects.filter(job="order-replace").exists()
    found: str = answer.json()["detail"]["message"]
    return found


def test_what_is_not_open_is_not_replaced(desk: Client) -> None:
    (order,) = intend(desk, buy("2"))
    http = http_of(desk)
    assert "only an open limit order" in not_replaceable(post(http, address(order, "/replace"), WANTED))
    services.submit(order, Venue(), hold=services.in_transaction)
    assert "It is filled" in not_replaceable(post(http, address(order, "/replace"), WANTED))


def test_nothing_is_replaced_while_everything_is_halted(desk: Client, resting: Order) -> None:
    set_switches(halted=True, reason="drill", by="test")
    told = not_replaceable(post(http_of(desk), address(resting, "/replace"), WANTED))
    assert "halted: drill" in told


def test_a_halt_after_the_request_stops_it(desk: Client, resting: Order) -> None:
    asked = post(http_of(desk), address(resting, "/replace"), WANTED).json()
    set_switches(halted=True, reason="drill", by="test")
    perform(asked["run_id"])
    assert list(Order.objects.order_by("id").values_list("state", flat=True)) == ["open", "refused"]
    assert PaperOrder.objects.count() == 1


def test_one_replacement_at_a_time(desk: Client, resting: Order) -> None:
    http = http_of(desk)
    assert post(http, address(resting, "/replace"), WANTED).status_code == 202
    second = post(http, address(resting, "/replace"), {**WANTED, "quantity": "3"})
    assert (second.status_code, second.json()["detail"]["type"]) == (409, "not_replaceable")
    assert "replaced already" in second.json()["detail"]["message"]


def test_a_venue_that_cannot_says_what_to_do_instead(
    desk: Client, resting: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot = Capabilities(deduplicates_client_ids=True, queries_by_client_id=True)
    monkeypatch.setattr(PaperBroker, "capabilities", cannot)
    told = not_replaceable(post(http_of(desk), address(resting, "/replace"), WANTED))
    assert "cancel it, then send another" in told


def test_the_orders_of_a_real_venue_are_not_touched_by_a_mock(desk: Client, resting: Order, settings: Settings) -> None:
    assert settings.USE_MOCK_BROKER
    Order.objects.filter(id=resting.id).update(broker="binance")
    not_replaceable(post(http_of(desk), address(resting, "/replace"), WANTED))


def test_the_page_replaces(desk: Client, resting: Order) -> None:
    browsers = {}
    for role in (Role.READ_ONLY, Role.TRADER):
        browsers[role] = Http()
        browsers[role].force_login(User.objects.create_user(f"{role}", role=role, client=desk))
    path = f"/app/orders/{resting.id}"
    assert "Replace…" not in browsers[Role.READ_ONLY].get(path).content.decode()
    assert browsers[Role.READ_ONLY].post(f"{path}/replace", WANTED).status_code == 403
    trader = browsers[Role.TRADER]
    shown = trader.get(path).content.decode()
    assert 'name="quantity" inputmode="decimal" required value="5"' in shown
    assert 'name="limit_price" inputmode="decimal" required value="90"' in shown
    wrong = trader.post(f"{path}/replace", {**WANTED, "quantity": "many"}, follow=True).content.decode()
    assert "positive numbers" in wrong
    assert "It is being replaced" in trader.post(f"{path}/replace", WANTED, follow=True).content.decode()
    perform(str(JobRun.objects.get(job="order-replace").id))
    new = Order.objects.get(state=OrderState.OPEN)
    assert f'<dt>In place of</dt><dd><a href="{path}">' in trader.get(f"/app/orders/{new.id}").content.decode()
    assert "Replace…" not in trader.get(path).content.decode(), "it has ended"
    assert "not open" in trader.post(f"{path}/replace", WANTED, follow=True).content.decode()
