"""Logins by token: begun with a password, kept up with refresh tokens that are each good once, ended at once."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from trading.core.trail import tell
from trading.tenants.models import LoginSession, RefreshToken, User
from trading.tenants.tokens import issue_access_token, version_of

log = structlog.get_logger("quantum.auth")

LONGEST: Final = timedelta(days=30)
"""However often it is refreshed, a login ends after this, and the password is asked for again."""
KEPT: Final = timedelta(days=7)
"""How long an ended login is remembered, so that a stolen refresh token still shows as one."""


class Refused(Exception):
    """The refresh token is unknown, spent, too old, or of a login that has ended; which of these is not said."""


@dataclass(frozen=True)
class Tokens:
    """What a login or a refresh gives; the times are in seconds."""

    user: User
    access: str
    access_seconds: int
    refresh: str
    refresh_seconds: int


@transaction.atomic
def begin(user: User, *, now: datetime) -> Tokens:
    """A login of ``user``, who has just shown the password."""
    session = LoginSession.objects.create(user=user, began_at=now, ends_at=now + LONGEST, version=version_of(user))
    return _tokens(session, user, now)


def refresh(token: str, *, now: datetime) -> Tokens:
    """New tokens for a refresh token, which is spent by it; raises `Refused`.

    A spent one that comes again was copied: by whom, the thief or the owner, cannot be told, so the login ends.
    """
    with transaction.atomic():
        given = (
            RefreshToken.objects.select_for_update(of=("self", "session"))
            .select_related("session__user__client")
            .filter(digest=_digest(token))
            .first()
        )
        if given is None:
            raise Refused
        session, user = given.session, given.session.user
        if session.ended_at is None and session.ends_at > now:
            if given.used_at is not None:
                _end(session, now, "reuse")
            elif not user.may_log_in or session.version != version_of(user):
                _end(session, now, "user")
            elif given.expires_at > now:
                given.used_at = now
                given.save(update_fields=["used_at"])
                return _tokens(session, user, now)
    raise Refused


def end(session_id: UUID, *, now: datetime) -> None:
    """Log one login out: its access and refresh tokens are good for nothing from here on."""
    LoginSession.objects.filter(id=session_id, ended_at=None).update(ended_at=now, ended_by="logout")


@transaction.atomic
def end_all(user_id: int, *, now: datetime) -> int:
    """Log a user out everywhere, pages and external tokens of before included; how many logins by token that ended."""
    User.objects.filter(pk=user_id).update(token_generation=F("token_generation") + 1, tokens_valid_from=now)
    ended = LoginSession.objects.filter(user_id=user_id, ended_at=None).update(ended_at=now, ended_by="everywhere")
    _record(User.objects.get(pk=user_id), "everywhere")
    return ended


def forget(*, now: datetime) -> int:
    """Delete logins that ended long ago, with their refresh tokens; how many rows that were."""
    old, _ = LoginSession.objects.filter(ends_at__lt=now - KEPT).delete()
    ended, _ = LoginSession.objects.filter(ended_at__lt=now - KEPT).delete()
    return old + ended


def _tokens(session: LoginSession, user: User, now: datetime) -> Tokens:
    token = secrets.token_urlsafe(32)
    expires_at = min(now + settings.JWT_REFRESH_LIFETIME, session.ends_at)
    RefreshToken.objects.create(digest=_digest(token), session=session, expires_at=expires_at)
    return Tokens(
        user=user,
        access=issue_access_token(user, session_id=session.id),
        access_seconds=int(settings.JWT_LIFETIME.total_seconds()),
        refresh=token,
        refresh_seconds=int((expires_at - now).total_seconds()),
    )


def _end(session: LoginSession, now: datetime, why: str) -> None:
    session.ended_at, session.ended_by = now, why
    session.save(update_fields=["ended_at", "ended_by"])
    log.warning("auth.session_ended", why=why, user=session.user_id, session=str(session.id))
    _record(session.user, why)


def _record(user: User, why: str) -> None:
    """For the audit log: a stolen or outdated refresh token, or the end of all of a user's logins."""
    tell("login.ended", client_id=user.client_id, subject=f"user:{user.pk}", data={"why": why})


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
