"""The audit log in the admin: read, never written."""

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter, RangeDateFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.utils import parse_date_str

from trading.audit import selectors
from trading.audit.models import PLATFORM, SWITCHES, AuditEntry

LAST_DAY = date(9999, 12, 30)
"""One before the last that a calendar holds."""


class ActionFilter(DropdownFilter):  # type: ignore[misc]  # untyped upstream
    """By action: those that were recorded."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every one."""
        return [(action, action) for action in selectors.actions()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """The entries of that action."""
        return queryset.filter(action=self.value()) if self.value() else queryset


class PlatformFilter(DropdownFilter):  # type: ignore[misc]  # untyped upstream
    """The chains that are no client's."""

    title = "platform"
    parameter_name = "platform"
    CHAINS = {"platform": ("The platform", PLATFORM), "switches": ("Halt and kill switch", SWITCHES)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Both."""
        return [(key, title) for key, (title, _) in self.CHAINS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """The entries of that chain."""
        found = self.CHAINS.get(self.value() or "")
        return queryset.filter(client=None, chain=found[1]) if found else queryset


class DayFilter(RangeDateFilter):  # type: ignore[misc]  # untyped upstream
    """From a day to a day (UTC, both included), by the ids, which grow with time."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """The entries of those days."""
        since, until = self._day("from"), self._day("to")
        return selectors.listed(queryset, since=since, until=until and until + timedelta(days=1))

    def _day(self, end: str) -> datetime | None:
        value = self.used_parameters.get(f"{self.field_path}_{end}")
        day = parse_date_str(value) if isinstance(value, str) else None
        return datetime.combine(min(day, LAST_DAY), time(), UTC) if day is not None else None


class _ByKey(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """The key, whatever the address says."""
        return ["-pk"]


@admin.register(AuditEntry)
class AuditEntryAdmin(ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """Entries, newest first, by the key and without counting."""

    list_display = ["at", "action", "actor", "client", "subject", "shown_data", "sequence"]
    list_filter = [
        ("client", AutocompleteSelectFilter),
        PlatformFilter,
        ActionFilter,
        ("at", DayFilter),
    ]
    list_filter_submit = True
    list_select_related = ["client"]
    list_fullwidth = True
    list_per_page = 50
    sortable_by = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    search_fields = ["actor"]
    search_help_text = "An actor in full (operator:NAME, user:ID, job:SLUG, cron), or an entry's id."
    fieldsets = [
        (None, {"fields": [("at", "sequence"), ("action", "actor"), ("client", "subject"), "request_id"]}),
        ("Data", {"fields": ["shown_document"]}),
        ("Chain", {"fields": ["id", "chain", "previous_hash", "hash"]}),
    ]
    readonly_fields = ["shown_document"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Entries are written by what they record."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody's; the database refuses it too."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody's; the database refuses it too."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """The entries of that actor, or the one of that id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except ValueError:
            return queryset.filter(actor=term), False

    def get_ordering(self, request: HttpRequest) -> Any:
        """Newest first, by the primary key."""
        return ["-id"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Rows in the order of the key alone, so that the index gives them."""
        return _ByKey

    @display(description="Data")
    def shown_data(self, entry: AuditEntry) -> str:
        """The beginning of its data."""
        text = ", ".join(f"{name} {_short(value)}" for name, value in entry.data.items() if value not in ("", None))
        return text if len(text) <= 160 else text[:159] + "…"

    @display(description="Data")
    def shown_document(self, entry: AuditEntry) -> SafeString:
        """All of its data."""
        return format_html(
            "<pre class='qt-pre'>{}</pre>", json.dumps(entry.data, indent=2, ensure_ascii=False, sort_keys=True)
        )


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
