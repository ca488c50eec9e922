"""``/clients/{id}/positions`` and ``/trades``: what is held and what was traded, as decimal text, in pages."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client as Http
from django.test.utils import CaptureQueriesContext

from tests.execution.conftest import buy, intend, sell
from trading.brokers.base import Execution, OrderReport, OrderStatus
from trading.execution import services
from trading.execution.models import Order
from trading.tenants.models import Client, Role, User
from trading.tenants.tokens import issue_access_token

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def http_of(client: Client) -> Http:
    user = User.objects.create_user(f"reader-{uuid4()}", role=Role.READ_ONLY, client=client)
    return Http(headers={"Authorization": f"Bearer {issue_access_token(user)}"})


def filled(order: Order, number: int, price: str, fee: str = "0") -> None:
    Order.objects.filter(id=order.id).update(state="sent", sent_at=AT)
    part = Execution(f"x{number}", order.quantity, Decimal(price), Decimal(fee), AT)
    services.record(
        order,
        OrderReport(order.client_order_id, f"v{number}", OrderStatus.FILLED, (part,)),
        hold=services.in_transaction,
    )


def test_positions_at_the_newest_close_and_trades_newest_first(desk: Client, market: None) -> None:
    """3 bought at 90 for 1, 1 sold at 95: 5 less the fee is earned, and 2 are worth 10 more than the 90 each cost."""
    (bought,) = intend(desk, buy("3"))
    filled(bought, 1, "90", "1")
    (sold,) = intend(desk, sell("1"))
    filled(sold, 2, "95")
    http = http_of(desk)
    (row,) = http.get(f"/clients/{desk.id}/positions").json()["results"]
    del row["updated_at"]
    assert row == {
        "symbol": "AAA", "quantity": "2", "average_cost": "90", "price": "100", "value": "200.00",
        "unrealised_pnl": "20.00", "realised_pnl": "4.00",
        "greeks": {"delta": "2", "gamma": "0", "vega": "0", "theta": "0", "rho": "0"},
    }  # fmt: skip
    page = http.get(f"/clients/{desk.id}/trades?limit=1").json()
    (trade,) = page["results"]
    assert (trade["side"], trade["quantity"], trade["price"], trade["realised_pnl"]) == ("sell", "1", "95", "5")
    assert (trade["time"], trade["client_order_id"]) == ("2026-11-20T12:00:00Z", sold.client_order_id)
    rest = http.get(page["next"]).json()
    assert [(one["side"], one["fee"]) for one in rest["results"]] == [("buy", "1")]
    assert rest["next"] is None


def test_another_client_sees_nothing(desk: Client, market: None) -> None:
    (bought,) = intend(desk, buy("3"))
    filled(bought, 1, "90")
    other = http_of(Client.objects.create(name="Other"))
    for path in ("positions", "trades"):
        assert other.get(f"/clients/{desk.id}/{path}").status_code == 404
        assert Http().get(f"/clients/{desk.id}/{path}").status_code == 401
    assert http_of(desk).get(f"/clients/{desk.id}/trades?limit=0").status_code == 422


def test_a_page_of_trades_costs_the_same_however_many_there_are(desk: Client, market: None) -> None:
    http = http_of(desk)
    for number in range(5):
        (order,) = intend(desk, buy("1"))
        filled(order, number, "90")
    counts = []
    for limit in (1, 5):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert http.get(f"/clients/{desk.id}/trades?limit={limit}").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]
