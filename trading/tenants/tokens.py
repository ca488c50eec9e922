"""Access tokens: JWT, HS256, made here or by the external issuer."""

import hmac
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from trading.core.scope import platform_scope
from trading.tenants.models import LoginSession, User

ALGORITHM: Final = "HS256"
LEEWAY_SECONDS: Final = 10
LONGEST: Final = timedelta(hours=24)
"""A token that claims to be good for longer than this from now is not ours, nor any careful issuer's."""
MAX_LENGTH: Final = 8192
OURS: Final = "quantum-trader"
HEADER: Final = frozenset({"alg", "typ", "kid"})
"""What a token's header may hold: of these only ``alg`` means anything here. No key is fetched or named by a token."""
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class InvalidToken(Exception):
    """The token is not one that we accept, or its user may not log in."""


@dataclass(frozen=True)
class AccessToken:
    """A token that was accepted: whose, and of which login; an external issuer's belongs to no login of ours."""

    user: User
    session_id: UUID | None
    is_external: bool


def issue_access_token(user: User, *, session_id: UUID | None = None) -> str:
    """A token for ``user``, good for ``JWT_LIFETIME``, unless the login ``session_id`` or the password ends before."""
    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        "iss": OURS,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(user.pk),
        "iat": now,
        "exp": now + settings.JWT_LIFETIME,
        "ver": version_of(user),
    }
    if session_id is not None:
        claims["sid"] = str(session_id)
    return jwt.encode(claims, settings.JWT_SECRET, algorithm=ALGORITHM)


def version_of(user: User) -> str:
    """Changes with the user's password and with every "log out everywhere"; tells nothing about either."""
    return user.get_session_auth_hash()[:32]


def accepted(token: str) -> AccessToken:
    """``token`` with its active user, by one query; raises `InvalidToken`.

    A token signed with ``JWT_SECRET`` names a user's key, one signed with ``SUPABASE_JWT_SECRET`` an external id.
    """
    if len(token) > MAX_LENGTH:
        raise InvalidToken("it is too long")
    for secret, is_external in ((settings.JWT_SECRET, False), (settings.SUPABASE_JWT_SECRET, True)):
        if not secret:
            continue
        try:
            _check_header(jwt.get_unverified_header(token))
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
        except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError, TypeError) as error:
            raise InvalidToken(str(error) or "it cannot be read") from None
        _check_claims(claims, is_external=is_external)
        return _of_user(claims, is_external=is_external)
    raise InvalidToken("the signature is not ours")


def _check_header(header: dict[str, Any]) -> None:
    if unknown := set(header) - HEADER:
        raise InvalidToken(f"its header holds {', '.join(sorted(unknown))[:80]!r}")
    if str(header.get("typ", "JWT")).upper() not in ("JWT", "AT+JWT"):
        raise InvalidToken("it is not a JWT")


def _check_claims(claims: dict[str, Any], *, is_external: bool) -> None:
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidToken(f"{name} is not a time")
    if claims["exp"] > (datetime.now(UTC) + LONGEST).timestamp() + LEEWAY_SECONDS:
        raise InvalidToken("it claims to be good for too long")
    if "iss" in claims and (claims["iss"] == OURS) == is_external:
        raise InvalidToken("its issuer did not sign it")


def _of_user(claims: dict[str, Any], *, is_external: bool) -> AccessToken:
    subject: str = claims["sub"]
    if not subject.isprintable() or len(subject) > 255 or not (is_external or _NUMBER.fullmatch(subject)):
        raise InvalidToken("the subject is not one of our users")
    users = User.objects.select_related("client").filter(is_active=True, **_key(subject, is_external=is_external))
    session_id = None if is_external else _session(claims)
    if session_id is not None:
        open_ones = LoginSession.objects.filter(id=session_id, user=OuterRef("pk"), ended_at=None, ends_at__gt=Now())
        users = users.filter(Exists(open_ones))
    with platform_scope():  # it is not known yet whose user this is
        user = users.first()
    if user is None or not user.may_log_in:
        raise InvalidToken("its user does not exist, may not log in or has logged out")
    _check_version(claims, user, is_external=is_external)
    return AccessToken(user, session_id, is_external)


def _key(subject: str, *, is_external: bool) -> dict[str, str]:
    return {"external_id": subject} if is_external else {"pk": subject}


def _session(claims: dict[str, Any]) -> UUID | None:
    try:
        return UUID(claims["sid"]) if "sid" in claims else None
    except (ValueError, AttributeError, TypeError):
        raise InvalidToken("its login is none of ours") from None


def _check_version(claims: dict[str, Any], user: User, *, is_external: bool) -> None:
    """A token of a login carries a version; one that somebody else made has nothing to show but its age."""
    if "ver" in claims and not is_external:
        if not hmac.compare_digest(str(claims["ver"]).encode(), version_of(user).encode()):
            raise InvalidToken("the password has changed since, or all logins were ended")
    elif user.tokens_valid_from is not None and claims.get("iat", 0) <= user.tokens_valid_from.timestamp():
        raise InvalidToken("all tokens of that time were ended")
