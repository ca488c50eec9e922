"""Clients' accounts at venues: credentials are checked, tried, sealed, and opened again for a session alone."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import pydantic
import structlog
from django.db import connection, transaction

from trading.brokers import registry
from trading.brokers.base import Adapter, Broker, BrokerError, BrokerRefused, Credentials, Enrols
from trading.brokers.models import AccountStatus, BrokerAccount
from trading.core import redaction, sealed
from trading.core.encryption import CannotOpen

log = structlog.get_logger("quantum.brokers")

SEALED = "credentials"


class InvalidCredentials(ValueError):
    """A payload that is not what the venue asks for. ``problems`` are pairs of a place in it and a sentence."""

    def __init__(self, problems: list[tuple[list[str | int], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {message}" for place, message in problems))
        self.problems = problems


def check(broker: str, payload: Mapping[str, Any]) -> Credentials:
    """``payload`` as the adapter's model; raises `registry.UnknownBroker` or `InvalidCredentials`, which shows none."""
    return _validated(registry.adapter(broker), payload)


def try_session(client_id: UUID, broker: str, payload: Mapping[str, Any]) -> None:
    """Open a session with ``payload`` and ask the venue for the balances, so that wrong credentials show.

    Raises as `check` does, and `BrokerError` with no secret in it. Must not be called in a transaction.
    """
    if connection.in_atomic_block:
        raise RuntimeError("a venue is asked outside transactions: it may take long")
    adapter = registry.adapter(broker)
    credentials = _validated(adapter, payload)
    if isinstance(adapter, Enrols):
        return  # a venue of our own, in this database: it has nobody to turn away
    if registry.stand_in(broker) != broker:  # no real venue is called
        return
    try:
        with adapter.open(client_id, credentials) as session:
            session.balances()
    except BrokerError as error:
        _hide_secrets(error)
        raise


def store(client_id: UUID, broker: str, payload: Mapping[str, Any], *, now: datetime) -> BrokerAccount:
    """Keep ``payload`` sealed, in place of what was there: after `try_session`, in the caller's transaction."""
    check(broker, payload)
    adapter = registry.adapter(broker)
    if isinstance(adapter, Enrols):
        adapter.enrol(client_id)
    account = BrokerAccount(client_id=client_id, broker=broker)
    if payload:
        sealed.put(account, SEALED, json.dumps(payload, separators=(",", ":")).encode())
    row, _ = BrokerAccount.objects.update_or_create(
        client_id=client_id,
        broker=broker,
        defaults={
            "credentials": account.credentials,
            "status": AccountStatus.CONNECTED,
            "connected_at": now,
            "tested_at": now,
            "last_error": "",
        },
    )
    return row


def open_session(client_id: UUID, broker: str) -> Broker:
    """A session with the client's stored credentials, or with the mock venue in its stead; close it after use.

    Raises `registry.UnknownBroker`, or `BrokerError`: `BrokerRefused` with ``no_credentials`` where none are stored,
    ``credentials_locked`` where they do not open under the keys of ``ENCRYPTION_KEY``.
    """
    broker = registry.stand_in(broker)
    adapter = registry.adapter(broker)
    account = BrokerAccount.objects.filter(client_id=client_id, broker=broker).first()
    if account is None or not account.credentials:
        return registry.open_session(broker, client_id)
    try:
        credentials = _validated(adapter, json.loads(sealed.take(account, SEALED)))
    except (CannotOpen, InvalidCredentials) as error:
        log.error("broker.credentials_locked", broker=broker, client_id=str(client_id), reason=str(error))
        message = (
            "The stored credentials cannot be used. Connect the broker again, or ask an operator to run the doctor."
        )
        raise BrokerRefused(message, broker=broker, operation="session", code="credentials_locked") from None
    try:
        return adapter.open(client_id, credentials)
    except BrokerError as error:
        _hide_secrets(error)
        raise


def retest(account: BrokerAccount, *, now: datetime) -> BrokerAccount:
    """Try a session with the stored credentials and write down how it went. Must not be called in a transaction."""
    if connection.in_atomic_block:
        raise RuntimeError("a venue is asked outside transactions: it may take long")
    status, message = AccountStatus.CONNECTED, ""
    try:
        with open_session(account.client_id, account.broker) as session:
            session.balances()
    except BrokerError as error:
        _hide_secrets(error)
        status, message = AccountStatus.FAILED, str(error)[:300]
    with transaction.atomic():
        # Not where the credentials were changed meanwhile: this answer is about the old ones.
        BrokerAccount.objects.filter(id=account.id, credentials=account.credentials).update(
            status=status, tested_at=now, last_error=message
        )
    account.refresh_from_db()
    return account


def _validated(adapter: Adapter, payload: Mapping[str, Any]) -> Credentials:
    try:
        credentials = adapter.credentials.model_validate(dict(payload))
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidCredentials([(list(item["loc"]), item["msg"]) for item in found]) from None
    redaction.know(_secrets(credentials))
    return credentials


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, pydantic.SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, pydantic.BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)


def _hide_secrets(error: BrokerError) -> None:
    """Take secrets out of an error that an adapter made, perhaps of what the venue said."""
    error.args = tuple(_hidden(argument) for argument in error.args)
    error.context = error.extra["context"] = _hidden(error.context)


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return redaction.blot(value)
    if isinstance(value, Mapping):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    return value
