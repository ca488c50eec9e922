"""The operators' site: who may enter, and its first page."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from trading.jobs.models import JobRun
from trading.jobs.selectors import queue_states
from trading.tenants.models import Role, User
from trading.tenants.scope import scope_of

LAST_RUNS = 10


class OperatorAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # untyped upstream
    """Open to active operators alone, by the one login page of the platform."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.disable_action("delete_selected")  # it deletes outside the transaction of its record; one by one is left

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the request comes from an operator."""
        user = request.user
        return isinstance(user, User) and user.is_active and user.role == Role.OPERATOR

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
        """A view of the admin, drawn while the platform's rows are there."""

        @wraps(view)
        def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            with scope_of(request.user):
                response = view(request, *args, **kwargs)
                return response.render() if isinstance(response, SimpleTemplateResponse) else response

        guarded: Callable[..., HttpResponse] = super().admin_view(scoped, cacheable)
        return guarded

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Go to the platform's login page, which comes back here."""
        if self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        return HttpResponseRedirect(f"{settings.LOGIN_URL}?{urlencode({'next': request.GET.get('next', '/admin/')})}")


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the queues' state and the newest runs to the first page."""
    runs = JobRun.objects.select_related("client").defer("args", "returned", "result", "error_message")
    context.update(queues=queue_states(), last_runs=runs.order_by("-id")[:LAST_RUNS])
    return context


def environment(request: HttpRequest) -> list[str]:
    """The label beside the site's name: which environment this is, in red where money may move."""
    return [settings.APP_ENV, "danger" if settings.APP_ENV == "production" else "info"]
