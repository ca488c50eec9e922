"""A new client: its first user, its parameters and its broker, all of them or none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from trading.audit.services import record
from trading.brokers import accounts, services
from trading.tenants import parameters
from trading.tenants.models import Client, Role, User

_USERNAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.@+_-]{0,148}[A-Za-z0-9])?")
LONGEST_NAME: Final = 120


class Refused(ValueError):
    """Fields of an application that are not right: ``problems`` are pairs of a field's name and a sentence."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in problems))
        self.problems = problems


@dataclass(frozen=True)
class Application:
    """What a new client hands in. ``broker`` may be connected later; ``risk`` are risk parameters by name."""

    name: str
    username: str
    password: str = field(repr=False)
    broker: str | None = None
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    risk: Mapping[str, Any] = field(default_factory=dict)


def prepare(application: Application) -> UUID:
    """Check all that can be checked beforehand, the venue's session among it; the id that the client will have.

    Raises `Refused`, `parameters.NotWithinLimits`, and what `accounts.try_session` raises. Must not be called in a
    transaction.
    """
    client_id = uuid4()
    problems = [
        *_problems_of_names(application),
        *(("password", message) for message in _problems_of_password(application)),
    ]
    if application.credentials and application.broker is None:
        problems.append(("broker", "Name the broker that the credentials are for."))
    if problems:
        raise Refused(problems)
    parameters.check(application.risk)
    if application.broker is not None:
        accounts.try_session(client_id, application.broker, application.credentials)
    return client_id


def onboard(client_id: UUID, application: Application, *, now: datetime) -> User:
    """Make the client and its owner, after `prepare`; the owner.

    Raises `Refused` for a name that somebody took meanwhile.
    """
    try:
        with transaction.atomic():
            client = Client.objects.create(id=client_id, name=application.name.strip())
            owner = User.objects.create_user(
                application.username, password=application.password, client=client, role=Role.OWNER
            )
    except IntegrityError:
        raise Refused(_problems_of_names(application) or [("name", "This name is taken.")]) from None
    with transaction.atomic():
        if application.risk:
            parameters.change(client_id, application.risk, by=owner.get_username())
        if application.broker is not None:
            services.connect(client_id, application.broker, application.credentials, now=now)
        told = {"name": client.name, "username": owner.username, "broker": application.broker, "risk": application.risk}
        record("client.onboarded", client_id=client_id, subject=f"client:{client_id}", data=told)
    return owner


def _problems_of_names(application: Application) -> list[tuple[str, str]]:
    name, username = application.name.strip(), application.username
    problems = []
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        problems.append(("name", f"Must be 1 to {LONGEST_NAME} printable characters."))
    elif Client.objects.filter(name__iexact=name).exists():
        problems.append(("name", "This name is taken."))
    if not _USERNAME.fullmatch(username):
        problems.append(("username", "Must be letters, digits and @ . + - _, with a letter or digit at both ends."))
    elif User.objects.filter(username__iexact=username).exists():  # Ann must not be taken for ann
        problems.append(("username", "This name is taken."))
    return problems


def _problems_of_password(application: Application) -> list[str]:
    user = User(username=application.username, first_name=application.name)
    try:
        validate_password(application.password, user)
    except ValidationError as error:
        return [str(message) for message in error.messages]
    return []
