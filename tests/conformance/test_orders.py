"""What every venue does with an order when nothing fails."""

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.conformance.bench import Bench
from tests.conformance.orders import limit, market
from trading.brokers.base import Broker, BrokerRefused, OrderStatus, Side, TimeInForce
from trading.core.ids import uuid7


def held(broker: Broker, symbol: str) -> Decimal:
    return sum((row.quantity for row in broker.positions() if row.symbol == symbol), Decimal(0))


def floats(value: Any) -> list[Any]:
    """Every binary number inside; money has none."""
    if isinstance(value, float):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        return [found for field in fields(value) for found in floats(getattr(value, field.name))]
    if isinstance(value, tuple | list):
        return [found for item in value for found in floats(item)]
    return []


def test_a_market_order_is_taken_once_and_found_again(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    report = broker.place(ticket)
    assert (report.client_order_id, report.status) == (ticket.client_order_id, OrderStatus.FILLED), report.reason
    assert (report.symbol, report.side, report.quantity) == (bench.symbol, Side.BUY, bench.quantity)
    assert report.filled == bench.quantity
    assert report.broker_order_id
    assert bench.booked(ticket.client_order_id) == 1
    assert broker.order(ticket.client_order_id, symbol=bench.symbol) == report
    assert broker.open_orders() == ()


def test_executions_positions_and_cash_agree_to_the_last_digit(bench: Bench, broker: Broker) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    cash, before = broker.account().cash, held(broker, bench.symbol)
    ticket = market(bench)
    report = broker.place(ticket)
    ledger = bench.traded(ticket.client_order_id)
    assert sorted((part.quantity, part.price) for part in report.executions) == sorted(ledger)
    kept = sum((part.fee_quantity for part in report.executions), Decimal(0))
    assert held(broker, bench.symbol) - before == bench.quantity - kept
    multiplier = broker.instrument(bench.symbol).multiplier
    if multiplier == 1:  # a future is not paid for
        spent = sum(Fraction(part.quantity) * Fraction(part.price) for part in report.executions)
        fees = sum(Fraction(part.fee) for part in report.executions if not part.fee_quantity)
        assert abs(Fraction(cash - broker.account().cash) - spent - fees) <= Fraction(1, 10**8)
    found = [
        row for row in broker.fills(since, symbols=[bench.symbol]) if row.client_order_id == ticket.client_order_id
    ]
    assert [row.execution for row in found] == list(report.executions)
    assert all((row.symbol, row.side) == (bench.symbol, Side.BUY) for row in found)
    assert len({part.execution_id for part in report.executions}) == len(report.executions)
    assert all(part.time.tzinfo is not None for part in report.executions)


def test_what_was_bought_can_be_sold(bench: Bench, broker: Broker) -> None:
    broker.place(market(bench))
    lot = broker.instrument(bench.symbol)
    quantity = lot.floor(held(broker, bench.symbol))
    report = broker.place(market(bench, Side.SELL, quantity))
    assert (report.status, report.filled) == (OrderStatus.FILLED, quantity), report.reason
    assert held(broker, bench.symbol) < lot.lot


def test_nothing_in_an_answer_is_a_binary_number(bench: Bench, broker: Broker) -> None:
    report = broker.place(market(bench))
    answers = [
        report,
        broker.fills(datetime.now(UTC) - timedelta(minutes=1), symbols=[bench.symbol]),
        broker.positions(),
        broker.balances(),
        broker.account(),
        broker.instrument(bench.symbol),
        broker.quote(bench.symbol),
    ]
    assert floats(answers) == []


def test_an_id_that_comes_twice(bench: Bench, broker: Broker) -> None:
    """Who states that ids are deduplicated books once, also when the order has ended; who does not, books twice."""
    ticket = market(bench)
    first = broker.place(ticket)
    again = broker.place(ticket)
    if broker.capabilities.deduplicates_client_ids:
        assert again == first
        assert bench.booked(ticket.client_order_id) == 1
    else:
        assert again.broker_order_id != first.broker_order_id
        assert bench.booked(ticket.client_order_id) == 2, "if it does, state the capability"


def test_an_order_that_rests_is_shown_and_cancelled(bench: Bench, broker: Broker) -> None:
    if not broker.capabilities.rests_orders:
        report = broker.place(limit(bench, bench.far_bid))
        assert report.status is OrderStatus.REJECTED
        return
    ticket = limit(bench, bench.far_bid)
    report = broker.place(ticket)
    assert (report.status, report.executions, report.limit_price) == (OrderStatus.ACCEPTED, (), bench.far_bid)
    assert broker.open_orders() == (report,)
    cancelled = broker.cancel(ticket.client_order_id, symbol=bench.symbol)
    assert (cancelled.status, cancelled.filled) == (OrderStatus.CANCELLED, 0)
    assert broker.open_orders() == ()
    assert broker.order(ticket.client_order_id, symbol=bench.symbol) == cancelled
    assert broker.cancel(ticket.client_order_id, symbol=bench.symbol).status is OrderStatus.CANCELLED


def test_an_order_that_has_ended_stays_as_it_is(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    report = broker.place(ticket)
    assert broker.cancel(ticket.client_order_id, symbol=bench.symbol) == report


def test_what_cannot_be_traded_at_once_is_cancelled(bench: Bench, broker: Broker) -> None:
    depth = bench.make_shallow()
    ticket = market(bench, quantity=depth + bench.quantity)
    report = broker.place(ticket)
    assert (report.status, report.filled) == (OrderStatus.CANCELLED, depth)
    assert sum(trade.quantity for trade in bench.traded(ticket.client_order_id)) == depth


def test_what_rests_after_a_part_was_traded(bench: Bench, broker: Broker) -> None:
    if not broker.capabilities.rests_orders:
        pytest.skip("no order rests there")
    depth = bench.make_shallow()
    ticket = replace(limit(bench, bench.near_bid), quantity=depth + bench.quantity)
    report = broker.place(ticket)
    assert (report.status, report.filled) == (OrderStatus.PARTIALLY_FILLED, depth)
    assert [row.client_order_id for row in broker.open_orders()] == [ticket.client_order_id]
    cancelled = broker.cancel(ticket.client_order_id, symbol=bench.symbol)
    assert (cancelled.status, cancelled.filled) == (OrderStatus.CANCELLED, depth)
    assert cancelled.executions == report.executions


def test_a_limit_order_does_not_trade_beyond_its_price(bench: Bench, broker: Broker) -> None:
    if not broker.capabilities.rests_orders:
        pytest.skip("takes no limit orders")
    report = broker.place(limit(bench, bench.far_bid, force=TimeInForce.IOC))
    assert (report.status, report.executions) == (OrderStatus.CANCELLED, ())
    report = broker.place(limit(bench, bench.near_bid, force=TimeInForce.IOC))
    assert report.status is OrderStatus.FILLED
    assert all(part.price <= bench.near_bid for part in report.executions)


def test_a_quantity_is_rounded_down_to_the_lot(bench: Bench, broker: Broker) -> None:
    lot = broker.instrument(bench.symbol).lot
    report = broker.place(market(bench, quantity=bench.quantity + lot / 2))
    assert (report.quantity, report.filled) == (bench.quantity, bench.quantity)
    ticket = market(bench, quantity=lot / 2)
    report = broker.place(ticket)
    assert report.status is OrderStatus.REJECTED
    assert report.reason
    assert bench.booked(ticket.client_order_id) == 0


def test_a_rejected_order_changes_nothing(bench: Bench, broker: Broker) -> None:
    cash = broker.account()
    ticket = replace(market(bench), symbol="NOSUCHTHING")
    report = broker.place(ticket)
    assert (report.status, report.executions) == (OrderStatus.REJECTED, ())
    assert report.reason
    assert bench.booked(ticket.client_order_id) == 0
    assert broker.account() == cash


def test_what_the_venue_does_not_know(bench: Bench, broker: Broker) -> None:
    stranger = f"qt-{uuid7().hex[:29]}"
    assert broker.order(stranger, symbol=bench.symbol) is None
    with pytest.raises(BrokerRefused) as refused:
        broker.cancel(stranger, symbol=bench.symbol)
    assert (refused.value.code, refused.value.operation) == ("unknown_order", "cancel")
    for call in (broker.quote, broker.instrument):
        with pytest.raises(BrokerRefused) as refused:
            call("NOSUCHTHING")
        assert refused.value.code == "unknown_symbol"
        assert refused.value.broker == broker.name


def test_one_order_in_the_place_of_another(bench: Bench, broker: Broker) -> None:
    old, new = limit(bench, bench.far_bid), limit(bench, bench.far_bid)
    if not broker.capabilities.replaces:
        with pytest.raises(BrokerRefused) as refused:
            broker.replace(old.client_order_id, new)
        assert refused.value.code == "unsupported"
        return
    broker.place(old)
    report = broker.replace(old.client_order_id, new)
    assert (report.client_order_id, report.status) == (new.client_order_id, OrderStatus.ACCEPTED)
    assert [row.client_order_id for row in broker.open_orders()] == [new.client_order_id]
    ended = broker.order(old.client_order_id, symbol=bench.symbol)
    assert ended is not None
    assert ended.status is OrderStatus.CANCELLED
    third = limit(bench, bench.far_bid)
    assert broker.replace(old.client_order_id, third).status is OrderStatus.REJECTED
    assert bench.booked(third.client_order_id) == 0


def test_quotes_have_two_sides(bench: Bench, broker: Broker) -> None:
    quote = broker.quote(bench.symbol)
    assert quote.bid is not None
    assert quote.ask is not None
    assert 0 < quote.bid <= quote.ask
    assert quote.time.tzinfo is not None


def test_chains_only_where_they_are_stated(bench: Bench, broker: Broker) -> None:
    underlying = broker.instrument(bench.symbol).underlying or bench.symbol
    if not broker.capabilities.option_chains:
        with pytest.raises(BrokerRefused) as refused:
            broker.chain(underlying)
        assert refused.value.code == "unsupported"
        return
    chain = broker.chain(underlying)
    order = [(row.instrument.strike, row.instrument.right) for row in chain.options]
    assert order == sorted(order)
    assert chain.options
    assert all(row.instrument.expiry == chain.expiry for row in chain.options)
    if broker.capabilities.greeks:
        for row in chain.options:
            assert row.quote.greeks is not None
            assert (row.quote.greeks.delta > 0) == (row.instrument.right == "call")


def test_what_was_done_is_there_after_a_restart(bench: Bench, broker: Broker) -> None:
    ticket = market(bench)
    report = broker.place(ticket)
    bench.restart()
    assert broker.order(ticket.client_order_id, symbol=bench.symbol) == report
    assert broker.place(market(bench)).status is OrderStatus.FILLED
    with bench.open() as another:
        assert another.order(ticket.client_order_id, symbol=bench.symbol) == report
