"""Logging in with a name and a password, and being locked out after too many wrong ones.

Three counts, of a quarter of an hour each, from the first wrong attempt on:

- a name from one address: 5. What a forgetful person meets, and nobody else is kept out by it;
- an address: 30, whatever the names. One who tries a few passwords with many names;
- a name from all addresses together: 50. Many addresses that try one name. It would let a stranger lock somebody out
  again and again, so it does not hold for an address that the user has logged in from within the last ninety days.

The counts are in the database, so that they hold while Redis is away, and are raised before the password is looked at,
each in a transaction of its own: guesses at the same time count too. Do not call this inside a transaction that an
error would roll back.
"""

import hashlib
from datetime import timedelta
from math import ceil
from typing import Any

from django.contrib.auth import authenticate
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from trading.core.errors import ApiError
from trading.core.peers import address_of
from trading.core.trail import tell
from trading.tenants.models import KnownAddress, LoginFailures, User

WINDOW = timedelta(minutes=15)
PER_PAIR = 5
PER_ADDRESS = 30
PER_NAME = 50
KNOWN_FOR = timedelta(days=90)


def log_in(request: HttpRequest, username: str, password: str) -> User:
    """The user; raises `ApiError` 401 for a wrong pair, 429 while the name or the address is locked out."""
    address = address_of(request)
    name = username.casefold()
    of_address, of_pair, of_name = _key("address", address), _key("pair", address, name), _key("name", name)
    try:
        _count(of_address, PER_ADDRESS)
        _count(of_pair, PER_PAIR)
        if not _is_known(username, address):
            _count(of_name, PER_NAME)
    except _LockedOut as error:
        if error.is_first:  # once for each while: whoever goes on guessing does not fill the log
            _record("locked", username, address)
        raise
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User) or not user.may_log_in:
        _record("failed", username, address)
        message = "The name or the password is wrong."
        raise ApiError(401, "invalid_credentials", message, headers={"WWW-Authenticate": "Bearer"})
    with transaction.atomic():
        LoginFailures.objects.filter(key=of_pair).delete()
        LoginFailures.objects.filter(key__in=(of_address, of_name), count__gt=0).update(count=F("count") - 1)
        KnownAddress.objects.update_or_create(user=user, address=address, defaults={"seen_at": Now()})
        _record("succeeded", username, address, actor=user.known_as)
    return user


def _record(outcome: str, username: str, address: str, *, actor: str = "anonymous") -> None:
    """For the audit log, in the chain of the client of whoever has that name.

    A name that nobody has is not kept, as people type passwords there: only a fingerprint, to tell one from another.
    """
    user = User.objects.filter(username=username).first()
    told = {"address": address}
    if user is None:
        told["name_fingerprint"] = salted_hmac("trading.tenants.login", username).hexdigest()[:16]
    tell(
        f"login.{outcome}",
        client_id=user.client_id if user is not None else None,
        subject=f"user:{user.pk}" if user is not None else "",
        data=told,
        actor=actor,
    )


def forget() -> int:
    """Delete counts that are over and addresses not seen for long; how many rows that were."""
    counts, _ = LoginFailures.objects.filter(since__lt=Now() - WINDOW).delete()
    addresses, _ = KnownAddress.objects.filter(seen_at__lt=Now() - KNOWN_FOR).delete()
    return counts + addresses


def _key(kind: str, *parts: str) -> str:
    """Under a digest: people type passwords where a name belongs."""
    return f"{kind}:{hashlib.sha256('|'.join(parts).encode()).hexdigest()}"


def _is_known(username: str, address: str) -> bool:
    seen = KnownAddress.objects.filter(user__username=username, address=address, seen_at__gte=Now() - KNOWN_FOR)
    return seen.exists()


def _count(key: str, allowed: int) -> None:
    values: dict[str, Any] = {"key": key, "window": WINDOW}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO login_failures AS f (key, count, since) VALUES (%(key)s, 1, now())
            ON CONFLICT (key) DO UPDATE
               SET count = CASE WHEN f.since <= now() - %(window)s THEN 1 ELSE f.count + 1 END,
                   since = CASE WHEN f.since <= now() - %(window)s THEN now() ELSE f.since END
            RETURNING count, extract(epoch FROM since + %(window)s - now())
            """,
            values,
        )
        count, seconds = cursor.fetchone()
    if count > allowed:
        raise _LockedOut(seconds, is_first=count == allowed + 1)


class _LockedOut(ApiError):
    def __init__(self, seconds: float, *, is_first: bool) -> None:
        super().__init__(
            429,
            "too_many_attempts",
            f"Too many failed logins. Wait {ceil(seconds / 60)} minutes.",
            headers={"Retry-After": str(max(1, ceil(seconds)))},
        )
        self.is_first = is_first
