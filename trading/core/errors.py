"""Errors in the one form that the API answers with: ``{"detail": {"type", "message", ...}}``."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import csrf, defaults
from rest_framework import exceptions, status
from rest_framework.response import Response

log = structlog.get_logger("quantum.http")

PAGES = ("/admin/", "/app/", "/login", "/logout")
"""Where people look: the errors there are pages, everywhere else JSON."""
NOT_PAGES = ("/admin/emergency-halt",)
"""Paths of the API among them."""
ANONYMOUS = (
    "Nobody is logged in: send a token of /auth/login (Authorization: Bearer), or the secret that this route takes, as"
    " /api/docs names it."
)


class ApiError(Exception):
    """An answer other than success: ``status``, a snake_case ``type`` and a sentence for a person."""

    def __init__(
        self, status_code: int, type_: str, message: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.type = type_
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """What the answer holds."""
        return {"detail": {"type": self.type, "message": str(self), **self.extra}}


class Invalid(ApiError):
    """422: ``errors`` says where, as ``{"loc": [...], "message": ...}``."""

    def __init__(self, errors: Sequence[Mapping[str, Any]], message: str = "The request is not valid.") -> None:
        super().__init__(422, "validation_error", message, errors=list(errors))


class NotFound(ApiError):
    """404: it does not exist, or is another's."""

    def __init__(self, message: str = "There is nothing here.", type_: str = "not_found") -> None:
        super().__init__(404, type_, message)


def invalid(loc: Sequence[str | int], message: str) -> Invalid:
    """One field's fault."""
    return Invalid([{"loc": list(loc), "message": message}])


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """REST framework's hook: every error that a view raises, in our form."""
    answer = translate(error)
    if answer is None:
        return None
    return Response(answer.body(), status=answer.status_code, headers=answer.headers)


def translate(error: Exception) -> ApiError | None:
    """``error`` as an answer; None for one that nobody expected."""
    match error:
        case ApiError():
            return error
        case exceptions.ValidationError():
            return Invalid(list(_flat(error.detail, ["body"])))
        case Http404() | exceptions.NotFound():
            return NotFound()
        case RequestDataTooBig():
            return ApiError(413, "payload_too_large", "The request's body is too large.")
        case exceptions.NotAuthenticated() if str(error.detail) == exceptions.NotAuthenticated.default_detail:
            error.detail = exceptions.ErrorDetail(ANONYMOUS, error.default_code)
            return _from_framework(error)
        case exceptions.APIException():
            return _from_framework(error)
        case PermissionDenied():
            return ApiError(403, "forbidden", "You may not do this.")
        case OperationalError() | InterfaceError():
            log.error("http.database_away", error=str(error).strip())
            message = "The database cannot be reached. Nothing was changed; try again in a few seconds."
            return ApiError(503, "unavailable", message, headers={"Retry-After": "5"})
        case SuspiciousOperation():
            return ApiError(400, "bad_request", "The request cannot be understood.")
    return None


def _from_framework(error: exceptions.APIException) -> ApiError:
    headers: dict[str, str] = {}
    if authenticate := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = authenticate
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    names = {
        status.HTTP_401_UNAUTHORIZED: "not_authenticated",
        status.HTTP_403_FORBIDDEN: "forbidden",
        status.HTTP_405_METHOD_NOT_ALLOWED: "method_not_allowed",
        status.HTTP_406_NOT_ACCEPTABLE: "not_acceptable",
        status.HTTP_415_UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    }
    code = error.get_codes()
    name = names.get(error.status_code, code if isinstance(code, str) else "error")
    return ApiError(error.status_code, name, str(error.detail), headers=headers)


def _flat(detail: Any, loc: list[str | int]) -> Any:
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            yield from _flat(value, [*loc, key])
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            yield from _flat(value, loc if isinstance(value, str) else [*loc, index])
    else:
        yield {"loc": loc, "message": str(detail)}


def as_json(error: ApiError) -> JsonResponse:
    """``error`` outside REST framework."""
    return JsonResponse(error.body(), status=error.status_code, headers=error.headers)


def as_page(request: HttpRequest, error: ApiError) -> HttpResponse:
    """``error`` for people."""
    answer = render(request, "error.html", {"message": str(error)}, status=error.status_code)
    for name, value in error.headers.items():
        answer[name] = value
    return answer


def is_page(request: HttpRequest) -> bool:
    """Whether a person in a browser is looking, rather than a program."""
    return request.path == "/" or (request.path.startswith(PAGES) and not request.path.startswith(NOT_PAGES))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """For a path that leads nowhere: a page for people, JSON for programs."""
    if is_page(request):
        return defaults.page_not_found(request, exception)
    return as_json(NotFound(f"There is nothing at {request.path[:200]!r}; /api/docs lists what there is."))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """For a request that cannot be read."""
    if is_page(request):
        return defaults.bad_request(request, exception)
    return as_json(ApiError(400, "bad_request", "The request cannot be understood."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """For what the caller may not do."""
    if is_page(request):
        return defaults.permission_denied(request, exception)
    return as_json(ApiError(403, "forbidden", "You may not do this."))


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """For a form, or a request with a session's cookie, that did not come from our pages."""
    if is_page(request):
        return csrf.csrf_failure(request, reason)
    return as_json(ApiError(403, "forbidden", "With a session's cookie, send X-CSRFToken; or send a token instead."))


def failed(request: HttpRequest) -> HttpResponse:
    """For what went wrong outside a view."""
    return defaults.server_error(request) if is_page(request) else server_error()


def server_error() -> HttpResponse:
    """For what should not have happened; the log has the traceback, under the request's id."""
    return as_json(ApiError(500, "internal_error", "Something failed here; the log has it under the request's id."))
