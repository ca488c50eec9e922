"""Orders: intend, send, learn the outcome. Money moves here, once.

The intent is committed before anything is sent. What was sent and not answered is unknown, never failed: the venue is
asked for it by its id. Fills count by the venue's execution id.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from trading.brokers.base import (
    ALREADY_SENT,
    Broker,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    OrderType,
    Side,
    Ticket,
    TimeInForce,
)
from trading.brokers.instruments import Instrument, Quote
from trading.brokers.registry import is_simulated
from trading.execution import refusals, selectors, trail
from trading.execution.exposure import book_for
from trading.execution.models import Order, PortfolioSnapshot
from trading.execution.outcomes import (
    CONFIRMED_AFTER,
    SEND_WITHIN,
    STALE_AFTER,
    Hold,
    give_up,
    mark_unknown,
    move,
    record,
    reduce,
    withdraw,
)
from trading.execution.planning import Planned, Rules, client_order_id, fit
from trading.execution.states import AT_VENUE, LIVE, OrderState
from trading.jobs.models import JobRun
from trading.jobs.states import LIVE as LIVE_RUNS
from trading.marketdata import selectors as market
from trading.risk import services as risk
from trading.risk.limits import Proposal
from trading.tenants import parameters

log = structlog.get_logger("quantum.execution")


def rules(client_id: UUID, broker: Broker) -> Rules:
    """The rules of a cycle, from what holds for the client and from the venue."""
    now = parameters.in_force(client_id)
    return Rules(
        min_notional=now.decimal("QT_EXECUTION_MIN_NOTIONAL"),
        max_orders=int(now.values["QT_EXECUTION_MAX_ORDERS"]),
        cash_buffer=now.decimal("QT_EXECUTION_CASH_BUFFER"),
        allow_partial=bool(now.values["QT_EXECUTION_ALLOW_PARTIAL"]),
        lot=broker.lot,
        max_notional=now.decimal("QT_MAX_NOTIONAL_PER_TRADE"),
    )


def intend(
    client_id: UUID, run_id: UUID, planned: Sequence[Planned], *, broker: str, quotes: Mapping[str, Quote]
) -> list[Order]:
    """Review each planned order and store it as intended or refused, in the caller's transaction, once for a run.

    ``quotes`` are the venue's, by symbol: where money can move, what has none is refused.
    """
    existing = list(Order.objects.filter(run_id=run_id).order_by("sequence"))
    if existing:
        return existing
    return [
        _intend_one(client_id, run_id, sequence, order, broker, quotes.get(order.symbol))
        for sequence, order in enumerate(planned, 1)
    ]


def instruments(broker: Broker, symbols: Iterable[str]) -> dict[str, Instrument]:
    """The venue's rules for each symbol that it trades; one that it does not is left out. Asks the venue."""
    found = {}
    for symbol in sorted(symbols):
        try:
            found[symbol] = broker.instrument(symbol)
        except BrokerRefused as error:
            if error.code != "unknown_symbol":
                raise
    return found


def paid_in_full(broker: Broker, listed: Mapping[str, Instrument]) -> dict[str, Instrument]:
    """Those of which one unit costs its price in the account's money, as a plan and the books take it.

    Left out is what would be planned, reviewed and booked at a part of its worth or at a multiple: a contract for more
    or less than one unit, what ends and is not paid for when it is bought, a price in other money.
    """
    found = {}
    for symbol, instrument in listed.items():
        if instrument.multiplier == 1 and instrument.expiry is None and instrument.currency == broker.currency:
            found[symbol] = instrument
        else:
            log.warning("order.not_paid_in_full", symbol=symbol, broker=broker.name, currency=instrument.currency)
    return found


def quotes(broker: Broker, symbols: Iterable[str]) -> dict[str, Quote]:
    """What the venue quotes now for each symbol; one that it cannot quote is left out. Asks the venue."""
    found = {}
    for symbol in sorted(symbols):
        try:
            found[symbol] = broker.quote(symbol)
        except BrokerError as error:
            log.warning("order.no_quote", symbol=symbol, broker=broker.name, error=str(error))
    return found


def prices(broker: str, symbols: Iterable[str], quotes: Mapping[str, Quote]) -> dict[str, Decimal]:
    """What an order of each symbol is planned and reviewed at; one of which no price is known is left out.

    Where money can move that is the middle of what the venue bids and asks: the newest close may be old, or another
    market's, and a size that follows from it may be worth many times what a limit allows. Where the venue quotes
    nothing it is the newest close, for what is held: an order is refused there by `intend`. At simulated venues, which
    trade at our candles or for practice, it is the newest close too.
    """
    found = {}
    for symbol in symbols:
        known, quote = market.quote(symbol), quotes.get(symbol)
        if not is_simulated(broker) and quote is not None and quote.middle is not None:
            found[symbol] = quote.middle
        elif known is not None:
            found[symbol] = known.price
    return found


def _intend_one(
    client_id: UUID, run_id: UUID, sequence: int, planned: Planned, broker: str, quote: Quote | None
) -> Order:
    known = market.quote(planned.symbol)
    previous = Decimal(0) if known is None else known.previous  # which no price is near: it is not traded
    proposal = Proposal(
        planned.symbol,
        planned.side,
        planned.quantity,
        planned.price,
        previous,
        bid=quote.bid if quote else None,
        ask=quote.ask if quote else None,
        is_autonomous=not is_simulated(broker),
    )
    order = Order(
        client_id=client_id,
        run_id=run_id,
        sequence=sequence,
        client_order_id=client_order_id(client_id, run_id, sequence),
        broker=broker,
        symbol=planned.symbol,
        side=planned.side,
        quantity=planned.quantity,
        order_type=OrderType.MARKET if planned.limit_price is None else OrderType.LIMIT,
        limit_price=planned.limit_price,
        time_in_force=planned.time_in_force,
        expires_at=planned.expires_at,
        reference_price=planned.price,
        previous_price=previous,
        state=OrderState.INTENDED,
    )
    barred = refusals.unexplained(order) or refusals.unquoted(order, quote)
    if barred is not None:
        trail.refused(order, barred)
    answer = barred or risk.review(client_id, order.client_order_id, proposal, book=book_for(broker))
    if isinstance(answer, risk.Refusal):
        order.state = OrderState.REFUSED
        order.reason = f"{answer.limit}: {answer.breach.message}"[:300]
        order.finished_at = timezone.now()
    order.save(force_insert=True)
    return order


def submit(order: Order, broker: Broker, *, hold: Hold) -> Order:
    """Bring ``order`` to its outcome from wherever it stands; nothing is ever sent twice.

    ``hold`` opens the sender's fenced transaction. An order that was sent before is asked for, not sent again, unless
    the venue does not have it, would recognise its id, and the intent is fresh. Raises `BrokerUnavailable` or
    `BrokerRefused` when it was surely not taken.
    """
    if order.state == OrderState.INTENDED:
        if timezone.now() - order.created_at > STALE_AFTER:
            return withdraw(order, "stale: the price that it was meant for is long gone", hold=hold)
        answer = refusals.unexplained(order) or risk.approved(order.client_id, order.client_order_id, _proposal(order))
        if isinstance(answer, risk.Refusal):
            return withdraw(order, f"{answer.limit}: {answer.breach.message}", hold=hold)
        return _send(order, answer, broker, hold)
    if order.state in AT_VENUE:
        return resolve(order, broker, hold=hold)
    return order


def _proposal(order: Order) -> Proposal:
    return Proposal(order.symbol, Side(order.side), order.quantity, order.reference_price, order.previous_price)


def _ticket(approval: risk.ApprovedOrder, order: Order, *, send_by: datetime) -> Ticket:
    proposal = approval.proposal
    return Ticket(
        approval.client_order_id,
        proposal.symbol,
        proposal.side,
        proposal.quantity,
        OrderType(order.order_type),
        order.limit_price,
        TimeInForce(order.time_in_force),
        send_by,
    )


def _send(order: Order, approval: risk.ApprovedOrder, broker: Broker, hold: Hold) -> Order:
    was_sent = order.state != OrderState.INTENDED  # the venue may have it already, or get it late
    sent_before = order.sent_at
    with risk.sending() as lock:
        if lock.refusal is not None:
            reason = f"{lock.refusal.limit}: {lock.refusal.breach.message}"
            return mark_unknown(order, reason, hold=hold) if was_sent else withdraw(order, reason, hold=hold)
        with hold():
            sent_at = timezone.now()
            is_ours = move(order, OrderState.SENT, sent_at=sent_at)
            if is_ours:
                lock.leaves(order.client_order_id, sent_at + SEND_WITHIN)
                trail.sent(order)
        if not is_ours:  # somebody else has moved it on since it was read
            order.refresh_from_db()
            return order
        try:
            report = broker.place(_ticket(approval, order, send_by=sent_at + SEND_WITHIN))
        except (BrokerUnavailable, BrokerRefused) as error:
            if was_sent:
                reason = f"the venue did not take it again: {error}"
                return mark_unknown(order, reason, hold=hold, is_over=True, sent_at=sent_before)
            with hold():
                risk.answered(order.client_order_id)
                if move(order, OrderState.INTENDED, sent_at=None):
                    trail.note("not_taken", order, reason=str(error)[:300])
            raise
        except BrokerError as error:  # anything else may have happened after the order was taken
            log.warning("order.unknown", client_order_id=order.client_order_id, error=str(error))
            nothing_sent: dict[str, Any] = {}
            if error.code == ALREADY_SENT:  # an earlier call has, or may have; asking for it is all that is left
                nothing_sent = {"is_sent_for_good": True, "sent_at": sent_before if was_sent else order.sent_at}
            return mark_unknown(order, str(error), hold=hold, is_over=True, **nothing_sent)
        return record(order, report, hold=hold)


def afford(order: Order, budget: Decimal, rules: Rules, broker: Broker, *, hold: Hold) -> Order:
    """Have an intended buy ask for no more than ``budget`` (currency) pays for; withdraw it where that is too little.

    Less than was approved needs no other review. Asks the venue for its rules.
    """
    price = order.reference_price
    if order.quantity * price <= budget:
        return order
    rest = fit(max(budget, Decimal(0)) / price, price, rules, broker.instrument(order.symbol))
    reason = f"the cash that is there, {budget:.2f}, does not pay for all of it"
    if rest <= 0:
        return withdraw(order, reason, hold=hold)
    return reduce(order, rest, reason, hold=hold)


def settle_leftovers(client_id: UUID, run_id: UUID, broker: Broker, *, hold: Hold) -> list[Order]:
    """Learn what became of orders that other runs sent, and withdraw what ended runs never did; the orders touched.

    Call it before planning: what an earlier run's order has bought must not be bought again.
    """
    left = Order.objects.filter(client_id=client_id, broker=broker.name, state__in=LIVE).exclude(run_id=run_id)
    touched = []
    for order in left.order_by("id"):
        if order.state != OrderState.INTENDED:
            touched.append(resolve(order, broker, hold=hold))
        elif not JobRun.objects.filter(id=order.run_id, state__in=LIVE_RUNS).exists():
            touched.append(withdraw(order, "its run ended before it was sent", hold=hold))
    return touched


def resolve(order: Order, broker: Broker, *, hold: Hold) -> Order:
    """Learn what became of an order that was sent; one that the venue could not be asked for stays as it is."""
    try:
        return learn(order, broker, hold=hold)
    except BrokerError:
        order.refresh_from_db()
        return order


def learn(order: Order, broker: Broker, *, hold: Hold) -> Order:
    """Ask the venue for an order that was sent, by its id, and write down what it says.

    A venue that could not be asked has said nothing: what it had acknowledged before still stands, what it had not is
    unknown, and its error is raised. One that says twice, past its booking horizon, that it has no such order has none.
    """
    asked_at = timezone.now()
    try:
        report = broker.order(order.client_order_id, symbol=order.symbol)
    except BrokerError as error:
        if not is_acknowledged(order):
            mark_unknown(order, f"the venue could not be asked: {error}", hold=hold)
        raise
    if report is not None:
        return record(order, report, hold=hold)
    missed_at = None
    if is_settling(order, broker) and (until := _may_be_booked_until(order, broker)) and asked_at > until:
        missed_at = order.missed_at if order.missed_at is not None and order.missed_at > until else asked_at
        if asked_at - missed_at >= CONFIRMED_AFTER:
            return give_up(order, "the venue has none, and would have shown it by now: asked twice", hold=hold)
    reason = "the venue does not show it, which is no proof that it has not taken it"
    order = mark_unknown(order, reason, hold=hold, missed_at=missed_at)
    may_send = broker.capabilities.deduplicates_client_ids and not order.is_sent_for_good
    may_send = may_send and not (is_acknowledged(order) or replaces(order))
    if may_send and order.state == OrderState.UNKNOWN and timezone.now() - order.created_at <= STALE_AFTER:
        answer = refusals.unexplained(order) or risk.approved(order.client_id, order.client_order_id, _proposal(order))
        if isinstance(answer, risk.ApprovedOrder):
            return _send(order, answer, broker, hold)
    return order


def replaces(order: Order) -> bool:
    """Whether it was sent in the place of another, so that sending it alone would let both stand."""
    return Order.objects.filter(id=order.run_id).exists()


def is_settling(order: Order, broker: Broker) -> bool:
    """Whether asking for an order whose outcome is not known will end it, one way or the other."""
    unsure = order.state in (OrderState.SENT, OrderState.UNKNOWN) and not is_acknowledged(order)
    return unsure and _may_be_booked_until(order, broker) is not None


def _may_be_booked_until(order: Order, broker: Broker) -> datetime | None:
    horizon = broker.capabilities.booking_horizon
    return None if horizon is None or order.sent_at is None else order.sent_at + SEND_WITHIN + horizon


def is_acknowledged(order: Order) -> bool:
    """Whether the venue has ever said that it has the order."""
    return bool(order.broker_order_id) or order.filled_quantity > 0


def snapshot(client_id: UUID, run_id: UUID, *, cash: Decimal, now: datetime) -> PortfolioSnapshot:
    """Keep what the client has now; once for a run."""
    rows = []
    gross = net = Decimal(0)
    for one in selectors.marked(client_id):
        position = one.position
        price = position.average_cost if one.price is None else one.price
        value = position.quantity * price
        gross += abs(value)
        net += value
        rows.append(
            {
                "symbol": position.symbol,
                "quantity": f"{position.quantity.normalize():f}",
                "price": f"{price.normalize():f}",
                "value": f"{value:.2f}",
                "unrealised_pnl": f"{one.unrealised_pnl or Decimal(0):.2f}",
            }
        )
    kept, _ = PortfolioSnapshot.objects.get_or_create(
        run_id=run_id,
        defaults={
            "client_id": client_id,
            "time": now,
            "cash": cash,
            "equity": cash + net,
            "gross_exposure": gross,
            "positions": rows,
        },
    )
    return kept


def in_transaction() -> AbstractContextManager[None]:
    """A hold for whoever sends without a run: a plain transaction."""
    return transaction.atomic()
