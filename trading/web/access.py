"""Who is looking, whose rows they may see, and the headers that every page carries."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from trading.jobs.access import is_operator
from trading.tenants.models import Client, User
from trading.tenants.permissions import Permission, allows, needs
from trading.tenants.scope import scope_of
from trading.tenants.throttling import check

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request of somebody who has logged in."""

    user: User


def page(
    view: Callable[Concatenate[PageRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A page to look at, for everybody who has logged in."""
    return page_for(GET=Permission.SEE_ACCOUNT)(view)


def page_for(
    **methods: Permission,
) -> Callable[
    [Callable[Concatenate[PageRequest, P], HttpResponse]], Callable[Concatenate[HttpRequest, P], HttpResponse]
]:
    """A page for those who have logged in and hold what the method needs: ``@page_for(POST=Permission.CHANGE_RUNS)``.

    It is never cached. Other methods are not answered (405).
    """

    def guard(
        view: Callable[Concatenate[PageRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not allows(methods["GET" if request.method == "HEAD" else str(request.method)], request.user):
                raise PermissionDenied
            check(request, request.user)
            with scope_of(request.user):
                return view(request, *args, **kwargs)  # type: ignore[arg-type]  # login_required has seen to the user

        answered = [*methods, *(["HEAD"] if "GET" in methods else [])]
        # The stubs lose the arguments.
        return needs(**methods)(require_http_methods(answered)(login_required(never_cache(guarded))))  # type: ignore[return-value]

    return guard


def chosen_client(request: PageRequest) -> Client | None:
    """The user's own client; for an operator the one that ``?client=`` names, or none.

    Raises `Http404` for a client that does not exist, whoever asks for it.
    """
    if not is_operator(request.user):
        return request.user.client
    wanted = request.GET.get("client", "")
    if not wanted:
        return None
    try:
        return Client.objects.get(id=UUID(wanted))
    except (ValueError, Client.DoesNotExist):
        raise Http404("There is no such client.") from None
