"""An order in the place of another: reviewed where it grows, reserved for whichever stands, and never both."""

from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from tests.execution.conftest import quoted
from trading.brokers.adapters.paper import PaperBroker
from trading.brokers.base import BrokerUnavailable, OrderReport, OutcomeUnknown, Side, Ticket, TimeInForce
from trading.brokers.models import PaperOrder
from trading.execution import changes, reconciliation, services
from trading.execution.models import Order
from trading.execution.planning import Planned
from trading.execution.replacing import NotReplaceable, replace
from trading.execution.states import OrderState
from trading.marketdata.models import Candle
from trading.risk import services as risk
from trading.risk.models import Reservation
from trading.risk.switches import set_switches
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = services.in_transaction


class Paper(PaperBroker):
    """Loses the answer to a replacement, or is away, when told so."""

    fails = ""

    def replace(self, client_order_id: str, ticket: Ticket) -> OrderReport:
        if self.fails == "away":
            raise BrokerUnavailable("no route", broker="paper", operation="replace", code="down")
        report = super().replace(client_order_id, ticket) if self.fails != "lost request" else None
        if self.fails or report is None:
            raise OutcomeUnknown("no answer", broker="paper", operation="replace", code="timeout")
        return report


@pytest.fixture
def paper(desk: Client, market: None) -> Paper:
    return Paper(desk.id)


def resting(desk: Client, paper: Paper, quantity: str = "5", limit: str = "90") -> Order:
    planned = Planned("AAA", Side.BUY, Decimal(quantity), Decimal(limit), Decimal(limit), TimeInForce.GTC)
    with transaction.atomic():
        quotes = {"AAA": quoted("AAA", Decimal(100))}
        (order,) = services.intend(desk.id, uuid4(), [planned], broker="paper", quotes=quotes)
    order = services.submit(order, paper, hold=HOLD)
    assert order.state == OrderState.OPEN
    return order


def instead(order: Order, paper: Paper, quantity: str, limit: str = "90") -> Order:
    return replace(
        order, paper, quantity=Decimal(quantity), limit_price=Decimal(limit), quote=quoted("AAA", Decimal(100)),
        by="olga", hold=HOLD,
    )  # fmt: skip


def reserved() -> dict[str, Decimal]:
    return {row.client_order_id: row.quantity for row in Reservation.objects.all()}


def states() -> list[str]:
    return list(Order.objects.order_by("created_at").values_list("state", flat=True))


def test_it_takes_the_place_of_the_other(desk: Client, paper: Paper) -> None:
    new = instead(resting(desk, paper), paper, "7", "80")
    assert (new.state, states()) == (OrderState.OPEN, ["cancelled", "open"])
    assert [row.status for row in PaperOrder.objects.order_by("id")] == ["cancelled", "accepted"]
    assert reserved() == {new.client_order_id: 7}
    assert reconciliation.reconcile(desk.id, paper, hold=HOLD, now=timezone.now()).standing == 0


def test_what_a_person_asks_for_needs_no_other_approval(desk: Client, paper: Paper, settings: Settings) -> None:
    """Neither where it grows nor where it comes to less, also in the place of what no person had approved."""
    old = resting(desk, paper)
    Reservation.objects.update(is_autonomous=True)
    settings.AUTONOMOUS_ENABLED = False
    more = instead(old, paper, "7")
    assert (more.state, more.reason) == (OrderState.OPEN, "")
    Reservation.objects.update(is_autonomous=True)
    less = instead(more, paper, "3")
    assert (less.state, less.reason) == (OrderState.OPEN, "")
    assert list(Reservation.objects.values_list("client_order_id", "is_autonomous")) == [(less.client_order_id, False)]


def test_what_grows_past_a_limit_is_refused_and_the_other_stays(desk: Client, paper: Paper, settings: Settings) -> None:
    """The limit is 900 for a position: 5 at 90 are 450; 9 at 100 are 900, and 10 are 1,000."""
    settings.QT_MAX_POSITION_PER_SYMBOL = Decimal(900)
    old = resting(desk, paper)
    refused = instead(old, paper, "10", "99")
    assert (refused.state, refused.reason.split(":")[0]) == (OrderState.REFUSED, "QT_MAX_POSITION_PER_SYMBOL")
    assert reserved() == {old.client_order_id: 5}
    assert PaperOrder.objects.count() == 1
    new = instead(old, paper, "9", "99")
    assert (new.state, reserved()) == (OrderState.OPEN, {new.client_order_id: 9})


def test_what_does_not_grow_passes_a_limit_that_has_become_stricter(
    desk: Client, paper: Paper, settings: Settings
) -> None:
    old = resting(desk, paper)
    settings.QT_MAX_POSITION_PER_SYMBOL = Decimal(100)
    new = instead(old, paper, "4")
    assert (new.state, reserved()) == (OrderState.OPEN, {new.client_order_id: 4})
    assert instead(new, paper, "4", "95").state == OrderState.REFUSED, "more money is growth too"


def test_a_price_that_is_worse_is_reviewed_however_small_the_order(desk: Client, paper: Paper) -> None:
    """5 at 90 are 450; 1 at 400 is less in units and in money, and 300 % away from the close of 100."""
    old = resting(desk, paper)
    refused = instead(old, paper, "1", "400")
    assert (refused.state, refused.reason.split(":")[0]) == (OrderState.REFUSED, "QT_MAX_PRICE_MOVE_PCT")
    assert reserved() == {old.client_order_id: 5}
    near = instead(old, paper, "1", "95")
    assert (near.state, reserved()) == (OrderState.OPEN, {near.client_order_id: 1})


def test_a_price_is_compared_with_the_close_before_now(desk: Client, paper: Paper, settings: Settings) -> None:
    """It was sent beside closes of 100, which have become 200: 190 is 5 % away, and 120 is 40 %."""
    settings.QT_MAX_PRICE_MOVE_PCT = Decimal(20)
    old = resting(desk, paper)
    Candle.objects.filter(symbol="AAA").update(open=200, high=200, low=200, close=200)
    cache.clear()
    assert instead(old, paper, "6", "120").state == OrderState.REFUSED
    assert instead(old, paper, "3", "190").state != OrderState.REFUSED


def test_what_somebody_wants_gone_is_not_replaced(desk: Client, paper: Paper) -> None:
    """The cancel came between the request and the run that replaces."""
    old = resting(desk, paper)
    changes.request_cancel(old.id, by="olga", now=timezone.now())
    with pytest.raises(NotReplaceable, match="being cancelled"):
        instead(old, paper, "7")
    assert (states(), PaperOrder.objects.count()) == (["open"], 1)


def test_what_has_run_out_is_not_replaced(desk: Client, paper: Paper) -> None:
    old = resting(desk, paper)
    Order.objects.filter(id=old.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(NotReplaceable, match="being cancelled"):
        instead(old, paper, "7")


def test_a_cancel_right_before_the_sending_stops_it(
    desk: Client, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = resting(desk, paper)
    sending = risk.sending

    def late() -> AbstractContextManager[risk.Sending]:
        changes.request_cancel(old.id, by="olga", now=timezone.now())
        return sending()

    monkeypatch.setattr(risk, "sending", late)
    new = instead(old, paper, "7")
    assert (new.state, new.sent_at) == (OrderState.WITHDRAWN, None)
    assert (reserved(), PaperOrder.objects.count()) == ({old.client_order_id: 5}, 1)


def test_a_halt_stops_it(desk: Client, paper: Paper) -> None:
    old = resting(desk, paper)
    set_switches(halted=True, reason="drill", by="test")
    assert instead(old, paper, "4").state == OrderState.REFUSED
    assert reserved() == {old.client_order_id: 5}


@pytest.mark.parametrize("fails", ["lost answer", "lost request"])
def test_an_answer_that_is_lost_leaves_both_reserved_until_it_is_known(desk: Client, paper: Paper, fails: str) -> None:
    old = resting(desk, paper)
    paper.fails = fails
    new = instead(old, paper, "7")
    assert new.state == OrderState.UNKNOWN
    assert new.client_order_id in reserved()
    paper.fails = ""
    reconciliation.reconcile(desk.id, paper, hold=HOLD, now=timezone.now())
    new.refresh_from_db()
    old.refresh_from_db()
    assert PaperOrder.objects.filter(status="accepted").count() == 1, "never both"
    if fails == "lost answer":
        assert (old.state, new.state, reserved()) == ("cancelled", "open", {new.client_order_id: 7})
    else:  # it is not placed by itself, though the venue would know its id
        assert (old.state, new.state) == ("open", "unknown")
        assert reserved() == {old.client_order_id: 5, new.client_order_id: 7}


def test_what_the_venue_did_not_take_is_withdrawn(desk: Client, paper: Paper) -> None:
    old = resting(desk, paper)
    paper.fails = "away"
    new = instead(old, paper, "7")
    assert (new.state, reserved()) == (OrderState.WITHDRAWN, {old.client_order_id: 5})


def test_an_order_that_has_ended_has_no_place_to_take(desk: Client, paper: Paper) -> None:
    old = resting(desk, paper)
    paper.cancel(old.client_order_id, symbol="AAA")
    new = instead(old, paper, "4")
    assert (new.state, states(), reserved()) == (OrderState.REJECTED, ["cancelled", "rejected"], {})
    with pytest.raises(NotReplaceable, match="only an open limit order"):
        instead(old, paper, "4")
