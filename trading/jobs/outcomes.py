"""What a step may answer, and the errors that say how to go on.

A step that returns a mapping (or nothing) has succeeded with that value. Every other ending is one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

Value = Mapping[str, Any]


@dataclass(frozen=True)
class Snooze:
    """Run this step again after ``delay``; it costs no attempt."""

    delay: timedelta
    note: str = ""


@dataclass(frozen=True)
class FanOut:
    """Start one run of ``job`` for each of ``arguments``; the next step runs when all have ended.

    That step finds how they ended with `StepContext.children`.
    """

    job: str
    arguments: Sequence[Value]
    value: Value | None = None
    client_ids: Sequence[UUID | None] | None = None


StepResult = Value | Snooze | FanOut | None


class StepError(Exception):
    """A failure whose message is meant for the reader of the run."""


class PermanentError(StepError):
    """A failure that another try cannot mend: the run fails at once."""


class RetryLater(StepError):
    """A failure to be tried again after ``delay``, or after the job's own back-off."""

    def __init__(self, message: str, *, delay: timedelta | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class LeaseLost(Exception):
    """The run has been taken from this attempt: it was slow past its lease, or has been cancelled.

    Whatever the attempt writes now is refused by the database; it ends without a trace of its own.
    """


class RunCancelled(Exception):
    """The run was asked to stop."""
