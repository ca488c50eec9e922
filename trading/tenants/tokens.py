"""Access tokens: JWT, HS256, made here or by the external issuer."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from django.conf import settings

from trading.tenants.models import User

ALGORITHM: Final = "HS256"
LEEWAY_SECONDS: Final = 10
LONGEST: Final = timedelta(hours=24)
"""A token that claims to be good for longer than this from now is not ours, nor any careful issuer's."""
OURS: Final = "quantum-trader"


class InvalidToken(Exception):
    """The token is not one that we accept, or its user may not log in."""


def issue_access_token(user: User) -> str:
    """A token for ``user``, good for ``JWT_LIFETIME``."""
    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        "iss": OURS,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(user.pk),
        "iat": now,
        "exp": now + settings.JWT_LIFETIME,
    }
    return jwt.encode(claims, settings.JWT_SECRET, algorithm=ALGORITHM)


def user_of(token: str) -> User:
    """The active user whom ``token`` names; raises `InvalidToken`.

    A token signed with ``JWT_SECRET`` names a user's key, one signed with ``SUPABASE_JWT_SECRET`` an external id.
    """
    for secret, field in ((settings.JWT_SECRET, "pk"), (settings.SUPABASE_JWT_SECRET, "external_id")):
        if not secret:
            continue
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=settings.JWT_AUDIENCE,
                leeway=LEEWAY_SECONDS,
                options={"require": ["aud", "exp", "sub"]},
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidToken(str(error) or "it cannot be read") from None
        if claims["exp"] > (datetime.now(UTC) + LONGEST).timestamp() + LEEWAY_SECONDS:
            raise InvalidToken("it claims to be good for too long")
        return _user(field, claims["sub"])
    raise InvalidToken("the signature is not ours")


def _user(field: str, subject: str) -> User:
    if field == "pk" and not (subject.isascii() and subject.isdecimal() and len(subject) < 19):
        raise InvalidToken("the subject is not one of our users")
    if "\x00" in subject or len(subject) > 255:
        raise InvalidToken("the subject is not one of our users")
    user = User.objects.select_related("client").filter(**{field: subject}, is_active=True).first()
    if user is None or not user.may_log_in:
        raise InvalidToken("the user does not exist or may not log in")
    return user
