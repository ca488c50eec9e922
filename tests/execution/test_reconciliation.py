"""Our books against a venue's: the paper venue, whose own books are changed behind our back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from tests.execution.conftest import buy, quoted, sell
from trading.audit.models import AuditEntry
from trading.brokers.adapters.paper import PaperBroker
from trading.brokers.base import (
    AccountFill,
    BrokerRefused,
    BrokerUnavailable,
    Execution,
    OrderReport,
    OrderStatus,
    OrderType,
    OutcomeUnknown,
    Side,
    Ticket,
    TimeInForce,
)
from trading.brokers.instruments import Instrument
from trading.brokers.lists import PartlyUnreadable
from trading.brokers.models import PaperAccount, PaperHolding, PaperOrder
from trading.execution import books, changes, differences, explanations, outcomes, services
from trading.execution.looks import Outcome
from trading.execution.models import Adjustment, Difference, DifferenceKind, Fill, Order, Position, Reconciliation
from trading.execution.planning import Planned
from trading.execution.reconciliation import reconcile
from trading.execution.states import OrderState
from trading.risk.models import Reservation
from trading.tenants.models import Client

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = services.in_transaction


class Paper(PaperBroker):
    """The paper venue, which loses answers and is away on demand, and forgets ids that it has seen if told so."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.id)
        self.away: set[str] = set()
        self.loses: str = ""
        self.hides: set[str] = set()
        self.placed: list[str] = []
        self.earliest: datetime | None = None
        self.asked_since: list[datetime] = []

    def _ask(self, operation: str) -> None:
        if {operation, "all"} & self.away:
            raise BrokerUnavailable("no route", broker="paper", operation=operation, code="down")

    def place(self, ticket: Ticket) -> OrderReport:
        self._ask("place")
        self.placed.append(ticket.client_order_id)
        if self.loses != "request":
            report = super().place(ticket)
        if self.loses:
            raise OutcomeUnknown("no answer", broker="paper", operation="place", code="timeout")
        return report

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        self._ask("order")
        return None if client_order_id in self.hides else super().order(client_order_id, symbol=symbol)

    def open_orders(self) -> tuple[OrderReport, ...]:
        self._ask("open_orders")
        return tuple(one for one in super().open_orders() if one.client_order_id not in self.hides)

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        self._ask("fills")
        self.asked_since.append(since)
        if self.earliest is not None and since < self.earliest:
            raise BrokerRefused(
                "only today", broker="paper", operation="fills", code="out_of_reach",
                context={"earliest": self.earliest.isoformat()},
            )  # fmt: skip
        return super().fills(since, symbols=symbols)


@pytest.fixture
def paper(desk: Client, market: None) -> Paper:
    return Paper(desk)


@pytest.fixture
def look(desk: Client, paper: Paper) -> Callable[..., Outcome]:
    def compare(minutes: int = 0) -> Outcome:
        return reconcile(desk.id, paper, hold=HOLD, now=timezone.now() + timedelta(minutes=minutes))

    return compare


Look = Callable[..., Outcome]


def trade(client: Client, paper: Paper, *planned: Planned) -> list[Order]:
    return [services.submit(order, paper, hold=HOLD) for order in intend_at_paper(client, *planned)]


def kinds() -> list[tuple[str, str]]:
    return list(Difference.objects.filter(resolved_at=None).order_by("id").values_list("kind", "symbol"))


def rest(quantity: str = "2", limit: str = "90", **more: object) -> Planned:
    return Planned("AAA", Side.BUY, Decimal(quantity), Decimal(100), Decimal(limit), TimeInForce.GTC, **more)  # type: ignore[arg-type]


def is_refused(client: Client, planned: Planned) -> str:
    (order,) = intend_at_paper(client, planned)
    return order.reason if order.state == OrderState.REFUSED else ""


def intend_at_paper(client: Client, *planned: Planned) -> list[Order]:
    with transaction.atomic():
        quotes = {one.symbol: quoted(one.symbol, one.price) for one in planned}
        return services.intend(client.id, uuid4(), planned, broker="paper", quotes=quotes)


def test_accounts_that_agree_leave_no_difference(desk: Client, paper: Paper, look: Look) -> None:
    assert look().is_complete
    trade(desk, paper, buy("5"), buy("3", symbol="BBB", price="50"))
    trade(desk, paper, sell("2"))
    outcome = look()
    assert (outcome.error, outcome.new, outcome.standing) == ("", 0, 0), kinds()
    assert books.mismatches() == []


def test_what_was_there_before_us_is_no_difference(desk: Client, paper: Paper, look: Look) -> None:
    PaperHolding.objects.create(account_id=desk.id, symbol="BBB", quantity=7)
    assert look().standing == 0
    assert {(row.asset, row.quantity) for row in Adjustment.objects.all()} == {("BBB", 7), ("USD", 10_000)}
    PaperHolding.objects.filter(symbol="BBB").update(quantity=6)
    assert (look().new, kinds()) == (1, [("position", "BBB")])


@pytest.mark.parametrize("extra", ["1", "-1"])
def test_another_position_blocks_its_symbol_until_it_is_explained(
    desk: Client, paper: Paper, look: Look, extra: str
) -> None:
    look()
    trade(desk, paper, buy("5"))
    PaperHolding.objects.filter(symbol="AAA").update(quantity=5 + Decimal(extra))
    assert (look().new, kinds()) == (1, [("position", "AAA")])
    assert look().new == 0, "found again, it is the same difference"
    (found,) = differences.standing(desk.id)
    assert (found.ours, found.theirs, found.quantity) == ("5", f"{5 + Decimal(extra):f}", Decimal(extra))
    assert is_refused(desk, buy("1")).startswith("reconciliation: Another position AAA")
    assert is_refused(desk, sell("1")).startswith("reconciliation")
    assert not is_refused(desk, buy("1", symbol="BBB", price="50")), "other symbols are traded on"
    with transaction.atomic():
        explanations.explain(found.id, by="olga", reason="moved by hand", now=timezone.now())
    assert not is_refused(desk, buy("1"))
    assert (look().standing, Position.objects.get(symbol="AAA").quantity) == (0, 5)
    assert AuditEntry.objects.filter(action="difference.found").count() == 1
    assert AuditEntry.objects.filter(action="difference.resolved").count() == 1


def test_a_difference_that_goes_is_resolved_by_that(desk: Client, paper: Paper, look: Look) -> None:
    look()
    trade(desk, paper, buy("5"))
    PaperHolding.objects.filter(symbol="AAA").update(quantity=4)
    look()
    PaperHolding.objects.filter(symbol="AAA").update(quantity=5)
    assert (look().gone, kinds()) == (1, [])
    row = Difference.objects.get()
    assert (row.resolved_by, row.resolution) == ("reconciliation", "found to be gone")


@pytest.mark.parametrize("operation", ["order", "open_orders", "fills", "positions", "balances", "all"])
def test_what_is_not_answered_is_no_evidence(
    desk: Client, paper: Paper, look: Look, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look()
    trade(desk, paper, buy("5"), rest())
    PaperHolding.objects.filter(symbol="AAA").update(quantity=4)
    PaperAccount.objects.update(cash=1)
    look()
    standing = kinds()
    assert set(standing) == {("position", "AAA"), ("balance", "")}
    for name in ("positions", "balances"):
        original = getattr(paper, name)
        monkeypatch.setattr(paper, name, lambda name=name, original=original: (paper._ask(name), original())[1])
    paper.away = {operation}
    outcome = look()
    assert outcome.error
    assert (outcome.gone, kinds()) == (0, standing)
    assert Order.objects.filter(state=OrderState.OPEN).count() == 1, "what was acknowledged stands"
    mark = Reconciliation.objects.get()
    assert mark.error and mark.checked_at is not None and mark.checked_at < mark.tried_at


def test_missing_money_blocks_buying_and_more_money_does_not(desk: Client, paper: Paper, look: Look) -> None:
    look()
    trade(desk, paper, buy("5"))
    PaperAccount.objects.update(cash=PaperAccount.objects.get().cash + 100)
    look()
    assert kinds() == [("balance", "")]
    assert not is_refused(desk, buy("1"))
    PaperAccount.objects.update(cash=PaperAccount.objects.get().cash - 300)
    look()
    assert is_refused(desk, buy("1")).startswith("reconciliation: Another balance USD")
    assert not is_refused(desk, sell("1"))
    with transaction.atomic():
        explanations.explain(Difference.objects.get().id, by="olga", reason="paid out", now=timezone.now())
    assert (look().standing, is_refused(desk, buy("1"))) == (0, "")


def test_money_is_not_compared_while_something_is_held_in_other_money(
    desk: Client, paper: Paper, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found to be missing before that is not gone by it."""
    look()
    trade(desk, paper, buy("1"))
    PaperAccount.objects.update(cash=PaperAccount.objects.get().cash - 300)
    look()
    assert kinds() == [("balance", "")]
    here = paper.instrument("AAA")
    monkeypatch.setattr(paper, "instrument", lambda symbol: replace(here, currency="SGD"))
    PaperAccount.objects.update(cash=PaperAccount.objects.get().cash - 100)
    look()
    assert kinds() == [("balance", "")]
    assert Difference.objects.get().quantity == -300, "what stands is what was found when it could be"


@pytest.mark.parametrize("operation", ["open_orders", "fills"])
def test_a_row_that_cannot_be_read_hides_no_other_and_is_not_taken_to_be_gone(
    desk: Client, paper: Paper, look: Look, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stood before, which is the row that cannot be read by now; one is new; a fill of ours is booked."""
    look()
    paper.loses = "answer"
    trade(desk, paper, buy("1"))
    paper.loses = ""
    mark = Reconciliation.objects.get()

    def listed(*numbers: int) -> tuple[AccountFill, ...] | tuple[OrderReport, ...]:
        if operation == "open_orders":
            return tuple(
                OrderReport("", f"theirs-{n}", OrderStatus.ACCEPTED, symbol="BBB", side=Side.BUY, quantity=Decimal(1))
                for n in numbers
            )
        at = timezone.now()
        part = Execution("", Decimal(1), Decimal(50), Decimal(0), at)
        own = PaperBroker.fills(paper, mark.fills_since, symbols=["AAA"])
        other = [AccountFill(replace(part, execution_id=f"e{n}"), "BBB", Side.BUY, "", f"t{n}") for n in numbers]
        return (*other, *own)

    monkeypatch.setattr(paper, operation, lambda *args, **options: listed(1))
    look()
    assert kinds() == [("unknown_order" if operation == "open_orders" else "unknown_fill", "BBB")]
    since = Reconciliation.objects.get().fills_since

    def partly(*args: object, **options: object) -> None:
        raise PartlyUnreadable(listed(2), ["1"], broker="paper", operation=operation)

    monkeypatch.setattr(paper, operation, partly)
    outcome = look(1)
    assert (outcome.new, outcome.gone, len(kinds())) == (1, 0, 2)
    assert "of which 1 cannot be read: 1" in outcome.error
    assert Fill.objects.count() == 1
    assert (Reconciliation.objects.get().fills_since == since) == (operation == "fills"), "it is asked for again"


def test_a_fill_that_we_missed_is_booked(desk: Client, paper: Paper, look: Look) -> None:
    paper.loses = "answer"
    (order,) = trade(desk, paper, buy("5"))
    assert order.state == OrderState.UNKNOWN
    assert (look().standing, kinds()) == (0, [])
    order.refresh_from_db()
    assert (order.state, Position.objects.get(symbol="AAA").quantity) == (OrderState.FILLED, 5)
    assert paper.placed == [order.client_order_id]
    assert not Reservation.objects.exists()


def test_a_fill_after_a_cancel_that_only_the_list_of_fills_shows(desk: Client, paper: Paper, look: Look) -> None:
    (order,) = trade(desk, paper, rest())
    changes.cancel(order.id, paper, by="olga", hold=HOLD, now=timezone.now())
    row = PaperOrder.objects.get()
    row.fills = [{"quantity": "1", "price": "90", "fee": "0", "time": timezone.now().isoformat()}]
    row.filled_quantity, row.met_at = Decimal(1), timezone.now()
    row.save()
    PaperHolding.objects.update_or_create(account_id=desk.id, symbol="AAA", defaults={"quantity": 1})
    PaperAccount.objects.update(cash=9_910)
    look()
    order.refresh_from_db()
    assert (order.state, order.filled_quantity, kinds()) == (OrderState.CANCELLED, 1, [])
    assert AuditEntry.objects.filter(action="order.filled_late").count() == 1


def test_an_order_and_a_fill_of_somebody_else_are_differences(desk: Client, paper: Paper, look: Look) -> None:
    trade(desk, paper, buy("1"))
    look()
    PaperBroker(desk.id).place(Ticket("hand-1", "AAA", Side.BUY, Decimal(3)))
    PaperBroker(desk.id).place(
        Ticket("hand-2", "BBB", Side.BUY, Decimal(2), OrderType.LIMIT, Decimal("40"), time_in_force=TimeInForce.GTC)
    )
    look()
    assert set(kinds()) == {
        ("unknown_order", "BBB"), ("unknown_fill", "AAA"), ("position", "AAA"), ("balance", ""),
    }  # fmt: skip
    assert is_refused(desk, buy("1", symbol="BBB", price="50"))
    for kind in ("unknown_fill", "unknown_order"):
        with transaction.atomic():
            explanations.adopt(Difference.objects.get(kind=kind).id, by="olga", reason="mine", now=timezone.now())
    outcome = look()
    assert (outcome.standing, kinds()) == (0, [])
    assert Position.objects.get(symbol="AAA").quantity == 4
    resting = Order.objects.get(client_order_id="hand-2")
    assert (resting.state, resting.quantity) == (OrderState.OPEN, 2)
    kept = Reservation.objects.get()
    assert (kept.client_order_id, kept.symbol, kept.quantity, kept.price) == ("hand-2", "BBB", 2, 40)
    assert changes.cancel(resting.id, paper, by="olga", hold=HOLD, now=timezone.now()).state == OrderState.CANCELLED
    assert look().standing == 0


def test_what_a_person_has_explained_is_not_brought_up_again(desk: Client, paper: Paper, look: Look) -> None:
    trade(desk, paper, buy("1"))
    look()
    PaperBroker(desk.id).place(Ticket("hand-1", "AAA", Side.BUY, Decimal(3)))
    look()
    for row in differences.standing(desk.id):
        with transaction.atomic():
            explanations.explain(row.id, by="olga", reason="the client's own", now=timezone.now())
    assert (look().standing, Position.objects.get(symbol="AAA").quantity) == (0, 1)
    with pytest.raises(explanations.NotResolved, match="the client's own"), transaction.atomic():
        explanations.explain(Difference.objects.first().id, by="max", reason="again", now=timezone.now())
    with pytest.raises(DatabaseError, match="resolved once"), transaction.atomic():
        Difference.objects.update(resolution="otherwise")
    with pytest.raises(DatabaseError, match="resolved once"), transaction.atomic():
        Difference.objects.all()._raw_delete(using="default")


def test_a_lost_order_at_a_venue_that_forgets_ids_waits_for_a_person(
    desk: Client, paper: Paper, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Paper, "capabilities", replace(PaperBroker.capabilities, deduplicates_client_ids=False, booking_horizon=None)
    )
    paper.loses = "request"
    (order,) = trade(desk, paper, buy("5"))
    paper.loses = ""
    assert look().standing == 0, "it may be shown a moment later"
    for minutes in (2, 3, 10):
        look(minutes)
    order.refresh_from_db()
    assert (order.state, paper.placed, kinds()) == (
        OrderState.UNKNOWN, [order.client_order_id], [("missing_order", "AAA")],
    )  # fmt: skip
    (found,) = differences.standing(desk.id)
    with pytest.raises(explanations.NotResolved, match="less than 5 minutes"), transaction.atomic():
        explanations.explain(found.id, by="olga", reason="Binance says no", now=timezone.now())
    Order.objects.update(sent_at=datetime(2026, 11, 20, tzinfo=UTC))
    with transaction.atomic():
        explanations.explain(found.id, by="olga", reason="Binance says no", now=timezone.now())
    order.refresh_from_db()
    assert (order.state, Reservation.objects.exists(), look(11).standing) == (OrderState.NOT_BOOKED, False, 0)


def test_a_part_filled_order_that_the_venue_forgets_ends_with_what_was_filled(
    desk: Client, paper: Paper, look: Look
) -> None:
    """2 of 5 were filled, then the venue shows it no more. Nothing else would ever end it, or free its symbol."""
    (order,) = trade(desk, paper, rest("5"))
    part = Execution("x-1", Decimal(2), Decimal(90), Decimal(0), timezone.now(), fee_asset="USD")
    outcomes.record_fills(order, [part], hold=HOLD)
    paper.hides.add(order.client_order_id)
    Order.objects.update(sent_at=timezone.now() - timedelta(hours=1))
    look()
    found = Difference.objects.get(kind="missing_order", resolved_at=None)
    with pytest.raises(explanations.NotResolved, match="cancel it first"), transaction.atomic():
        explanations.explain(found.id, by="olga", reason="the venue has wiped it", now=timezone.now())
    changes.request_cancel(order.id, by="olga", now=timezone.now() - timedelta(minutes=6))
    with transaction.atomic():
        explanations.explain(found.id, by="olga", reason="the venue has wiped it", now=timezone.now())
    order.refresh_from_db()
    assert (order.state, order.filled_quantity, Reservation.objects.count()) == (OrderState.CANCELLED, 2, 0)
    assert "missing_order" not in [kind for kind, _ in kinds()]


def test_an_order_that_ended_here_and_is_open_there(desk: Client, paper: Paper, look: Look) -> None:
    (order,) = trade(desk, paper, rest())
    Order.objects.filter(id=order.id).update(state=OrderState.CANCELLED, finished_at=timezone.now())
    look()
    assert kinds() == [("open_order", "AAA")]
    PaperOrder.objects.update(status="cancelled")
    assert (look().gone, kinds()) == (1, [])


def test_too_much_filled_blocks_until_a_person_has_looked(desk: Client, paper: Paper, look: Look) -> None:
    (order,) = trade(desk, paper, buy("5"))
    row = PaperOrder.objects.get()
    row.fills = [*row.fills, {"quantity": "1", "price": "100", "fee": "0", "time": timezone.now().isoformat()}]
    row.save()
    PaperHolding.objects.update(quantity=6)
    services.record(order, paper.order(order.client_order_id, symbol="AAA"), hold=HOLD)  # type: ignore[arg-type]
    assert (kinds(), look().gone) == ([("overfilled", "AAA")], 0)
    assert is_refused(desk, sell("1")).startswith("reconciliation: More filled than was ordered")
    with transaction.atomic():
        explanations.explain(Difference.objects.get().id, by="olga", reason="the venue's fault", now=timezone.now())
    assert not is_refused(desk, sell("1"))


def test_fills_out_of_reach_are_asked_for_from_the_earliest(desk: Client, paper: Paper, look: Look) -> None:
    trade(desk, paper, buy("5"))
    paper.earliest = timezone.now() - timedelta(seconds=30)
    assert look().is_complete
    assert paper.asked_since[1] == paper.earliest


def test_a_difference_between_intent_and_sending_stops_the_order(desk: Client, paper: Paper, look: Look) -> None:
    (order,) = intend_at_paper(desk, buy("1"))
    with transaction.atomic():
        one = differences.Found(DifferenceKind.POSITION, "AAA", "AAA", "0", "1", Decimal(1))
        differences.report(desk.id, "paper", [one], now=timezone.now())
    order = services.submit(order, paper, hold=HOLD)
    assert (order.state, paper.placed, Reservation.objects.exists()) == (OrderState.WITHDRAWN, [], False)


def test_a_resting_order_ends_when_its_time_is_over(desk: Client, paper: Paper, look: Look) -> None:
    later = timezone.now() + timedelta(minutes=5)
    (order,) = trade(desk, paper, rest(expires_at=later))
    look()
    order.refresh_from_db()
    assert order.state == OrderState.OPEN
    Order.objects.update(expires_at=timezone.now())
    look()
    order.refresh_from_db()
    assert (order.state, PaperOrder.objects.get().status) == ("expired", "cancelled")
    assert not Reservation.objects.exists()


def test_a_cancel_that_was_not_answered_is_asked_for_again(
    desk: Client, paper: Paper, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = trade(desk, paper, rest())

    def hang(client_order_id: str, *, symbol: str) -> OrderReport:
        raise OutcomeUnknown("no answer", broker="paper", operation="cancel", code="timeout")

    with monkeypatch.context() as patched:
        patched.setattr(paper, "cancel", hang)
        order = changes.cancel(order.id, paper, by="olga", hold=HOLD, now=timezone.now())
        assert order.state == OrderState.OPEN
    look()
    order.refresh_from_db()
    assert order.state == OrderState.CANCELLED
    with pytest.raises(changes.NotCancelled, match="cancelled"):
        changes.request_cancel(order.id, by="olga", now=timezone.now())


def test_what_was_not_sent_is_cancelled_here(desk: Client, paper: Paper) -> None:
    (order,) = intend_at_paper(desk, buy("1"))
    order = changes.cancel(order.id, paper, by="olga", hold=HOLD, now=timezone.now())
    assert (order.state, paper.placed, Reservation.objects.exists()) == (OrderState.WITHDRAWN, [], False)


def test_what_nobody_sends_any_more_is_withdrawn_and_its_room_freed(desk: Client, paper: Paper) -> None:
    (order,) = intend_at_paper(desk, buy("1"))
    now = timezone.now()
    assert changes.end_stale(desk.id, hold=HOLD, now=now + timedelta(minutes=4)) == 0
    assert Reservation.objects.count() == 1
    assert changes.end_stale(desk.id, hold=HOLD, now=now + timedelta(minutes=6)) == 1
    order.refresh_from_db()
    assert (order.state, Reservation.objects.count()) == (OrderState.WITHDRAWN, 0)
    assert AuditEntry.objects.filter(action="order.withdrawn", subject=f"order:{order.id}").count() == 1


def test_dust_below_a_lot_is_no_difference(desk: Client, paper: Paper, look: Look) -> None:
    look()
    trade(desk, paper, buy("5"))
    PaperHolding.objects.filter(symbol="AAA").update(quantity=Decimal("4.9995"))
    assert look().standing == 0
    PaperHolding.objects.filter(symbol="AAA").update(quantity=Decimal("4.999"))
    assert look().standing == 1


def test_a_position_in_a_symbol_under_way_is_not_compared(
    desk: Client, paper: Paper, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    look()
    trade(desk, paper, buy("5"))
    monkeypatch.setattr(Paper, "capabilities", replace(PaperBroker.capabilities, deduplicates_client_ids=False))
    paper.loses = "answer"
    (order,) = trade(desk, paper, rest())
    paper.hides = {order.client_order_id}
    PaperHolding.objects.filter(symbol="AAA").update(quantity=4)
    look()
    assert kinds() == []
    paper.hides, paper.loses = set(), ""
    look()
    assert kinds() == [("position", "AAA")]
    paper.hides = {order.client_order_id}
    Order.objects.filter(id=order.id).update(state=OrderState.UNKNOWN)
    PaperOrder.objects.filter(client_order_id=order.client_order_id).update(status="cancelled")
    assert (look().gone, kinds()) == (0, [("position", "AAA")])


class Delisted(Paper):
    """The paper venue, which no longer knows a symbol: what asks for it by name is refused."""

    gone = frozenset({"AAA"})

    def _known(self, symbol: str, operation: str) -> None:
        if symbol in self.gone:
            raise BrokerRefused("not traded", broker="paper", operation=operation, code="unknown_symbol")

    def instrument(self, symbol: str) -> Instrument:
        self._known(symbol, "instrument")
        return super().instrument(symbol)

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        self._known(symbol, "order")
        return super().order(client_order_id, symbol=symbol)

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        self._known(symbol, "cancel")
        return super().cancel(client_order_id, symbol=symbol)

    def open_orders(self) -> tuple[OrderReport, ...]:
        return tuple(one for one in super().open_orders() if one.symbol not in self.gone)

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        for symbol in symbols:
            self._known(symbol, "fills")
        return super().fills(since, symbols=symbols)


def test_a_delisted_symbol_keeps_its_order_and_position_and_the_others_go_on(desk: Client, paper: Paper) -> None:
    """Two are held and one more is wanted when the symbol goes; a fill in another symbol is found all the same."""
    trade(desk, paper, buy("2"))
    (order,) = trade(desk, paper, rest("1"))
    (other,) = trade(desk, paper, buy("3", symbol="BBB", price="50"))
    Fill.objects.filter(order=other).delete()
    venue = Delisted(desk)
    done = reconcile(desk.id, venue, hold=HOLD, now=timezone.now())
    order.refresh_from_db()
    assert (order.state, Reservation.objects.get().client_order_id) == (OrderState.OPEN, order.client_order_id)
    assert order.client_order_id in done.error and "not traded" in done.error
    assert Position.objects.get(symbol="AAA").quantity == 2
    assert Fill.objects.filter(order=other).exists(), "of the others nothing is missed"

    changes.cancel(order.id, venue, by="olga", hold=HOLD, now=timezone.now())
    with pytest.raises(outcomes.NotForgotten, match="less than 5 minutes"):
        outcomes.write_off(order.id, by="olga")
    Order.objects.filter(id=order.id).update(cancel_requested_at=timezone.now() - timedelta(minutes=6))
    closed = outcomes.write_off(order.id, by="olga")
    assert (closed.state, closed.reason) == (OrderState.CANCELLED, "written off by olga: the venue no longer has it")
    assert not Reservation.objects.exists()
    assert not reconcile(desk.id, venue, hold=HOLD, now=timezone.now()).error


def test_an_open_order_is_cancelled_before_it_may_be_written_off(desk: Client, paper: Paper) -> None:
    (order,) = trade(desk, paper, rest("1"))
    with pytest.raises(outcomes.NotForgotten, match="cancel it first"):
        outcomes.write_off(order.id, by="olga")
