"""What every venue's adapter makes of a venue that fails: refused, retryable or unknown, and never a wrong answer."""

import logging
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.bench import Bench, Fault
from tests.conformance.orders import limit, market
from trading.brokers.base import (
    Broker,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
)


def eventually(ask: Callable[[], OrderReport | None], seconds: float = 8) -> OrderReport | None:
    """What is told in the end; that it cannot be told yet is borne until then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = ask()
        except BrokerUnavailable:
            if time.monotonic() > deadline:
                raise
            found = None
        if found is not None or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.needs(
    Fault.LOST_ANSWER,
    Fault.LATE_BOOKING,
    Fault.GARBAGE,
    Fault.WRONG_ID,
    Fault.REFUSED_BUT_BOOKED,
    Fault.SERVER_ERROR,
)
def test_what_may_have_been_taken_is_unknown_and_found_by_its_id(bench: Bench, broker: Broker, fault: Fault) -> None:
    """Neither a failure nor a success is made up, and nothing is sent a second time."""
    ticket = market(bench)
    bench.fault(fault, "place")
    try:
        report = broker.place(ticket)
    except OutcomeUnknown as error:
        assert (error.operation, error.broker, error.retryable) == ("place", broker.name, False)
        found = eventually(lambda: broker.order(ticket.client_order_id, symbol=bench.symbol))
        assert found is not None
        report = found
    else:  # an adapter that asks for it by itself may know already
        assert fault is not Fault.LATE_BOOKING
    assert (report.client_order_id, report.status) == (ticket.client_order_id, OrderStatus.FILLED)
    assert report.filled == bench.quantity
    assert bench.booked(ticket.client_order_id) == 1


@pytest.mark.needs(Fault.LOST_REQUEST)
def test_a_request_that_was_lost_is_unknown_and_not_sent_again(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    bench.fault(Fault.LOST_REQUEST, "place")
    with pytest.raises(OutcomeUnknown):
        broker.place(ticket)
    assert broker.order(ticket.client_order_id, symbol=bench.symbol) is None
    assert bench.booked(ticket.client_order_id) == 0


@pytest.mark.needs(Fault.RATE_LIMITED)
def test_what_a_limit_stopped_was_not_taken_and_may_be_tried_later(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    bench.fault(Fault.RATE_LIMITED, "place")
    with pytest.raises(BrokerUnavailable) as limited:
        broker.place(ticket)
    assert limited.value.retryable
    assert limited.value.retry_after is not None
    assert bench.booked(ticket.client_order_id) == 0
    with pytest.raises(BrokerUnavailable):
        broker.place(ticket)  # the venue is not even asked before the time is over
    assert bench.booked(ticket.client_order_id) == 0
    time.sleep(limited.value.retry_after + 0.1)
    assert broker.place(ticket).status is OrderStatus.FILLED
    assert bench.booked(ticket.client_order_id) == 1


@pytest.mark.needs(Fault.SLOW)
def test_slow_is_not_lost(bench: Bench, broker: Broker) -> None:
    bench.fault(Fault.SLOW, "place")
    ticket = market(bench)
    assert broker.place(ticket).status is OrderStatus.FILLED
    assert bench.booked(ticket.client_order_id) == 1


@pytest.mark.needs(Fault.LOST_ANSWER)
def test_a_cancellation_without_an_answer_is_unknown(bench: Bench, broker: Broker) -> None:
    ticket = limit(bench, bench.far_bid)
    broker.place(ticket)
    bench.fault(Fault.LOST_ANSWER, "cancel")
    try:
        report = broker.cancel(ticket.client_order_id, symbol=bench.symbol)
    except OutcomeUnknown as error:
        assert error.operation == "cancel"
        report = broker.cancel(ticket.client_order_id, symbol=bench.symbol)
    assert report.status is OrderStatus.CANCELLED


def test_not_to_know_of_an_order_is_not_to_say_that_there_is_none(bench: Bench, broker: Broker, fault: Fault) -> None:
    ticket = market(bench)
    broker.place(ticket)
    bench.fault(fault, "order")
    try:
        report = broker.order(ticket.client_order_id, symbol=bench.symbol)
    except BrokerError as error:
        assert error.operation == "order"
    else:
        assert report is not None
        assert report.client_order_id == ticket.client_order_id


@pytest.mark.parametrize("call", ["open_orders", "fills", "positions", "balances"])
@pytest.mark.needs(*(set(Fault) - {Fault.WRONG_ID}))  # who asks for all cannot tell one from another
def test_unknown_is_never_empty(bench: Bench, broker: Broker, fault: Fault, call: str) -> None:
    broker.place(market(bench))
    if broker.capabilities.rests_orders:
        broker.place(limit(bench, bench.far_bid))
    since = datetime.now(UTC) - timedelta(minutes=1)
    ask = {
        "open_orders": broker.open_orders,
        "fills": lambda: broker.fills(since, symbols=[bench.symbol]),
        "positions": broker.positions,
        "balances": broker.balances,
    }[call]
    whole = ask()
    bench.fault(fault, "read")
    try:
        answer = ask()
    except BrokerError as error:
        assert error.operation == call
    else:
        assert answer == whole


def test_credentials_that_are_not_accepted(
    bench: Bench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    broker = bench.open_with_bad_credentials()
    if broker is None:
        pytest.skip("this venue asks for none")
    ticket = market(bench)
    with broker:
        for call in (broker.balances, lambda: broker.place(ticket)):
            with pytest.raises(BrokerRefused) as refused:
                call()
            shown = "".join(traceback.format_exception(refused.value)) + str(refused.value.body())
            assert not any(secret in shown for secret in bench.secrets)
    assert bench.booked(ticket.client_order_id) == 0
    out = capfd.readouterr()
    assert not any(secret in caplog.text + out.out + out.err for secret in bench.secrets)


def test_secrets_stay_out_of_errors_and_logs(
    bench: Bench, fault: Fault, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with bench.open() as broker:
        bench.fault(fault, "place")
        shown = repr(broker)
        try:
            broker.place(market(bench))
        except BrokerError as error:
            shown += "".join(traceback.format_exception(error)) + str(error.body()) + repr(error)
    out = capfd.readouterr()
    text = shown + caplog.text + out.out + out.err
    assert not any(secret in text for secret in bench.secrets)
