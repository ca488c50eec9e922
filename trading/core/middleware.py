"""Around every request: its id, its line in the log, and JSON for whatever goes wrong on an API path."""

import re
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.functional import empty

from trading.core import errors
from trading.core.headers import protect
from trading.core.metrics import observe_request
from trading.core.scope import nobodys_scope

log = structlog.get_logger("quantum.http")

HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
Next = Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]]


def request_id(request: HttpRequest) -> str:
    """The request's id."""
    return str(getattr(request, "request_id", ""))


class RequestIdMiddleware:
    """Gives each request an id, its own when that is well formed, binds it to the log, and writes one line."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Sync or async, as the server is."""
        if self._async:
            return self._acall(request)
        began = self._begin(request)
        response = self.get_response(request)
        assert isinstance(response, HttpResponse) or hasattr(response, "headers")
        return self._end(request, response, began)  # type: ignore[arg-type]  # sync here

    async def _acall(self, request: HttpRequest) -> HttpResponse:
        began = self._begin(request)
        response = await self.get_response(request)  # type: ignore[misc]  # async here
        return self._end(request, response, began)

    def _begin(self, request: HttpRequest) -> float:
        given = request.headers.get(HEADER, "")
        request.request_id = given if _ID.fullmatch(given) else uuid4().hex  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id(request))
        return time.perf_counter()

    def _end(self, request: HttpRequest, response: HttpResponse, began: float) -> HttpResponse:
        response[HEADER] = request_id(request)
        protect(request, response)
        seconds = time.perf_counter() - began
        match = request.resolver_match
        route = match.route if match is not None else "unmatched"
        observe_request(request.method or "", route, response.status_code, seconds)
        log.info(
            "http.request",
            method=request.method,
            path=request.path[:200],
            status=response.status_code,
            ms=round(seconds * 1000, 1),
            **_caller(request),
        )
        return response


def _caller(request: HttpRequest) -> dict[str, str]:
    """Who asked, when that has been found out; a session that nobody looked at is not read for the log."""
    user = request.__dict__.get("user")
    if user is None or getattr(user, "_wrapped", None) is empty or not getattr(user, "pk", None):
        return {}
    client_id = getattr(user, "client_id", None)
    return {"user": str(user.pk), **({"client_id": str(client_id)} if client_id else {})}


class ScopeMiddleware:
    """Begins each request where no tenant's row is there: whose it is, is found out, and said, on the way."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        with nobodys_scope():
            return self.get_response(request)


class JsonErrorsMiddleware:
    """On an API path, an error outside REST framework is JSON too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer to what a view raised."""
        if errors.is_page(request):
            return errors.as_page(request, exception) if isinstance(exception, errors.ApiError) else None
        known = errors.translate(exception)
        if known is not None:
            return errors.as_json(known)
        log.exception("http.failed", path=request.path[:200])
        return errors.server_error()


class PlainBodiesMiddleware:
    """Refuses compressed bodies: a small one could hold a large one, and no caller of this API has need of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on what is not compressed."""
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            message = "Send the body as it is, without Content-Encoding."
            return errors.as_json(errors.ApiError(415, "unsupported_media_type", message))
        return self.get_response(request)
