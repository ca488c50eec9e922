"""The review: every limit around its value, what refuses for safety, and many reviews at once."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection, transaction

from tests.risk.books import given
from trading.brokers.base import Side
from trading.core.ids import uuid7
from trading.core.scope import platform_scope
from trading.risk.limits import (
    Book,
    Limit,
    Proposal,
    daily_loss,
    gross_exposure,
    notional_per_trade,
    position_per_symbol,
)
from trading.risk.limits import price_move as price_move_limit
from trading.risk.models import Guard, Reservation
from trading.risk.services import ApprovedOrder, Refusal, review
from trading.risk.switches import set_switches
from trading.tenants.models import Client

EMPTY = Book({}, {}, {}, {}, Decimal(0))


def _proposal(quantity: str = "1", price: str = "100", previous: str = "100", side: Side = Side.BUY) -> Proposal:
    bid = Decimal(price)
    return Proposal("AAA", side, Decimal(quantity), Decimal(price), Decimal(previous), bid=bid, ask=bid)


def _review(client_id: UUID, proposal: Proposal) -> ApprovedOrder | Refusal:
    with transaction.atomic():
        return review(client_id, str(uuid7()), proposal, book=given(EMPTY))


@pytest.mark.parametrize(("quantity", "passes"), [("9.99", True), ("10", True), ("10.01", False)])
def test_notional_position_and_gross(quantity: str, passes: bool) -> None:
    # At 100 apiece against 1000; for the book, 4 are held and 3 reserved, so 3 more come to 1000.
    assert (notional_per_trade.check(_proposal(quantity), EMPTY, Decimal(1000)) is None) is passes
    book = Book({"AAA": Decimal(4)}, {"AAA": Decimal(3)}, {}, {"AAA": Decimal(100)}, Decimal(0))
    more = _proposal(str(Decimal(quantity) - 7))
    assert (position_per_symbol.check(more, book, Decimal(1000)) is None) is passes
    assert (gross_exposure.check(more, book, Decimal(1000)) is None) is passes


@pytest.mark.parametrize(("price", "passes"), [("124.99", True), ("125", True), ("125.01", False), ("74.99", False)])
def test_price_move(price: str, passes: bool) -> None:
    assert (price_move_limit.check(_proposal(price=price), EMPTY, Decimal(25)) is None) is passes


@pytest.mark.parametrize(("lost", "passes"), [("499.99", True), ("500", False), ("500.01", False)])
def test_daily_loss(lost: str, passes: bool) -> None:
    book = Book({"AAA": Decimal(2)}, {}, {}, {"AAA": Decimal(100)}, -Decimal(lost))
    assert (daily_loss.check(_proposal(), book, Decimal(500)) is None) is passes
    assert daily_loss.check(_proposal("2", side=Side.SELL), book, Decimal(500)) is None


def test_an_approval_is_not_made_by_hand() -> None:
    with pytest.raises(TypeError, match="review"):
        ApprovedOrder(uuid7(), "x", _proposal(), object())


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["QT_NO_SUCH_LIMIT", "QT_MAX_NOTIONAL_PER_TRADE"])
def test_a_limit_that_cannot_be_checked_refuses(settings, monkeypatch: pytest.MonkeyPatch, name: str) -> None:  # type: ignore[no-untyped-def]
    def broken(proposal: Proposal, book: Book) -> None:
        raise ZeroDivisionError

    settings.RISK_LIMITS = (name,)
    monkeypatch.setattr("trading.risk.services.modules", lambda: {"QT_MAX_NOTIONAL_PER_TRADE": Limit((), broken)})
    answer = _review(Client.objects.create(name="Alpha").id, _proposal())
    assert isinstance(answer, Refusal)
    assert (answer.limit, Reservation.objects.count()) == (name, 0)


@pytest.mark.django_db
def test_switches_and_a_missing_guard_refuse() -> None:
    client = Client.objects.create(name="Alpha")
    for switches, limit in (
        ({"halted": True}, "emergency_halt"),
        ({"halted": False, "kill_switch": True}, "kill_switch"),
    ):
        set_switches(**switches)
        answer = _review(client.id, _proposal())
        assert isinstance(answer, Refusal)
        assert answer.limit == limit
    set_switches(kill_switch=False)
    assert isinstance(_review(client.id, _proposal()), ApprovedOrder)
    Guard.objects.all().delete()
    answer = _review(client.id, _proposal())
    assert isinstance(answer, Refusal)
    assert answer.limit == "guard"


@pytest.mark.django_db(transaction=True)
def test_sixteen_reviews_at_once_keep_within_the_gross_exposure(settings) -> None:  # type: ignore[no-untyped-def]
    Guard.objects.get_or_create(id=1)
    settings.QT_MAX_GROSS_EXPOSURE = Decimal(500)
    client = Client.objects.create(name="Alpha")

    @platform_scope()
    def one(_: int) -> bool:
        try:
            return isinstance(_review(client.id, _proposal()), ApprovedOrder)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        approved = list(pool.map(one, range(16)))
    assert sum(approved) == 5  # 500 of room, 100 each
    assert sum(row.quantity * row.price for row in Reservation.objects.all()) == 500
