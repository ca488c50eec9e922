"""The one review that every order passes, atomic with the reservation of what it may come to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection

from trading.audit.services import record
from trading.risk.limits import Breach, Proposal, modules
from trading.risk.models import Guard, Reservation, RiskAccount
from trading.risk.snapshot import book_at, values_in_force
from trading.risk.state import BookQuery, State, decide, locked
from trading.risk.switches import SENDERS_LOCK

log = structlog.get_logger("quantum.risk")

_REVIEWED: Final = object()


@dataclass(frozen=True)
class ApprovedOrder:
    """An order that has passed its review: what a sender takes, and nothing else. Only `review` makes one."""

    client_id: UUID
    client_order_id: str
    proposal: Proposal
    _seal: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._seal is not _REVIEWED:
            raise TypeError("an order is approved by trading.risk.services.review, not made by hand")


@dataclass(frozen=True)
class Refusal:
    """An order that did not pass: the limit, its value and the order's."""

    limit: str
    breach: Breach


def review(client_id: UUID, client_order_id: str, proposal: Proposal, *, book: BookQuery) -> ApprovedOrder | Refusal:
    """Check ``proposal`` against every limit and reserve its exposure, or say which limit refuses it.

    Must run in a transaction: the client's account is locked first and its ``book`` read then, so that no two reviews
    count on the same room. The caller stores the order in the same transaction. Each answer is recorded.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("a review reserves exposure: call it in the transaction that stores the order")
    state = locked(client_id, book)
    refusal = _switches(state.guard, proposal) or _limits(client_id, proposal, state)
    decide(
        client_id,
        client_order_id,
        proposal,
        refusal.limit if refusal else "",
        refusal.breach if refusal else None,
    )
    if refusal is not None:
        log.warning("risk.refused", limit=refusal.limit, symbol=proposal.symbol, reason=refusal.breach.message)
        told = {"limit": refusal.limit, **asdict(refusal.breach), **asdict(proposal)}
        record("risk.refused", client_id=client_id, subject=f"order:{client_order_id}", data=told)
        return refusal
    return ApprovedOrder(client_id, client_order_id, proposal, _REVIEWED)


def approved(client_id: UUID, client_order_id: str, proposal: Proposal) -> ApprovedOrder | Refusal:
    """The approval of an order that was reviewed before and has not been sent, as its reservation shows."""
    kept = Reservation.objects.filter(
        client_id=client_id,
        client_order_id=client_order_id,
        symbol=proposal.symbol,
        quantity=proposal.signed_quantity,
        price=proposal.price,
    ).first()
    if kept is None:
        return Refusal("reservation", Breach("none", str(proposal), "no exposure is reserved for this order"))
    proposal = replace(proposal, is_autonomous=kept.is_autonomous)
    return _autonomy(proposal) or ApprovedOrder(client_id, client_order_id, proposal, _REVIEWED)


def review_instead(
    client_id: UUID,
    client_order_id: str,
    proposal: Proposal,
    *,
    of: str,
    book: BookQuery,
) -> ApprovedOrder | Refusal:
    """Review an order that is to stand in the place of the order ``of``, which never stands beside it.

    What was reserved for that one makes room here, and stays reserved too until it is known which of the two stands.
    An order that comes to no more, in units and in money, at a price that is no worse for the account, passes whatever
    the limits say; the switches stop it all the same. In a transaction, as `review`.
    """
    state = locked(client_id, book)
    old = Reservation.objects.filter(client_id=client_id, client_order_id=of).first()
    if old is None:
        return Refusal("reservation", Breach("none", str(proposal), f"nothing is reserved for {of}"))
    may_come_to = abs(old.quantity), abs(old.quantity) * old.price
    comes_to = proposal.quantity, proposal.quantity * proposal.price
    is_no_worse = proposal.side.sign * (proposal.price - old.price) <= 0
    if (
        is_no_worse
        and (old.quantity > 0) == (proposal.signed_quantity > 0)
        and all(new <= before for new, before in zip(comes_to, may_come_to, strict=True))
    ):
        proposal = replace(proposal, is_autonomous=proposal.is_autonomous and old.is_autonomous)
        refusal = _switches(state.guard, proposal)
        decide(
            client_id, client_order_id, proposal, *(("", None) if refusal is None else (refusal.limit, refusal.breach))
        )
        return refusal or ApprovedOrder(client_id, client_order_id, proposal, _REVIEWED)
    Reservation.objects.filter(id=old.id).delete()
    answer = review(client_id, client_order_id, proposal, book=book)
    old.save(force_insert=True)
    return answer


def keep(client_order_id: str, quantity: Decimal) -> None:
    """Reserve no more than ``quantity`` units of an order any longer, because no more may come of it; never more."""
    kept = Reservation.objects.filter(client_order_id=client_order_id)
    kept.filter(quantity__gt=quantity).update(quantity=quantity)
    kept.filter(quantity__lt=-quantity).update(quantity=-quantity)


def count(client_id: UUID, client_order_id: str, proposal: Proposal) -> None:
    """Reserve what an order may come to that nobody asks about, as it is at its venue; once, in a transaction."""
    Reservation.objects.get_or_create(
        client_order_id=client_order_id,
        defaults={
            "client_id": client_id,
            "symbol": proposal.symbol,
            "quantity": proposal.signed_quantity,
            "price": proposal.price,
            "multiplier": proposal.multiplier,
            "unit_delta": proposal.unit_delta,
            "is_autonomous": proposal.is_autonomous,
        },
    )


def settle(client_order_id: str) -> None:
    """Free what was reserved for an order whose outcome is known."""
    Reservation.objects.filter(client_order_id=client_order_id).delete()


def stopped() -> Refusal | None:
    """What refuses every order now, whatever it is like."""
    return _switches(Guard.objects.filter(id=1).first())


def _switches(guard: Guard | None, proposal: Proposal | None = None) -> Refusal | None:
    """What refuses whatever an order is like; without a ``proposal``, what refuses them all."""
    order = "any order" if proposal is None else str(proposal)
    if guard is None:
        message = "the guard's state cannot be read; run the migrations"
        return Refusal("guard", Breach("missing", order, message))
    why = guard.reason or "no reason given"
    if guard.halted:
        return Refusal("emergency_halt", Breach("halted", order, f"everything is halted: {why}"))
    if guard.kills:
        return Refusal("kill_switch", Breach("on", order, f"the kill switch is on: {why}"))
    return None if proposal is None else _autonomy(proposal)


def _autonomy(proposal: Proposal) -> Refusal | None:
    if settings.AUTONOMOUS_ENABLED or not proposal.is_autonomous:
        return None
    message = "no person has approved the order, and AUTONOMOUS_ENABLED is false"
    return Refusal("AUTONOMOUS_ENABLED", Breach("false", str(proposal), message))


def _limits(client_id: UUID, proposal: Proposal, state: State) -> Refusal | None:
    """The first of the limits that refuses; what cannot be read refuses too."""
    try:
        values = values_in_force(state.in_force())
        book = book_at(state, proposal)
    except DatabaseError:
        raise
    except Exception as error:  # whatever is wrong with it, without the state there is no order
        log.exception("risk.state_unreadable")
        message = f"what the limits are checked against cannot be read: {error}"
        return Refusal("state", Breach("unreadable", str(proposal), message))
    limits = modules()
    for name in settings.RISK_LIMITS:
        limit = limits.get(name)
        if limit is None:
            message = "the limit is configured but has no module in trading/risk/limits"
            return Refusal(name, Breach("no module", str(proposal), message))
        try:
            given = [values[setting] if setting in values else getattr(settings, setting) for setting in limit.settings]
            if limit.trips is not None and state.tripped_at is None and limit.trips(book, *given):
                book = replace(book, tripped_at=state.now)
                RiskAccount.objects.filter(client_id=client_id).update(tripped_at=state.now)
            breach = limit.check(proposal, book, *given)
        except DatabaseError:
            raise
        except Exception as error:  # a limit that cannot be checked refuses
            log.exception("risk.limit_failed", limit=name)
            breach = Breach("unknown", str(proposal), f"the limit could not be checked: {error}")
        if breach is not None:
            return Refusal(name, breach)
    return None


class Sending:
    """One stay under the senders' lock. ``refusal``: why nothing may be sent now."""

    def __init__(self) -> None:
        self._session = connection.connection
        self.refusal = stopped()

    def leaves(self, client_order_id: str, send_by: datetime) -> None:
        """Note that an order goes out, and that nobody begins to send it after ``send_by``.

        In the transaction that commits it. Should this session end afterwards, and the lock with it, a halt waits for
        that moment. Raises `OperationalError` where the session has ended before and this is another.
        """
        if connection.connection is not self._session:
            raise OperationalError("the session that held the senders' lock has ended; nothing was sent")
        Reservation.objects.filter(client_order_id=client_order_id).update(send_by=send_by)


def answered(client_order_id: str) -> None:
    """Note that the sending of an order is over: its venue has answered, or it was not asked."""
    Reservation.objects.filter(client_order_id=client_order_id, send_by__isnull=False).update(send_by=None)


@contextmanager
def sending() -> Iterator[Sending]:
    """Around the sending of an order, until what the venue said is written down.

    A halt that has returned has waited for all who were inside and lets nobody in, so that no order leaves after it.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_advisory_lock_shared(%s)", [SENDERS_LOCK])
            yield Sending()
        finally:
            cursor.execute("SELECT pg_advisory_unlock_shared(%s)", [SENDERS_LOCK])
