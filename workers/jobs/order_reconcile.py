"""Compare each account with our books: every minute, when the platform starts, and after a venue was connected anew."""

from datetime import timedelta
from typing import Any

from trading.brokers import registry
from trading.execution import changes, comparing
from trading.jobs.context import StepContext
from trading.jobs.outcomes import RetryLater, Snooze
from trading.jobs.registry import Cadence, Job, NoArguments, Step

AGAIN = timedelta(seconds=10)
"""How soon it is tried again while an order is unknown and its venue does not answer."""
SOON = timedelta(seconds=5)
"""How soon while it answers, and asking again will end the order."""


def compare(ctx: StepContext, args: NoArguments) -> dict[str, Any] | Snooze:
    """Ask every venue at which the client has an account or orders; what it was like at each.

    Raises `RetryLater`, once all were asked, where one could not be compared for no reason of its venue's: a person is
    to look.
    """
    changes.end_stale(ctx.client_id, hold=ctx.transaction, now=ctx.now)
    found: dict[str, Any] = {}
    failed: list[str] = []
    unknown = settling = 0
    for name in comparing.venues(ctx.client_id):
        if registry.stand_in(name) != name:
            found[name] = {"error": "not asked: USE_MOCK_BROKER is on"}
            continue
        outcome = comparing.compare(ctx.client_id, name, hold=ctx.transaction, now=ctx.now)
        unknown += outcome.unknown_orders
        settling += outcome.settling
        if outcome.has_failed:
            failed.append(f"{name}: {outcome.error}")
        found[name] = {
            "new": outcome.new,
            "standing": outcome.standing,
            "gone": outcome.gone,
            "unknown_orders": outcome.unknown_orders,
            "error": outcome.error,
        }
    if failed:
        raise RetryLater(f"not compared in full, all else was: {'; '.join(failed)}", delay=AGAIN)
    if any(row.get("unknown_orders") and row["error"] for row in found.values()):
        return Snooze(AGAIN, note=f"{unknown} orders are unknown, and a venue does not answer")
    if settling:
        return Snooze(SOON, note=f"{settling} orders are unknown, and their venues are asked again")
    return {"venues": found}


JOB = Job(
    slug="order-reconcile",
    title="Compare accounts with our books",
    steps=(Step(compare, effects=True),),
    arguments=NoArguments,
    queue="critical",
    per_client=True,
    unique=lambda args, client_id: str(client_id),
    max_attempts=2,
    timeout=timedelta(minutes=2),
    cadence=Cadence(seconds=60, at_start=True),
    client_startable=True,
)
