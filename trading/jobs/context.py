"""What a step is given beside its arguments."""

import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from trading.jobs import ledger
from trading.jobs.models import JobRun
from trading.jobs.outcomes import LeaseLost, PermanentError, RunCancelled
from trading.jobs.states import State

PROGRESS_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Child:
    """How one run of a fan-out ended."""

    id: UUID
    client_id: UUID | None
    args: Mapping[str, Any]
    state: State
    result: Any
    error: str


@dataclass
class StepContext:
    """The hold that an attempt has on its run: who it works for, progress, and a transaction under its fence."""

    claim: ledger.Claim
    dry_run: bool = False
    unwritten: ledger.Progress | None = field(default=None, repr=False)
    """What was said of the step's progress and is not recorded yet: its ending records it."""
    _progress_at: float = field(default_factory=time.monotonic, repr=False)

    @property
    def run_id(self) -> UUID:
        """The run."""
        return self.claim.run_id

    @property
    def client_id(self) -> UUID:
        """The client that a per-client job works for."""
        if self.claim.client_id is None:
            raise LookupError(f"job {self.claim.job} runs for no client; declare it per_client=True")
        return self.claim.client_id

    @property
    def now(self) -> datetime:
        """The database's time when this attempt began (UTC)."""
        return self.claim.claimed_at

    @property
    def returned(self) -> Mapping[str, Any]:
        """What the earlier steps returned, by name."""
        return self.claim.returned

    @property
    def rng(self) -> random.Random:
        """A generator seeded by the run, so that a retry draws the same numbers."""
        return random.Random(self.claim.run_id.int)  # noqa: S311  # reproducible, not secret

    @property
    def log(self) -> FilteringBoundLogger:
        """The logger; run, job and request are bound to it."""
        log: FilteringBoundLogger = structlog.get_logger(f"quantum.jobs.{self.claim.job}")
        return log

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Say how far the step is; written at most once a second, and what was said last with the step's ending.

        Where it is written, raises `LeaseLost` or `RunCancelled` when the run has been taken away or asked to stop.
        """
        at = time.monotonic()
        self.unwritten = ledger.Progress(done, total, note)
        if self.dry_run or at - self._progress_at < PROGRESS_EVERY_SECONDS:
            return
        self._progress_at = at
        if ledger.write_progress(self.claim, self.unwritten):
            self.unwritten = None
        else:
            self.check()

    def check(self) -> None:
        """Raise `RunCancelled` when the run was asked to stop, `LeaseLost` when it is another's."""
        if self.dry_run:
            return
        if ledger.stop_reason(self.claim) is ledger.Stop.CANCELLED:
            raise RunCancelled
        if not JobRun.objects.filter(id=self.run_id, fence=self.claim.fence, state=State.RUNNING).exists():
            raise LeaseLost(f"run {self.run_id} is no longer held by attempt {self.claim.fence}")

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction whose writes are kept only if this attempt still holds the run when it begins.

        It locks the run's row, so that the run cannot be taken away before the commit. Every write of a step that
        must not happen twice belongs inside, beside a unique key of its own.
        """
        return ledger.fenced(self.claim)

    def children(self, *, allow_failures: bool = False) -> list[Child]:
        """How the runs of the fan-out before this step ended, in the order of their arguments.

        Raises `PermanentError` when one did not succeed, unless ``allow_failures``.
        """
        rows = JobRun.objects.filter(parent_id=self.run_id).order_by("id")
        ended = [
            Child(row.id, row.client_id, row.args, State(row.state), row.result, row.error_message)
            for row in rows.iterator()
        ]
        missed = [child for child in ended if child.state != State.SUCCEEDED]
        if missed and not allow_failures:
            raise PermanentError(
                f"{len(missed)} of {len(ended)} runs did not succeed; the first, {missed[0].id}, is {missed[0].state}:"
                f" {missed[0].error or 'no error recorded'}. Retry those, then this run."
            )
        return ended
