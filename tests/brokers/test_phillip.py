"""PhillipCapital: one token until it ends, one post for each order, wherever it is configured to be."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pydantic
import pytest
from pytest_django import Settings

from tests.venues.process import VenueProcess
from trading.brokers.adapters.phillip import line
from trading.brokers.adapters.phillip.line import PhillipCredentials
from trading.brokers.base import Broker, BrokerRefused, BrokerUnavailable, OrderStatus, OutcomeUnknown, Side, Ticket
from trading.brokers.hosts import HostRefused
from trading.brokers.lists import PartlyUnreadable
from trading.brokers.registry import open_session
from trading.core.ids import uuid7

CREDENTIALS = {"client_id": "test-client", "client_secret": "test-client-secret", "request_backoff_seconds": 0.01}
SEED = {
    "client_id": "...",
    "client_secret": "...",
    "request_retries": 3,
    "request_backoff_seconds": 0.4,
    "exchange": "CME",
    "currency": "USD",
}


@pytest.fixture
def venue(transactional_db: None, tmp_path: Path, settings: Settings) -> Iterator[VenueProcess]:
    process = VenueProcess("phillip", tmp_path / "ledger.sqlite")
    settings.QT_PHILLIP_URL, settings.QT_BROKER_TIMEOUT_SECONDS = process.url, 5.0
    yield process
    process.close()


@pytest.fixture
def broker(venue: VenueProcess) -> Iterator[Broker]:
    with open_session("phillip", uuid7(), credentials=CREDENTIALS) as session:
        yield session


def _ticket(quantity: int = 100, symbol: str = "D05") -> Ticket:
    return Ticket(f"qt-{uuid7().hex[:29]}", symbol, Side.BUY, Decimal(quantity))


def _count(venue: VenueProcess, table: str) -> int:
    rows = venue.ledger(f"SELECT count(*) AS n FROM {table}")
    count: int = rows[0]["n"]
    return count


def test_a_token_is_shared_until_a_minute_before_it_ends(venue: VenueProcess, broker: Broker) -> None:
    broker.balances()
    with open_session("phillip", uuid7(), credentials=CREDENTIALS) as another:
        another.positions()
    assert _count(venue, "tokens") == 1
    token = list(line._tokens.values())[-1]  # of the process; other tests have left theirs
    token.renew_at -= 1800 - 60 - 1  # a second of its half hour is left
    broker.balances()
    assert _count(venue, "tokens") == 1
    token.renew_at -= 1
    broker.balances()
    assert _count(venue, "tokens") == 2


def test_a_read_that_meets_a_dead_token_fetches_one_more(venue: VenueProcess, broker: Broker) -> None:
    broker.balances()
    venue.tell("/tokens")
    assert broker.balances()
    assert _count(venue, "tokens") == 2
    venue.tell("/tokens", lifetime=-1)  # every new one is dead at once: it is not tried for ever
    with pytest.raises(BrokerRefused) as refused:
        broker.balances()
    assert refused.value.code == "401"
    assert _count(venue, "tokens") == 3


def test_an_order_is_posted_once_even_when_the_token_was_dead(venue: VenueProcess, broker: Broker) -> None:
    broker.instrument("D05")
    venue.fault(method="POST", path="/v1/orders", process="never", answer="status", status=401)
    ticket = _ticket()
    with pytest.raises(OutcomeUnknown) as unknown:
        broker.place(ticket)
    assert unknown.value.code == "401"
    assert _count(venue, "orders") == 0, "a second post would have been booked"
    assert broker.order(ticket.client_order_id, symbol="D05") is None


@pytest.mark.parametrize("answer", [{"answer": "drop"}, {"answer": "status", "status": 503}, {"answer": "garbage"}])
def test_reads_are_tried_again_and_posts_are_not(
    venue: VenueProcess, broker: Broker, answer: dict[str, object]
) -> None:
    venue.fault(method="GET", path="/v1/ledger", process="never", times=3, **answer)
    assert broker.balances()
    venue.fault(method="GET", path="/v1/ledger", process="never", times=4, **answer)
    with pytest.raises(BrokerUnavailable):
        broker.balances()
    venue.fault(method="POST", path="/v1/orders", process="never", times=1, **answer)
    with pytest.raises(OutcomeUnknown):
        broker.place(_ticket())
    assert _count(venue, "orders") == 0, "a second post would have been booked"


def test_lists_are_read_page_by_page(venue: VenueProcess, broker: Broker) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    placed = [broker.place(_ticket()) for _ in range(5)]
    assert all(report.status is OrderStatus.FILLED for report in placed)
    venue.tell("/limits", page=2)
    fills = broker.fills(since, symbols=[])
    assert [fill.client_order_id for fill in fills] == [report.client_order_id for report in placed]


def test_numbers_of_json_arrive_to_the_last_digit(venue: VenueProcess, broker: Broker) -> None:
    """100 at 43.19 and then at 43.21, 0.08 % for each: 3.4552 and 3.4568, which the venue rounds to cents."""
    report = broker.place(_ticket(300))
    assert [(part.quantity, part.price, part.fee) for part in report.executions] == [
        (Decimal(200), Decimal("43.19"), Decimal("6.91")),
        (Decimal(100), Decimal("43.21"), Decimal("3.46")),
    ]
    assert broker.account().cash == Decimal("1000000.00") - 200 * Decimal("43.19") - Decimal("43.21") * 100 - Decimal(
        "10.37"
    )


def test_fees_in_other_money_are_told_as_such_and_hide_no_trade(venue: VenueProcess) -> None:
    """100 at 43.19, of which 3.4552 were taken, in dollars and to the cent: what that is in Singapore nobody says."""
    with open_session("phillip", uuid7(), credentials={**CREDENTIALS, "currency": "SGD"}) as broker:
        report = broker.place(_ticket())
        (part,) = report.executions
        (fill,) = broker.fills(datetime(2026, 1, 1, tzinfo=UTC), symbols=[])
        assert broker.order(report.client_order_id, symbol="D05") == report
    assert (part.quantity, part.price) == (Decimal(100), Decimal("43.19"))
    assert (part.fee, part.fee_asset, part.fee_unvalued) == (0, "USD", Decimal("3.46"))
    assert fill.execution == part


def _order(number: int, **change: object) -> dict[str, object]:
    """An order as the API lists it."""
    return {
        "orderId": str(number), "clientOrderId": f"c-{number}", "symbol": "D05", "side": "BUY", "orderType": "LIMIT",
        "timeInForce": "GTC", "quantity": 100, "limitPrice": 40, "filledQuantity": 0, "status": "NEW", "reason": "",
        "time": "2026-11-20T10:00:00+00:00", **change,
    }  # fmt: skip


def _execution(number: int, **change: object) -> dict[str, object]:
    return {
        "executionId": f"E{number}", "orderId": str(number), "clientOrderId": f"c-{number}", "symbol": "D05",
        "side": "SELL", "quantity": 100, "price": 43.19, "fee": 3.46, "feeCurrency": "USD",
        "time": "2026-11-20T10:00:00+00:00", **change,
    }  # fmt: skip


def _lists(venue: VenueProcess, path: str, *rows: object) -> None:
    venue.fault(method="GET", path=path, answer="status", status=200, body={"items": rows, "next": None})


@pytest.mark.parametrize("change", [{"quantity": 0}, {"side": "SHORT"}, {"limitPrice": -1}, {"status": "HELD"}])
def test_an_open_order_that_makes_no_sense_hides_no_other(
    venue: VenueProcess, broker: Broker, change: dict[str, object]
) -> None:
    _lists(venue, "/v1/orders", _order(1), _order(2, **change), _order(3))
    with pytest.raises(PartlyUnreadable, match="phillip lists 3, of which 1 cannot be read: 2") as partly:
        broker.open_orders()
    assert [one.client_order_id for one in partly.value.readable] == ["c-1", "c-3"]
    _lists(venue, "/v1/orders", _order(2, **change))
    with pytest.raises(BrokerUnavailable):  # never that there is none
        broker.order("c-2", symbol="D05")


def test_an_execution_that_makes_no_sense_hides_no_other(venue: VenueProcess, broker: Broker) -> None:
    bad = [_execution(1, quantity=0), _execution(2, time="noon"), "none", _execution(3, feeCurrency=None, fee="x")]
    _lists(venue, "/v1/executions", *bad, _execution(4))
    with pytest.raises(PartlyUnreadable, match="lists 5, of which 4 cannot be read: E1, E2, no row, E3") as partly:
        broker.fills(datetime(2026, 11, 20, tzinfo=UTC), symbols=[])
    assert [one.execution.execution_id for one in partly.value.readable] == ["E4"]


@pytest.mark.parametrize("status", ["CANCELLED", "REJECTED"])
def test_what_ended_for_nothing_has_ended(venue: VenueProcess, broker: Broker, status: str) -> None:
    _lists(venue, "/v1/orders", _order(1, quantity=0, status=status))
    found = broker.order("c-1", symbol="D05")
    assert found is not None
    assert (found.is_final, found.filled) == (True, 0)


def test_a_list_that_breaks_off_is_no_list(venue: VenueProcess, broker: Broker) -> None:
    """What is not one row's fault is told as it is: the executions of an order cannot be asked for."""
    _lists(venue, "/v1/orders", _order(1), _order(2, filledQuantity=100))
    venue.fault(method="GET", path="/v1/executions", process="never", answer="status", status=503, times=4)
    with pytest.raises(BrokerUnavailable) as away:
        broker.open_orders()
    assert not isinstance(away.value, PartlyUnreadable)


def test_where_it_is_can_be_configured(settings: Settings) -> None:
    assert PhillipCredentials.model_validate(SEED).orders_path == "/v1/orders"
    moved = {**SEED, "orders_path": "/sg/oms/v3/orders", "token_path": "/identity/connect/token"}
    assert PhillipCredentials.model_validate(moved).token_path == "/identity/connect/token"
    for path in ("orders", "/../admin", "//evil.example/x", "/a?b", "/a b", "http://evil.example/"):
        with pytest.raises(pydantic.ValidationError):
            PhillipCredentials.model_validate({**SEED, "orders_path": path})
    settings.QT_PHILLIP_URL = ""
    with pytest.raises(BrokerRefused, match="QT_PHILLIP_URL"):
        open_session("phillip", uuid7(), credentials=SEED)
    for url in ("https://169.254.169.254", "https://unlisted.example", "http://127.0.0.1:6379"):
        with pytest.raises(HostRefused):
            open_session("phillip", uuid7(), credentials={**SEED, "base_url": url})
