"""Walk every audit chain once a day; a broken one fails the run, which says where and what to do."""

from datetime import timedelta
from typing import Any

from trading.audit import verification
from trading.jobs.context import StepContext
from trading.jobs.outcomes import PermanentError
from trading.jobs.registry import Cadence, Job, NoArguments, Step


def walk(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Verify each chain from its first entry to its last, and against its newest signed head."""
    chains = list(verification.chains())
    entries = 0
    broken: list[str] = []
    for number, chain in enumerate(chains):
        verdict = verification.verify(
            chain,
            now=ctx.now,
            watch=lambda sequence, number=number: ctx.progress(number, len(chains), f"entry {sequence}"),  # type: ignore[misc]  # a default
        )
        entries += verdict.entries
        if verdict.broken is not None:
            broken.append(f"{verdict.name}: {verdict.broken.message}")
            ctx.log.error("audit.broken", chain=str(chain), kind=verdict.broken.kind, entry=verdict.broken.sequence)
    ctx.progress(len(chains), len(chains), f"{entries} entries")
    if broken:
        raise PermanentError(f"{len(broken)} audit chains are broken. {' '.join(broken)} {verification.ADVICE}")
    return {"chains": len(chains), "entries": entries}


JOB = Job(
    slug="audit-verify",
    title="Verify the audit log",
    steps=(Step(walk),),
    arguments=NoArguments,
    queue="bulk",
    unique=lambda args, client_id: "fleet",
    max_attempts=2,
    timeout=timedelta(hours=1),
    cadence=Cadence(cron="40 3 * * *"),
)
