"""Who is at work here: the caller of the request, the job of the run, or neither."""

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse
from structlog.contextvars import get_contextvars

from trading.tenants.models import User

SYSTEM = "system"
_request: ContextVar[HttpRequest | None] = ContextVar("audited_request", default=None)


class ActorMiddleware:
    """Remembers the request while it is answered; who its caller is, is looked at when an entry is written."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)


def current() -> str:
    """``user:ID``, ``operator:NAME``, a named key such as ``cron``, ``job:SLUG``, ``anonymous`` or ``system``."""
    if job := get_contextvars().get("job"):
        return f"job:{job}"
    request = _request.get()
    return SYSTEM if request is None else of(getattr(request, "user", None))


def of(user: object) -> str:
    """A caller as the log names it."""
    if isinstance(user, User):
        return user.known_as
    return str(getattr(user, "pk", None) or "anonymous")


def request_id() -> str:
    """The id of the request that is answered, or that the run at work goes back to."""
    return str(get_contextvars().get("request_id") or "")
