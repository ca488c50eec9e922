"""Mirror the audit entries that were missed, and sign the heads of the chains that have grown."""

from datetime import timedelta
from typing import Any

from trading.audit import heads, mirror, verification
from trading.jobs.context import StepContext
from trading.jobs.outcomes import PermanentError, RetryLater
from trading.jobs.registry import Cadence, Job, NoArguments, Step


def catch_up(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Append to the mirror what could not be written at once."""
    try:
        return {"mirrored": mirror.catch_up()}
    except mirror.MirrorFailed as error:
        raise RetryLater(f"{error}. Correct QT_ADMIN_AUDIT_PATH, its owner or the disk.") from error


def sign(ctx: StepContext, args: NoArguments) -> dict[str, Any]:
    """Sign each new head, after a look at the entries since the one before; a chain that is broken is not signed."""
    try:
        exported = verification.export(now=ctx.now)
    except OSError as error:
        raise RetryLater(f"{heads.folder()} cannot be written: {error}. Correct its owner or the disk.") from error
    if exported.refused:
        found = " ".join(f"{verdict.name}: {verdict.broken and verdict.broken.message}" for verdict in exported.refused)
        raise PermanentError(f"{len(exported.refused)} audit chains were not signed. {found} {verification.ADVICE}")
    return {"signed": exported.signed}


JOB = Job(
    slug="audit-export",
    title="Sign and export the audit log",
    steps=(Step(catch_up, effects=True), Step(sign, effects=True)),
    arguments=NoArguments,
    queue="bulk",
    unique=lambda args, client_id: "fleet",
    timeout=timedelta(minutes=10),
    cadence=Cadence(seconds=300),
)
"""Every five minutes: what was cut within that time is missed by the signed heads, not by the mirror."""
