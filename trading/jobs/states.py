"""The states of a run, and which of them mean what. docs/jobs.md draws the transitions."""

from django.db.models import TextChoices


class State(TextChoices):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SNOOZED = "snoozed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


WAITING = (State.QUEUED, State.RETRYING, State.SNOOZED)
LIVE = (*WAITING, State.RUNNING)
FINAL = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DISCARDED)
RETRYABLE = (State.FAILED, State.DISCARDED, State.CANCELLED)


class Outcome(TextChoices):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    RELEASED = "released", "Released by a worker that was shutting down"
    LOST = "lost", "Lost with its worker"


class Trigger(TextChoices):
    """Who or what asked for a run."""

    API = "api"
    INTERNAL = "internal"
    SCHEDULE = "schedule"
    COMMAND = "command"
    ADMIN = "admin"
    PARENT = "parent"
    SERVICE = "service"
