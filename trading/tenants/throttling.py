"""How often one caller may ask: a user, a user's client as a whole, or an address that nobody known calls from."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from trading.core.errors import ApiError, as_json
from trading.core.peers import address_of, is_loopback
from trading.core.throttle import wait_for


def too_many(seconds: int) -> ApiError:
    """The answer."""
    message = f"Too many requests. Wait {seconds} s, and then ask less often."
    return ApiError(429, "too_many_requests", message, headers={"Retry-After": str(seconds)})


def check(request: HttpRequest, caller: Any) -> None:
    """Count a request of ``caller``; raises `ApiError` 429 past ``QT_RATE_USER``, ``_CLIENT`` or ``_ADDRESS``.

    This machine itself, which health probes and metrics come from, is not counted while it asks as nobody.
    """
    if caller is None or not caller.is_authenticated:
        counts = [] if is_loopback(request) else [("address", address_of(request), settings.QT_RATE_ADDRESS)]
    else:
        counts = [("user", str(caller.pk), settings.QT_RATE_USER)]
        if caller.client_id is not None:
            counts.append(("client", str(caller.client_id), settings.QT_RATE_CLIENT))
    for kind, whom, limit in counts:
        seconds = wait_for(kind, whom, limit)
        if seconds is not None:
            raise too_many(seconds)


class CallerThrottle(BaseThrottle):
    """REST framework's hook."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """True, or raises."""
        check(request._request, request.user)
        return True


class GuessLimitMiddleware:
    """Answers 429 instead of 401 to an address that was refused too often within a minute (``QT_RATE_REFUSED``).

    For tokens, keys, secrets and signatures alike. A good one is never kept out, as an attacker who shares an address,
    or a proxy, with the operators could otherwise keep them from the halt; and as these are of 32 random characters or
    more, it is work that the limit saves, not the secret. Passwords have a lock-out of their own.
    """

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """Count what was refused."""
        response = self.get_response(request)
        if response.status_code == 401:
            seconds = wait_for("refused", address_of(request), settings.QT_RATE_REFUSED)
            if seconds is not None:
                return as_json(too_many(seconds))
        return response
