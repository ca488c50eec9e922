"""Who is asking: a token, the scheduler's secret, a session of the pages, or, in development, a header."""

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from trading.tenants.models import Role, User
from trading.tenants.tokens import InvalidToken, user_of

MAX_TOKEN_LENGTH = 4096
FORWARDED = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")


@dataclass(frozen=True)
class Cron:
    """The caller that knows ``CRON_SECRET``: it stands outside all clients and sees all of them."""

    is_authenticated: bool = True
    is_active: bool = True
    client_id: None = None
    role: str = Role.OPERATOR
    username: str = "cron"
    pk: str = "cron"


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell; an empty one equals nothing."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


class JwtAuthentication(BaseAuthentication):
    """``Authorization: Bearer`` with a token of ours or of the external issuer."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """The token's user; None without the header."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        if not token or len(token) > MAX_TOKEN_LENGTH:
            raise AuthenticationFailed("The token is empty or too long.")
        try:
            return user_of(token.strip()), "jwt"
        except InvalidToken as error:
            raise AuthenticationFailed(f"The token is not accepted: {error}.") from None

    def authenticate_header(self, request: Request) -> str:
        """What to send instead of nothing."""
        return "Bearer"


class CronAuthentication(BaseAuthentication):
    """``X-Cron-Secret``."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        """The scheduler; None without the header."""
        given = request.headers.get("X-Cron-Secret")
        if given is None:
            return None
        if not same(given, settings.CRON_SECRET):
            raise AuthenticationFailed("X-Cron-Secret is wrong.")
        return Cron(), "cron"


class DevelopmentAuthentication(BaseAuthentication):
    """``X-Test-Mode-User``: only where it is switched on, never in production, only from this very machine."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """The user of that name or key."""
        name = request.headers.get("X-Test-Mode-User")
        if name is None or settings.APP_ENV == "production" or not settings.ENABLE_DEV_AUTH_BYPASS:
            return None
        if not is_loopback(request._request):
            raise AuthenticationFailed("X-Test-Mode-User works from this machine alone, without a proxy.")
        user = User.objects.select_related("client").filter(username=name).first()
        if user is None or not user.may_log_in:
            raise AuthenticationFailed("X-Test-Mode-User names no user.")
        return user, "development"


def is_loopback(request: HttpRequest) -> bool:
    """Whether the peer is this machine itself, and no proxy speaks for another."""
    names = {name.lower() for name in request.headers}
    if any(name in FORWARDED or name.startswith("x-forwarded") for name in names):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
