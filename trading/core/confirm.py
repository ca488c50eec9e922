"""Actions of the admin that change something: asked first, done by POST, reported object by object."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

MOST_AT_ONCE = 500
"""An action takes this many rows; with more selected the page says so and the operator repeats it."""
NAMED_AT_MOST = 20


class Refused(Exception):
    """The object's state does not allow the operation; the message says why."""


@dataclass(frozen=True)
class Operation:
    """Something an operator may have done to rows, and how to do it to one."""

    name: str
    title: str
    question: str
    perform: Callable[[Any, str], str]
    """Called with the row's key and the operator's name; what happened, in words. Raises `Refused`."""
    applies: Callable[[Any], bool]
    """Whether a row's page shows a button for it."""
    is_danger: bool = False


class ConfirmedOperations(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Gives a model's list its operations as actions, and each row's page a button for those that apply."""

    operations: tuple[Operation, ...] = ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The operations in place of deletion."""
        if not self.has_operate_permission(request):
            return {}
        return {
            operation.name: (partial(self._on_many, operation), operation.name, f"{operation.title} selected")
            for operation in self.operations
        }

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may change what the ledger says through an operation."""
        options = self.opts
        return request.user.has_perm(f"{options.app_label}.change_{options.model_name}")

    def get_urls(self) -> list[URLPattern]:
        """One address for each operation on one row."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(
                f"<path:object_id>/{operation.name}/",
                self.admin_site.admin_view(partial(self._on_one, operation)),
                name=f"{name}_{operation.name}",
            )
            for operation in self.operations
        ]
        return own + super().get_urls()

    def buttons(self, row: Any) -> list[dict[str, Any]]:
        """The operations that apply to ``row``, each with its address."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        return [
            {
                "title": operation.title,
                "url": reverse(f"{name}_{operation.name}", args=[row.pk]),
                "operation": operation,
            }
            for operation in self.operations
            if operation.applies(row)
        ]

    def _on_many(
        self, operation: Operation, model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        rows = list(queryset[: MOST_AT_ONCE + 1])
        if len(rows) > MOST_AT_ONCE:
            rows = rows[:MOST_AT_ONCE]
            self.message_user(
                request,
                f"These are the first {MOST_AT_ONCE}: an action takes no more at once. Repeat it for the rest.",
                messages.WARNING,
            )
        if request.POST.get("confirmed") != "yes":
            return self._ask(request, operation, rows, back=request.get_full_path())
        self._perform(request, operation, rows)
        return None

    def _on_one(self, operation: Operation, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        if not self.has_operate_permission(request):
            raise PermissionDenied
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
        if request.method != "POST" or request.POST.get("confirmed") != "yes":
            return self._ask(request, operation, [row], back=page)
        self._perform(request, operation, [row])
        return HttpResponseRedirect(page)

    def _ask(self, request: HttpRequest, operation: Operation, rows: list[Any], *, back: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"{operation.title}?",
            "opts": self.opts,
            "operation": operation,
            "rows": rows,
            "named": rows[:NAMED_AT_MOST],
            "unnamed": max(len(rows) - NAMED_AT_MOST, 0),
            "checkbox": ACTION_CHECKBOX_NAME,
            "back": back,
        }
        return TemplateResponse(request, "admin/confirm_operation.html", context)

    def _perform(self, request: HttpRequest, operation: Operation, rows: list[Model]) -> None:
        done = 0
        refused: list[str] = []
        user = request.user
        if user.pk is None:
            raise PermissionDenied
        for row in rows:
            try:
                said = operation.perform(row.pk, user.get_username())
            except Refused as reason:
                refused.append(f"{row}: {reason}")
                continue
            done += 1
            said_of = f"{operation.title}: {said}"
            LogEntry.objects.log_actions(user.pk, [row], CHANGE, said_of, single_object=True)
            if done <= NAMED_AT_MOST:
                self.message_user(request, f"{row}: {said}", messages.SUCCESS)
        if done > NAMED_AT_MOST:
            self.message_user(request, f"{operation.title}: {done} done in all.", messages.SUCCESS)
        for line in refused[:NAMED_AT_MOST]:
            self.message_user(request, line, messages.WARNING)
        if len(refused) > NAMED_AT_MOST:
            self.message_user(request, f"{operation.title}: {len(refused)} refused in all.", messages.WARNING)
