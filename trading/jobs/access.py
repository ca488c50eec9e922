"""Who may see and change which runs: the same for the API, the pages and the admin."""

from typing import Protocol
from uuid import UUID

from django.db.models import QuerySet

from trading.jobs.models import JobRun
from trading.jobs.registry import UnknownJob, registry
from trading.tenants.models import Role

MAY_START = (Role.OWNER, Role.TRADER)


class Caller(Protocol):
    """A user, or the scheduler."""

    @property
    def role(self) -> str:
        """One of `trading.tenants.models.Role`."""

    @property
    def client_id(self) -> UUID | None:
        """The client that the caller belongs to."""


def is_operator(caller: Caller) -> bool:
    """Whether the caller stands outside all clients."""
    return caller.role == Role.OPERATOR


def visible(caller: Caller) -> QuerySet[JobRun]:
    """The runs that the caller may see: an operator all, others their client's."""
    runs = JobRun.objects.all()
    if is_operator(caller):
        return runs
    return runs.none() if caller.client_id is None else runs.filter(client_id=caller.client_id)


def may_change(caller: Caller, run: JobRun) -> bool:
    """Whether the caller may retry or cancel a visible run: an operator any, others those that clients may start."""
    if is_operator(caller):
        return True
    try:
        return caller.role in MAY_START and registry.get(run.job).client_startable
    except UnknownJob:
        return False
