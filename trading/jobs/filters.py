"""The admin's filters of runs, each of which an index answers or that reads no more than a page needs."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from trading.core.ids import first_uuid7_at
from trading.jobs.models import JobRun
from trading.jobs.registry import QUEUES, registry


class JobFilter(DropdownFilter):  # type: ignore[misc]  # untyped upstream
    """By job: the declared ones, as asking the rows for theirs would read them all."""

    title = "job"
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every declared job."""
        return [(slug, slug) for slug in sorted(registry.slugs())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        """The runs of that job."""
        return queryset.filter(job=self.value()) if self.value() else queryset


class QueueFilter(DropdownFilter):  # type: ignore[misc]  # untyped upstream
    """By queue."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The queues that jobs may name."""
        return [(name, name) for name in QUEUES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        """The runs of that queue."""
        return queryset.filter(queue=self.value()) if self.value() else queryset


class CreatedFilter(DropdownFilter):  # type: ignore[misc]  # untyped upstream
    """By age, through the primary key, whose order is that of creation."""

    title = "created"
    parameter_name = "created"
    SPANS = {
        "hour": ("In the last hour", timedelta(hours=1)),
        "day": ("In the last day", timedelta(days=1)),
        "week": ("In the last 7 days", timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The spans."""
        return [(key, title) for key, (title, _) in self.SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        """The runs created since then."""
        span = self.SPANS.get(self.value() or "")
        return queryset.filter(id__gte=first_uuid7_at(timezone.now() - span[1])) if span else queryset
