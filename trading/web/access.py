"""Who is looking, whose rows they may see, and the headers that every page carries."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from trading.jobs.access import is_operator
from trading.tenants.models import Client, User

P = ParamSpec("P")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class PageRequest(HttpRequest):
    """A request of somebody who has logged in."""

    user: User


def page(
    view: Callable[Concatenate[PageRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A page for those who have logged in: never cached, and nothing on it runs or loads from elsewhere."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        response = view(request, *args, **kwargs)  # type: ignore[arg-type]  # login_required has seen to the user
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    return login_required(never_cache(guarded))  # type: ignore[return-value]  # the stubs lose the arguments


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
