"""After an emergency halt: cancel the open orders of all clients, and write down which are surely gone."""

from typing import Any
from uuid import UUID

from trading.brokers.accounts import open_session
from trading.brokers.base import Broker, BrokerError, OrderReport
from trading.brokers.lists import PartlyUnreadable
from trading.brokers.models import BrokerAccount
from trading.brokers.registry import UnknownBroker
from trading.execution import changes, outcomes
from trading.execution.looks import STOPPED, told
from trading.execution.models import Order
from trading.execution.states import AT_VENUE, LIVE, OrderState
from trading.jobs.context import StepContext
from trading.jobs.outcomes import FanOut, RetryLater
from trading.jobs.registry import Arguments, Job, Step
from trading.risk import halts
from trading.risk.models import CancelOutcome, Halt

OF_A_CLIENT = "emergency-cancel-client"
ENDED_BY_US = (OrderState.CANCELLED, OrderState.WITHDRAWN)


class HaltArguments(Arguments):
    """The halt that asks for it."""

    halt_id: UUID


def clients(ctx: StepContext, args: HaltArguments) -> FanOut:
    """One run for each client that has an open order, or an account at a venue where one could be."""
    trading = Order.objects.filter(state__in=LIVE).order_by()
    connected = BrokerAccount.objects.filter(client__is_active=True).order_by()
    for order in trading.filter(client__is_active=False):
        why = "no job runs for a client that is not active"
        outcome = CancelOutcome.NOT_CONFIRMED
        with ctx.transaction():
            halts.note(args.halt_id, order.client_id, order.broker, order.client_order_id, order.symbol, outcome, why)
    found = sorted(
        {
            *trading.filter(client__is_active=True).values_list("client_id", flat=True).distinct(),
            *connected.values_list("client_id", flat=True).distinct(),
        }
    )
    arguments = args.model_dump(mode="json")
    return FanOut(OF_A_CLIENT, [arguments for _ in found], value={"clients": len(found)}, client_ids=found)


def count(ctx: StepContext, args: HaltArguments) -> dict[str, Any]:
    """How many are confirmed, were over, and are not confirmed."""
    failed = [child for child in ctx.children(allow_failures=True) if child.error]
    return {**halts.counts(Halt.objects.get(id=args.halt_id)), "clients_that_failed": len(failed)}


def orders(ctx: StepContext, args: HaltArguments) -> dict[str, Any]:
    """Cancel at each venue of one client what is open there; what is not confirmed is tried again."""
    accounts = BrokerAccount.objects.filter(client_id=ctx.client_id).values_list("broker", flat=True)
    live = Order.objects.filter(client_id=ctx.client_id, state__in=LIVE).order_by("id")
    missed = 0
    for broker in sorted({*accounts, *live.values_list("broker", flat=True)}):
        with ctx.transaction():
            halts.forget_unconfirmed(args.halt_id, ctx.client_id, broker)
        try:
            missed += _at(ctx, args, broker, list(live.filter(broker=broker)))
        except STOPPED:
            raise
        except Exception as error:  # whatever it is, it is no other venue's
            ctx.log.exception("halt.failed", broker=broker)
            missed += _unconfirmed(ctx, args, broker, [], told(error))
    if missed:
        raise RetryLater(f"{missed} orders are not confirmed to be cancelled")
    return {"brokers": "all confirmed"}


def _at(ctx: StepContext, args: HaltArguments, broker: str, ours: list[Order]) -> int:
    """The number of orders at one venue that are not confirmed."""
    try:
        session = open_session(ctx.client_id, broker)
    except (BrokerError, UnknownBroker) as error:
        return _unconfirmed(ctx, args, broker, ours, f"no session: {error}")
    with session:
        missed = sum(not _cancelled(ctx, args, session, order) for order in ours)
        try:
            shown = session.open_orders()
        except PartlyUnreadable as error:
            shown = error.readable
            missed += _unconfirmed(ctx, args, broker, [], f"not all of its open orders can be listed: {error}")
        except BrokerError as error:
            return missed + _unconfirmed(ctx, args, broker, [], f"its open orders cannot be listed: {error}")
        known = {order.client_order_id for order in ours}
        others = [report for report in shown if report.client_order_id not in known]
        return missed + sum(not _other_cancelled(ctx, args, session, report) for report in others)


def _unconfirmed(ctx: StepContext, args: HaltArguments, broker: str, ours: list[Order], why: str) -> int:
    """Write down that nothing is known of one venue's orders; their number, at least one."""
    for order in ours:
        _note(ctx, args, broker, order.client_order_id, order.symbol, CancelOutcome.NOT_CONFIRMED, why)
    if not ours:
        _note(ctx, args, broker, "", "", CancelOutcome.NOT_CONFIRMED, why)
    return max(len(ours), 1)


def _cancelled(ctx: StepContext, args: HaltArguments, session: Broker, order: Order) -> bool:
    """Whether nothing is left to do for one of our open orders."""
    why = ""
    try:
        order = _cancel(ctx, session, order)
    except BrokerError as error:
        order.refresh_from_db()
        why = str(error)
    except STOPPED:
        raise
    except Exception as error:  # whatever it is, the other orders are cancelled
        ctx.log.exception("halt.failed", broker=session.name, client_order_id=order.client_order_id)
        order.refresh_from_db()
        why = told(error)
    outcome = CancelOutcome.CONFIRMED if order.state in ENDED_BY_US else CancelOutcome.OVER
    if order.state in AT_VENUE:
        outcome = CancelOutcome.NOT_CONFIRMED
        why = why or order.reason or f"it is {order.get_state_display().lower()}"
    _note(ctx, args, session.name, order.client_order_id, order.symbol, outcome, why or order.reason)
    return outcome != CancelOutcome.NOT_CONFIRMED


def _cancel(ctx: StepContext, session: Broker, order: Order) -> Order:
    """How the order stands after its venue was asked to cancel it; one that was not sent is withdrawn."""
    try:
        order = changes.request_cancel(order.id, by="the emergency halt", now=ctx.now)
        return changes.cancel_at_venue(order, session, hold=ctx.transaction)
    except changes.NotCancelled:
        order.refresh_from_db()
        return order


def _other_cancelled(ctx: StepContext, args: HaltArguments, session: Broker, report: OrderReport) -> bool:
    """Whether nothing is left to do for an order that is open there and ended, or unknown, with us."""
    ours = Order.objects.filter(client_order_id=report.client_order_id, client_id=ctx.client_id).first()
    if ours is None:
        name = report.client_order_id or report.broker_order_id
        _note(
            ctx, args, session.name, name, report.symbol, CancelOutcome.LEFT_ALONE, "it was not sent by this platform"
        )
        return True
    outcome, why = CancelOutcome.NOT_CONFIRMED, ""
    try:
        after = outcomes.record(ours, session.cancel(ours.client_order_id, symbol=ours.symbol), hold=ctx.transaction)
        why = after.reason
        if after.state not in AT_VENUE:
            outcome = CancelOutcome.CONFIRMED
    except BrokerError as error:
        why = str(error)
    _note(ctx, args, session.name, ours.client_order_id, ours.symbol, outcome, why)
    return outcome == CancelOutcome.CONFIRMED


def _note(
    ctx: StepContext, args: HaltArguments, broker: str, order: str, symbol: str, outcome: CancelOutcome, why: str
) -> None:
    with ctx.transaction():
        halts.note(args.halt_id, ctx.client_id, broker, order, symbol, outcome, why)


JOB = Job(
    slug="emergency-cancel",
    title="Cancel all open orders after a halt",
    steps=(Step(clients, effects=True), Step(count)),
    arguments=HaltArguments,
    queue="critical",
    unique=lambda args, client_id: str(args.halt_id),
)
OF_CLIENT = Job(
    slug=OF_A_CLIENT,
    title="Cancel one client's open orders after a halt",
    steps=(Step(orders, effects=True),),
    arguments=HaltArguments,
    queue="critical",
    per_client=True,
    max_attempts=8,
)
