"""Accounts at the paper venue."""

from decimal import Decimal
from uuid import UUID

from trading.brokers.models import PaperAccount


def open_paper_account(client_id: UUID, *, cash: Decimal, currency: str = "USD") -> PaperAccount:
    """The client's paper account; a new one begins with ``cash``, one that exists stays as it is."""
    account, _ = PaperAccount.objects.get_or_create(client_id=client_id, defaults={"cash": cash, "currency": currency})
    return account
