"""The job that compares accounts: where a client has any, every minute and at a start, soon again while one is away."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import F
from django_celery_beat.models import PeriodicTask

from tests.execution.conftest import make_market
from trading.brokers.adapters.mock.session import MockBroker
from trading.brokers.adapters.paper import PaperBroker
from trading.brokers.base import BrokerUnavailable, OrderReport, OrderStatus
from trading.brokers.models import AccountStatus, BrokerAccount, PaperHolding
from trading.brokers.services import open_paper_account
from trading.core.ids import uuid7
from trading.execution.models import Difference, Order, Reconciliation
from trading.execution.states import OrderState
from trading.jobs import runner, schedule, services
from trading.jobs.models import JobRun
from trading.jobs.registry import registry
from trading.jobs.states import State
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def desk() -> Client:
    client = Client.objects.create(name="Desk")
    open_paper_account(client.id, cash=Decimal(10_000))
    make_market({"AAA": (100, 100)})
    account(client, "paper")
    return client


def account(client: Client, broker: str) -> None:
    BrokerAccount.objects.create(
        client=client, broker=broker, status=AccountStatus.CONNECTED, connected_at=NOW, tested_at=NOW
    )


def run(client: Client) -> JobRun:
    found = services.enqueue("order-reconcile", client_id=client.id).run
    runner.execute(found.id, worker="test/hands", code_version="test")
    found.refresh_from_db()
    return found


def test_it_compares_each_account_and_keeps_what_differs(desk: Client) -> None:
    account(desk, "binance")
    done = run(desk)
    assert done.state == State.SUCCEEDED, done.error_message
    assert done.result["venues"]["paper"] == {
        "new": 0, "standing": 0, "gone": 0, "unknown_orders": 0, "error": "",
    }  # fmt: skip
    assert "USE_MOCK_BROKER" in done.result["venues"]["binance"]["error"]
    PaperHolding.objects.create(account_id=desk.id, symbol="AAA", quantity=1)
    assert run(desk).result["venues"]["paper"]["new"] == 1
    assert Difference.objects.get().kind == "position"


def test_a_client_without_accounts_has_nothing_to_compare() -> None:
    assert run(Client.objects.create(name="New")).result == {"venues": {}}


def test_while_an_order_is_unknown_a_venue_that_is_away_is_asked_again_soon(
    desk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Order.objects.create(
        client=desk, run_id=uuid7(), sequence=1, client_order_id="c-1", broker="paper", symbol="AAA", side="buy",
        quantity=1, reference_price=100, previous_price=100, state=OrderState.UNKNOWN, sent_at=NOW,
    )  # fmt: skip

    def away(self: PaperBroker, client_order_id: str, *, symbol: str) -> OrderReport | None:
        raise BrokerUnavailable("no route", broker="paper", operation="order", code="down")

    with monkeypatch.context() as patched:
        patched.setattr(PaperBroker, "order", away)
        snoozed = run(desk)
    assert snoozed.state == State.SNOOZED
    assert snoozed.scheduled_at - datetime.now(UTC) < timedelta(seconds=11)
    assert "no route" in Reconciliation.objects.get().error
    assert services.enqueue("order-reconcile", client_id=desk.id).run.id == snoozed.id


def test_an_order_that_its_venue_does_not_have_ends_within_a_minute(desk: Client) -> None:
    """Without a person and without the schedule: the comparison comes back by itself until two answers decide."""
    order = Order.objects.create(
        client=desk, run_id=uuid7(), sequence=1, client_order_id="c-1", broker="paper", symbol="AAA", side="buy",
        quantity=1, reference_price=100, previous_price=100, state=OrderState.UNKNOWN, sent_at=datetime.now(UTC),
    )  # fmt: skip
    waited = timedelta(0)
    first = services.enqueue("order-reconcile", client_id=desk.id).run
    while Order.objects.get(id=order.id).state == OrderState.UNKNOWN:
        runner.execute(first.id, worker="test/hands", code_version="test")
        first.refresh_from_db()
        step = (
            max(first.scheduled_at - datetime.now(UTC), timedelta(0)) if first.state == State.SNOOZED else timedelta(0)
        )
        waited += step
        assert waited < timedelta(minutes=1)
        assert step or Order.objects.get(id=order.id).state != OrderState.UNKNOWN, "nobody would ask again"
        Order.objects.filter(id=order.id).update(sent_at=F("sent_at") - step, missed_at=F("missed_at") - step)
        JobRun.objects.filter(id=first.id, state=State.SNOOZED).update(scheduled_at=datetime.now(UTC))
        services.admit(desk.id, first.queue)
    assert Order.objects.get(id=order.id).state == OrderState.NOT_BOOKED
    assert waited > timedelta(seconds=30), "ten to send it and twenty to book it"
    assert first.state == State.SUCCEEDED
    assert not Difference.objects.exists()


def test_it_is_on_the_schedule_and_runs_at_a_start(desk: Client) -> None:
    cadence = registry.get("order-reconcile").cadence
    assert cadence is not None
    assert (cadence.seconds, cadence.at_start) == (60, True)
    schedule.sync()
    assert schedule.enqueue_at_start(NOW) == 1
    assert schedule.enqueue_at_start(NOW + timedelta(seconds=1)) == 0, "one is waiting"
    JobRun.objects.all().delete()
    PeriodicTask.objects.filter(name="order-reconcile").update(enabled=False)
    assert schedule.enqueue_at_start(NOW) == 0, "an operator has switched it off"


@pytest.mark.parametrize("where", ["session", "open_orders"])
def test_what_nobody_has_foreseen_at_one_account_does_not_end_the_comparison_of_the_others(
    desk: Client, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mock venue comes before the paper venue, and fails; what was taken from the paper account is found."""
    account(desk, "mock")
    assert run(desk).state == State.SUCCEEDED
    checked = Reconciliation.objects.get(broker="mock").checked_at
    PaperHolding.objects.create(account_id=desk.id, symbol="AAA", quantity=1)

    def broken(self: MockBroker, *args: object) -> tuple[OrderReport, ...]:
        raise AttributeError("'NoneType' object has no attribute 'side'")

    monkeypatch.setattr(MockBroker, "__init__" if where == "session" else "open_orders", broken)
    failed = run(desk)
    assert failed.state == State.RETRYING
    assert "mock: " in failed.error_message
    assert "unexpected AttributeError" in failed.error_message
    assert list(Difference.objects.values_list("broker", "kind")) == [("paper", "position")]
    mark = Reconciliation.objects.get(broker="mock")
    assert ("unexpected AttributeError" in mark.error, mark.checked_at) == (True, checked)
    assert Reconciliation.objects.get(broker="paper").error == ""


def test_an_order_about_which_the_answer_makes_no_sense_does_not_hide_the_others(
    desk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        Order.objects.create(
            client=desk, run_id=uuid7(), sequence=number, client_order_id=f"c-{number}", broker="paper", symbol="AAA",
            side="buy", quantity=1, reference_price=100, previous_price=100, state=OrderState.OPEN, sent_at=NOW,
            broker_order_id=f"v-{number}",
        )  # fmt: skip

    def answer(self: PaperBroker, client_order_id: str, *, symbol: str) -> OrderReport | None:
        if client_order_id == "c-1":
            raise KeyError("side")
        if client_order_id == "c-2":
            raise BrokerUnavailable("unreadable", broker="paper", operation="order", code="garbage")
        return OrderReport(client_order_id, "v-3", OrderStatus.CANCELLED)

    monkeypatch.setattr(PaperBroker, "order", answer)
    PaperHolding.objects.create(account_id=desk.id, symbol="AAA", quantity=1)
    run(desk)
    states = Order.objects.order_by("sequence").values_list("state", flat=True)
    assert list(states) == [OrderState.OPEN, OrderState.OPEN, OrderState.EXPIRED]
    assert list(Difference.objects.values_list("kind", flat=True)) == ["position"], "and what is held was looked at"
