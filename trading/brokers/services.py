"""Accounts at venues, with a record of who handed credentials over or took them back; accounts at the paper venue."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from trading.audit.services import record
from trading.brokers import accounts
from trading.brokers.models import BrokerAccount, PaperAccount


def connect(client_id: UUID, broker: str, payload: Mapping[str, Any], *, now: datetime) -> BrokerAccount:
    """Keep credentials that `accounts.try_session` has tried. In the caller's transaction."""
    account = accounts.store(client_id, broker, payload, now=now)
    record("broker.connected", client_id=client_id, subject=f"broker:{broker}", data={"key": account.key})
    return account


def disconnect(client_id: UUID, broker: str) -> bool:
    """Delete what opens the client's account there; whether there was any. In the caller's transaction."""
    gone, _ = BrokerAccount.objects.filter(client_id=client_id, broker=broker).delete()
    if gone:
        record("broker.disconnected", client_id=client_id, subject=f"broker:{broker}")
    return bool(gone)


def open_paper_account(client_id: UUID, *, cash: Decimal, currency: str = "USD") -> PaperAccount:
    """The client's paper account; a new one begins with ``cash``, one that exists stays as it is."""
    account, _ = PaperAccount.objects.get_or_create(client_id=client_id, defaults={"cash": cash, "currency": currency})
    return account
