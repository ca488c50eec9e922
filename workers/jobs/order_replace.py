"""Put another order in the place of what is left of one that is open: asked for by a person, done once."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from trading.brokers.accounts import open_session
from trading.brokers.base import BrokerError
from trading.execution import replacing
from trading.execution.models import Order
from trading.jobs.context import StepContext
from trading.jobs.outcomes import PermanentError
from trading.jobs.registry import Arguments, Job, Step


class ReplaceArguments(Arguments):
    """The order, what is to stand in its place, and who wants it."""

    order_id: UUID
    quantity: Decimal
    limit_price: Decimal
    by: str


def replace(ctx: StepContext, args: ReplaceArguments) -> dict[str, Any]:
    """Ask the venue for its quote, have the new order reviewed, and send it; how it and the old one stand then."""
    order = Order.objects.get(id=args.order_id, client_id=ctx.client_id)
    try:
        with open_session(ctx.client_id, order.broker) as broker:
            new = replacing.replace(
                order,
                broker,
                quantity=args.quantity,
                limit_price=args.limit_price,
                quote=broker.quote(order.symbol),
                by=args.by,
                hold=ctx.transaction,
            )
    except (replacing.NotReplaceable, BrokerError) as error:
        raise PermanentError(str(error)) from error
    order.refresh_from_db()
    return {
        "order": {"id": str(order.id), "state": order.state},
        "instead": {"id": str(new.id), "state": new.state, "reason": new.reason},
    }


JOB = Job(
    slug=replacing.JOB,
    title="Replace an order",
    steps=(Step(replace, effects=True),),
    arguments=ReplaceArguments,
    queue="critical",
    per_client=True,
    unique=lambda args, client_id: str(args.order_id),
    # Another try would be another replacement. What a dead one has sent is followed by the comparison of accounts.
    max_attempts=1,
    timeout=timedelta(minutes=2),
)
