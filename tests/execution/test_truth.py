"""What venues report is booked as it is: too much, too late, corrected. A position is the sum of its fills."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from tests.execution.conftest import Venue, buy, intend, sell
from trading.audit.models import AuditEntry
from trading.brokers.base import Execution, OrderReport, OrderStatus
from trading.execution import books, outcomes, services
from trading.execution.models import Fill, Order, Position
from trading.execution.states import OrderState
from trading.risk.models import Reservation
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = services.in_transaction
AT = datetime(2026, 11, 20, tzinfo=UTC)


def part(number: int, quantity: str, price: str = "100", fee: str = "0") -> Execution:
    return Execution(f"x{number}", Decimal(quantity), Decimal(price), Decimal(fee), AT)


def report(order: Order, status: OrderStatus, *parts: Execution) -> OrderReport:
    return OrderReport(order.client_order_id, "v-1", status, parts)


def sent(desk: Client, venue: Venue, planned: object) -> Order:
    venue.fails = ["lost answer"]
    (order,) = intend(desk, planned)  # type: ignore[arg-type]
    return services.submit(order, venue, hold=HOLD)


def told(action: str) -> int:
    return AuditEntry.objects.filter(action=f"order.{action}").count()


def reserved(order: Order) -> Decimal:
    return Reservation.objects.get(client_order_id=order.client_order_id).quantity


def held(desk: Client) -> Decimal:
    return Position.objects.get(client=desk, symbol="AAA").quantity


def test_what_is_filled_beyond_the_order_is_booked_and_told(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("5"))
    order = services.record(order, report(order, OrderStatus.FILLED, part(1, "5"), part(2, "0.25")), hold=HOLD)
    assert (order.state, order.filled_quantity, order.left) == (OrderState.FILLED, Decimal("5.25"), 0)
    assert held(desk) == Decimal("5.25")
    assert told("overfilled") == 1
    services.record(order, report(order, OrderStatus.FILLED, part(1, "5"), part(2, "0.25")), hold=HOLD)
    assert told("overfilled") == 1, "told once"


@pytest.mark.parametrize("status", [OrderStatus.CANCELLED, OrderStatus.REJECTED])
def test_a_fill_that_comes_after_the_end_counts(desk: Client, market: None, venue: Venue, status: OrderStatus) -> None:
    order = sent(desk, venue, buy("5"))
    order = services.record(order, report(order, status), hold=HOLD)
    assert order.state in (OrderState.EXPIRED, OrderState.REJECTED)
    order = services.record(order, report(order, OrderStatus.CANCELLED, part(1, "2")), hold=HOLD)
    assert (order.state, held(desk), told("filled_late")) == (OrderState.EXPIRED, 2, 1)
    order = services.record(order, report(order, OrderStatus.FILLED, part(1, "2"), part(2, "3")), hold=HOLD)
    assert (order.state, held(desk), told("filled_late")) == (OrderState.FILLED, 5, 2)
    assert order.finished_at is not None


def test_an_order_that_was_refused_and_lives_is_told(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("5"))
    order = services.record(order, report(order, OrderStatus.REJECTED), hold=HOLD)
    assert not Reservation.objects.exists()
    order = services.record(order, report(order, OrderStatus.ACCEPTED), hold=HOLD)
    assert (order.state, order.finished_at, told("revived")) == (OrderState.OPEN, None, 1)
    assert reserved(order) == 5, "it may yet be filled"
    order = services.record(order, report(order, OrderStatus.PARTIALLY_FILLED, part(1, "2")), hold=HOLD)
    assert (order.state, reserved(order)) == (OrderState.PARTIALLY_FILLED, 3)


def test_what_lives_again_takes_room_from_the_next_order(
    desk: Client, market: None, venue: Venue, settings: Settings
) -> None:
    """5 at 100 of BBB's account live again beside a limit of 900: 4 more pass, and 5 do not."""
    settings.QT_MAX_GROSS_EXPOSURE = Decimal(900)
    order = sent(desk, venue, buy("5"))
    services.record(order, report(order, OrderStatus.REJECTED), hold=HOLD)
    services.record(order, report(order, OrderStatus.ACCEPTED), hold=HOLD)
    (more,) = intend(desk, buy("10", symbol="BBB", price="50"))
    assert (more.state, more.reason.split(":")[0]) == (OrderState.REFUSED, "QT_MAX_GROSS_EXPOSURE")
    (fits,) = intend(desk, buy("8", symbol="BBB", price="50"))
    assert fits.state == OrderState.INTENDED


def test_an_older_report_does_not_undo_a_newer_one(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("5"))
    order = services.record(order, report(order, OrderStatus.FILLED, part(1, "5")), hold=HOLD)
    order = services.record(order, report(order, OrderStatus.ACCEPTED), hold=HOLD)
    assert (order.state, order.filled_quantity, held(desk)) == (OrderState.FILLED, 5, 5)


def test_a_corrected_execution_is_counted_anew(desk: Client, market: None, venue: Venue) -> None:
    """Bought 4 at 100 for 1, sold 1 at 110 for 0: 10 earned. At 102 it was 8, and the cost is 102."""
    bought = sent(desk, venue, buy("4"))
    bought = services.record(bought, report(bought, OrderStatus.FILLED, part(1, "4", "100", "1")), hold=HOLD)
    sold = sent(desk, venue, sell("1", price="110"))
    services.record(sold, report(sold, OrderStatus.FILLED, part(2, "1", "110")), hold=HOLD)
    position = Position.objects.get(client=desk)
    assert (position.quantity, position.average_cost, position.realised_pnl) == (3, 100, 9)
    bought = services.record(bought, report(bought, OrderStatus.FILLED, part(1, "4", "102", "1")), hold=HOLD)
    position.refresh_from_db()
    assert (position.quantity, position.average_cost, position.realised_pnl) == (3, 102, 7)
    assert [fill.realised_pnl for fill in Fill.objects.order_by("id")] == [-1, 8]
    assert (bought.average_price, told("fill_corrected"), Fill.objects.count()) == (102, 1, 2)
    services.record(bought, report(bought, OrderStatus.FILLED, part(1, "5", "102", "1")), hold=HOLD)
    assert held(desk) == 4, "a corrected quantity moves the position"
    assert books.mismatches() == []


def test_a_busted_execution_was_never_traded(desk: Client, market: None, venue: Venue) -> None:
    """Bought 4 at 100 and 1 at 105 for 1 each: cost 101, and 100 for 1 once the second is taken back."""
    order = sent(desk, venue, buy("5"))
    parts = [part(1, "4", "100", "1"), part(2, "1", "105", "1")]
    order = services.record(order, report(order, OrderStatus.FILLED, *parts), hold=HOLD)
    assert (held(desk), Position.objects.get(client=desk).average_cost) == (5, 101)
    busted = [parts[0], part(2, "0", "105")]
    order = services.record(order, report(order, OrderStatus.FILLED, *busted), hold=HOLD)
    position = Position.objects.get(client=desk)
    assert (position.quantity, position.average_cost, position.realised_pnl) == (4, 100, -1)
    assert (order.filled_quantity, order.average_price, order.fees) == (4, 100, 1)
    services.record(order, report(order, OrderStatus.FILLED, *busted), hold=HOLD)
    assert (told("fill_corrected"), Fill.objects.count(), books.mismatches()) == (1, 1, [])
    order = services.record(order, report(order, OrderStatus.FILLED, part(1, "0"), part(2, "0")), hold=HOLD)
    assert (held(desk), order.filled_quantity, order.average_price) == (0, 0, None)


def test_what_is_taken_back_of_an_open_order_may_be_traded_yet(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("5"))
    for quantity, left in (("2", 3), ("1", 4), ("0", 5)):
        status = OrderStatus.PARTIALLY_FILLED if left < 5 else OrderStatus.ACCEPTED
        order = services.record(order, report(order, status, part(1, quantity)), hold=HOLD)
        assert (order.state, order.left, reserved(order)) == (OrderState.PARTIALLY_FILLED, left, left)


def test_an_execution_of_nothing_says_nothing(desk: Client, market: None, venue: Venue) -> None:
    """One that was busted before we knew of it: in a list of fills it is neither missing nor a part of an order."""
    order = sent(desk, venue, buy("5"))
    order = services.record(order, report(order, OrderStatus.ACCEPTED), hold=HOLD)
    assert books.is_booked(None, part(1, "0"))
    assert outcomes.record_fills(order, [part(1, "0")], hold=HOLD).state == OrderState.OPEN


def test_a_fee_that_is_known_later_counts_once(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("4"))
    for fee in ("0", "1.5", "1.6"):  # a venue that takes another asset tells its worth at the price of now
        order = services.record(order, report(order, OrderStatus.FILLED, part(1, "4", "100", fee)), hold=HOLD)
    position = Position.objects.get(client=desk)
    assert (order.fees, position.realised_pnl) == (Decimal("1.5"), Decimal("-1.5"))


def test_a_fee_of_unknown_worth_is_told_and_its_fill_counts(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("4"))
    taken = replace(part(1, "4.00000001", "99.99"), fee_asset="NEW", fee_unvalued=Decimal("0.004"))
    for _ in range(2):
        order = services.record(order, report(order, OrderStatus.FILLED, taken), hold=HOLD)
    fill = Fill.objects.get()
    assert (fill.quantity, fill.price, fill.fee_asset) == (Decimal("4.00000001"), Decimal("99.99"), "NEW")
    assert (held(desk), fill.fee, fill.fee_quantity) == (Decimal("4.00000001"), 0, 0)
    (entry,) = AuditEntry.objects.filter(action="order.fee_unvalued")
    assert (entry.data["asset"], Decimal(entry.data["taken"])) == ("NEW", Decimal("0.004"))


def test_nobody_writes_a_position_but_its_fills(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("4"))
    services.record(order, report(order, OrderStatus.FILLED, part(1, "4")), hold=HOLD)
    with pytest.raises(IntegrityError, match="book a fill"), transaction.atomic():
        Position.objects.update(quantity=5)
    with pytest.raises(IntegrityError, match="book a fill"), transaction.atomic():
        Position.objects.create(client=desk, symbol="BBB", quantity=1)
    with pytest.raises(IntegrityError, match="book a fill"), transaction.atomic():
        Position.objects.all().delete()
    with pytest.raises(IntegrityError, match="stays with its order"), transaction.atomic():
        Fill.objects.update(symbol="BBB")
    assert (held(desk), books.mismatches()) == (4, [])
    Fill.objects.all().delete()
    assert held(desk) == 0


def test_a_mismatch_is_found(desk: Client, market: None, venue: Venue) -> None:
    order = sent(desk, venue, buy("4"))
    services.record(order, report(order, OrderStatus.FILLED, part(1, "4")), hold=HOLD)
    target = connection.settings_dict
    with psycopg.connect(host=target["HOST"], port=target["PORT"], dbname=target["NAME"], user="postgres") as server:
        server.execute("SET LOCAL session_replication_role = replica")  # triggers are off
        server.execute("UPDATE trades SET quantity = 3")
    (found,) = books.mismatches(desk.id)
    assert (found.symbol, found.position, found.fills) == ("AAA", 4, 3)


def test_a_written_off_order_that_the_venue_had_comes_back(desk: Client, market: None, venue: Venue) -> None:
    venue.deduplicates = False
    order = sent(desk, venue, buy("5"))
    Order.objects.update(sent_at=AT, created_at=AT)
    outcomes.write_off(order.id, by="olga")
    order = services.record(order, report(order, OrderStatus.FILLED, part(1, "5")), hold=HOLD)
    assert (order.state, held(desk), told("filled_late")) == (OrderState.FILLED, 5, 1)
