"""Logging in with a name and a password, and being locked out after too many wrong ones."""

from datetime import timedelta

from django.contrib.auth import authenticate
from django.db.models import Case, F, Value, When
from django.db.models.functions import Now
from django.http import HttpRequest

from trading.core.errors import ApiError
from trading.tenants.models import LoginFailures, User

WINDOW = timedelta(minutes=15)
PER_NAME = 5
PER_ADDRESS = 30


def log_in(request: HttpRequest, username: str, password: str) -> User:
    """The user; raises `ApiError` 401 for a wrong pair, 429 while the name or the address is locked out.

    The count is raised before the password is looked at, in the database, so that guesses at the same time count too.
    """
    address = request.META.get("REMOTE_ADDR", "")
    keys = ((f"address:{address}", PER_ADDRESS), (f"name:{username.lower()[:150]}", PER_NAME))
    for key, allowed in keys:
        if _count(key) > allowed:
            raise ApiError(
                429,
                "too_many_attempts",
                "Too many failed logins. Wait a quarter of an hour, or ask an operator to reset the password.",
                headers={"Retry-After": str(int(WINDOW.total_seconds()))},
            )
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User) or not user.may_log_in:
        message = "The name or the password is wrong."
        raise ApiError(401, "invalid_credentials", message, headers={"WWW-Authenticate": "Bearer"})
    (address_key, _), (name, _) = keys
    LoginFailures.objects.filter(key=name).delete()
    LoginFailures.objects.filter(key=address_key, count__gt=0).update(count=F("count") - 1)
    return user


def _count(key: str) -> int:
    """Count one attempt of ``key``; how many there have been within the window, this one included."""
    LoginFailures.objects.bulk_create([LoginFailures(key=key, count=0, since=Now())], ignore_conflicts=True)
    old = When(since__lt=Now() - WINDOW, then=Value(1))
    since = When(since__lt=Now() - WINDOW, then=Now())
    LoginFailures.objects.filter(key=key).update(
        count=Case(old, default=F("count") + 1), since=Case(since, default=F("since"))
    )
    return LoginFailures.objects.values_list("count", flat=True).filter(key=key).first() or 0
