"""Compares all of a client's accounts, each by itself: what goes wrong at one is told, and the others are compared."""

from datetime import datetime
from uuid import UUID

import structlog

from trading.brokers import registry
from trading.brokers.accounts import open_session
from trading.brokers.base import BrokerError
from trading.brokers.models import BrokerAccount
from trading.execution import differences, reconciliation
from trading.execution.looks import STOPPED, Outcome, told
from trading.execution.models import Order, Reconciliation
from trading.execution.outcomes import Hold
from trading.execution.reconciliation import FIRST_LOOK
from trading.execution.states import OrderState

log = structlog.get_logger("quantum.reconciliation")


def venues(client_id: UUID) -> list[str]:
    """The adapters at which the client has an account, or has ever sent an order."""
    have = set(BrokerAccount.objects.filter(client_id=client_id).values_list("broker", flat=True))
    sent = Order.objects.filter(client_id=client_id, sent_at__isnull=False)
    return [name for name in registry.names() if name in have or sent.filter(broker=name).exists()]


def compare(client_id: UUID, broker: str, *, hold: Hold, now: datetime) -> Outcome:
    """Compare the client's account at the venue ``broker``. Must not be called in a transaction.

    Whatever goes wrong there, foreseen or not, is written down with the account and is in the answer.
    """
    try:
        with open_session(client_id, broker) as session:
            return reconciliation.reconcile(client_id, session, hold=hold, now=now)
    except BrokerError as error:  # no session: what can be compared without one is nothing
        log.warning("reconciliation.not_answered", broker=broker, error=str(error))
        return _not_compared(client_id, broker, str(error), hold, now, has_failed=False)
    except STOPPED:
        raise
    except Exception as error:  # whatever it is, it is no other account's
        log.exception("reconciliation.failed", client_id=str(client_id), broker=broker, what="account")
        return _not_compared(client_id, broker, told(error), hold, now, has_failed=True)


def _not_compared(client_id: UUID, broker: str, error: str, hold: Hold, now: datetime, *, has_failed: bool) -> Outcome:
    with hold():
        Reconciliation.objects.update_or_create(
            client_id=client_id,
            broker=broker,
            defaults={"tried_at": now, "error": error[:300]},
            create_defaults={"tried_at": now, "error": error[:300], "fills_since": now - FIRST_LOOK},
        )
    unknown = Order.objects.filter(
        client_id=client_id, broker=broker, state__in=(OrderState.SENT, OrderState.UNKNOWN)
    ).count()
    standing = len(differences.standing(client_id, broker))
    return Outcome(0, standing, 0, unknown, error[:300], has_failed=has_failed)
