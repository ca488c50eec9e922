"""A dry run: a job's steps for real, in a transaction that is rolled back, without those that reach outside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from trading.core.scope import scope_of_run
from trading.jobs import ledger, services
from trading.jobs.context import StepContext
from trading.jobs.models import JobRun
from trading.jobs.outcomes import FanOut, Snooze
from trading.jobs.registry import registry
from trading.jobs.states import State, Trigger


@dataclass(frozen=True)
class Rehearsed:
    """What one step did, or would do: ``value`` is what it returned, None for a step that was left out."""

    step: str
    said: str
    value: Mapping[str, Any] | None = None


def rehearse(slug: str, arguments: Mapping[str, Any], *, client_id: UUID | None) -> Iterator[Rehearsed]:
    """Go through the steps of a job with no effect; each as it ends.

    The database's changes are rolled back. A step declared with effects outside the database is named and left out,
    and the steps after it see nothing of it. Raises `UnknownJob`, `InvalidArguments`, and whatever a step raises.
    """
    job = registry.get(slug)
    values = services.validated(job, arguments, client_id=client_id)
    with scope_of_run(client_id), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        claim = _claim(slug, values.model_dump(mode="json"), client_id)
        for index, step in enumerate(job.steps):
            claim = replace(claim, step_index=index)
            if step.effects:
                summary = (step.run.__doc__ or "").strip().split("\n")[0]
                yield Rehearsed(step.name, f"left out, as it reaches outside the database: {summary}")
                continue
            result = step.run(StepContext(claim, dry_run=True), values)
            if isinstance(result, Snooze):
                yield Rehearsed(step.name, f"would run again after {result.delay}: {result.note}")
                break
            if isinstance(result, FanOut):
                yield Rehearsed(step.name, f"would start {len(result.arguments)} runs of {result.job}")
                break
            value = dict(result or {})
            claim = replace(claim, returned={**claim.returned, step.name: value})
            yield Rehearsed(step.name, "done, and undone", value)
        transaction.set_rollback(True)


def _claim(slug: str, args: Mapping[str, Any], client_id: UUID | None) -> ledger.Claim:
    """A held run that nobody else will ever see."""
    job = registry.get(slug)
    now = ledger.database_now()
    run = JobRun.objects.create(
        client_id=client_id,
        job=slug,
        queue=job.queue,
        args=args,
        state=State.RUNNING,
        steps=list(job.step_names),
        max_attempts=job.max_attempts,
        timeout=job.timeout,
        attempt=1,
        fence=1,
        worker="rehearsal",
        lease_until=now + timedelta(hours=1),
        started_at=now,
        trigger=Trigger.COMMAND,
    )
    return ledger.Claim(
        run_id=run.id,
        client_id=client_id,
        job=slug,
        queue=job.queue,
        args=args,
        steps=run.steps,
        step_index=0,
        returned={},
        fence=1,
        attempt=1,
        max_attempts=job.max_attempts,
        parent_id=None,
        request_id="",
        triggered_by="rehearsal",
        claimed_at=now,
        worker="rehearsal",
    )
