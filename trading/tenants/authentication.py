"""Who is asking: a token, the scheduler's secret, a session of the pages, or, in development, a header."""

import hmac
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from trading.core.peers import is_loopback
from trading.core.scope import platform_scope
from trading.tenants.models import Role, User
from trading.tenants.permissions import Holder
from trading.tenants.tokens import AccessToken, InvalidToken, accepted


@dataclass(frozen=True)
class Keeper:
    """Whoever knows one of the platform's secrets: no user, outside all clients; what it may do is in the table."""

    holder: Holder
    is_authenticated: bool = True
    is_active: bool = True
    client_id: None = None
    role: str = Role.OPERATOR

    @property
    def username(self) -> str:
        """What records call it."""
        return str(self.holder)

    @property
    def pk(self) -> str:
        """What tells it from users, whose keys are numbers."""
        return str(self.holder)


SECRETS: Final = (
    ("X-Admin-Key", "ADMIN_API_KEY", Holder.ADMIN_KEY),
    ("X-Admin-Token", "QT_ADMIN_TOKEN", Holder.ADMIN_TOKEN),
    ("X-Cron-Secret", "CRON_SECRET", Holder.CRON),
)
"""The header, the setting that it is compared with, and who sends it."""


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell; an empty one equals nothing."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


class JwtAuthentication(BaseAuthentication):
    """``Authorization: Bearer`` with a token of ours or of the external issuer."""

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        """The token's user; None without the header."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            found = accepted(token.strip())
        except InvalidToken as error:
            raise AuthenticationFailed(f"The token is not accepted: {error}.") from None
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        """What to send instead of nothing."""
        return "Bearer"


class SecretAuthentication(BaseAuthentication):
    """``X-Admin-Key``, ``X-Admin-Token``, ``X-Cron-Secret``: each a holder of its own in the table of permissions."""

    def authenticate(self, request: Request) -> tuple[Keeper, str] | None:
        """The keeper of the secret; None without such a header, refused for a wrong one or for two at once."""
        given = [(name, setting, holder) for name, setting, holder in SECRETS if name in request.headers]
        if not given:
            return None
        if len(given) > 1:
            raise AuthenticationFailed(f"Send one of {', '.join(name for name, _, _ in given)}, not several.")
        name, setting, holder = given[0]
        if not same(request.headers[name], getattr(settings, setting)):
            raise AuthenticationFailed(f"{name} is wrong.")
        return Keeper(holder), str(holder)

    def authenticate_header(self, request: Request) -> str:
        """What to send instead of nothing: the first in the list of authenticators speaks for all of them."""
        return "Bearer"


class DevelopmentAuthentication(BaseAuthentication):
    """``X-Test-Mode-User``: only where it is switched on, never in production, only from this very machine."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """The user of that name or key."""
        name = request.headers.get("X-Test-Mode-User")
        if name is None or settings.APP_ENV == "production" or not settings.ENABLE_DEV_AUTH_BYPASS:
            return None
        if not is_loopback(request._request):
            raise AuthenticationFailed("X-Test-Mode-User works from this machine alone, without a proxy.")
        if not name.isprintable():  # a NUL among it, say, which no column holds
            raise AuthenticationFailed("X-Test-Mode-User names no user.")
        with platform_scope():
            user = User.objects.select_related("client").filter(username=name).first()
        if user is None or not user.may_log_in:
            raise AuthenticationFailed("X-Test-Mode-User names no user.")
        return user, "development"
