"""The table of an order's states: drawn in docs/orders.md, kept by every change, and no trap."""

import re
from pathlib import Path
from uuid import uuid4

import pytest

from tests.execution.conftest import buy, intend
from trading.execution import states
from trading.execution.models import Order
from trading.execution.outcomes import move
from trading.execution.states import ENDED, LIVE, TRANSITIONS, NotPermitted, OrderState
from trading.tenants.models import Client

DOCS = Path(__file__).parents[2] / "docs" / "orders.md"


def test_the_drawing_is_the_table() -> None:
    """Both ways: no arrow that the table lacks, and none that the drawing does."""
    drawn = re.search(r"```mermaid\n(.*?)\n```", DOCS.read_text(), re.DOTALL)
    assert drawn is not None
    arrows = set(re.findall(r"^\s*(\S+) --> (\S+)$", drawn.group(1), re.MULTILINE))
    expected = {(str(before), str(after)) for before in OrderState for after in TRANSITIONS[before]}
    assert {arrow for arrow in arrows if "[*]" not in arrow} == expected
    assert {before for before, after in arrows if after == "[*]"} == set(ENDED)
    assert drawn.group(1) == states.drawing()


def test_every_state_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert described == set(OrderState.values)


def test_every_state_is_reached_and_every_live_one_can_end() -> None:
    reached = {OrderState.REFUSED, OrderState.INTENDED}
    for _ in OrderState:
        reached |= {after for before in reached for after in TRANSITIONS[before]}
    assert reached == set(OrderState)
    for state in LIVE:
        assert TRANSITIONS[state] & set(ENDED), state
    assert not any(TRANSITIONS[state] for state in (OrderState.REFUSED, OrderState.FILLED))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("before", OrderState)
def test_nothing_moves_but_by_the_table(desk: Client, market: None, before: OrderState) -> None:
    (order,) = intend(desk, buy())
    for after in OrderState:
        finished = None if before in LIVE else order.created_at
        Order.objects.filter(id=order.id).update(state=before, finished_at=finished)
        order.refresh_from_db()
        if after in TRANSITIONS[before]:
            assert move(order, after)
        else:
            with pytest.raises(NotPermitted, match=f"from {before} to {after}"):
                move(order, after)
        stored = Order.objects.get(id=order.id)
        assert stored.state == (after if after in TRANSITIONS[before] else before)
        assert (stored.finished_at is None) == (stored.state in LIVE)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_read_the_same_state_one_moves_it(desk: Client, market: None) -> None:
    (first,) = intend(desk, buy(), run_id=uuid4())
    second = Order.objects.get(id=first.id)
    assert move(first, OrderState.SENT)
    assert not move(second, OrderState.WITHDRAWN, reason="late")
    assert Order.objects.get(id=first.id).state == OrderState.SENT
