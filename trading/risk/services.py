"""The one review that every order passes, atomic with the reservation of what it may come to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction

from trading.audit.models import SWITCHES
from trading.audit.services import record, record_for_clients
from trading.risk.limits import Book, Breach, Proposal, modules
from trading.risk.models import Guard, Reservation, RiskAccount, RiskDecision
from trading.tenants import parameters

log = structlog.get_logger("quantum.risk")

_SENDERS_LOCK: Final = 0x5154_5249_534B  # "QTRISK": senders hold it shared, a halt takes it alone
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


def review(
    client_id: UUID, client_order_id: str, proposal: Proposal, *, read_book: Callable[[], Book]
) -> ApprovedOrder | Refusal:
    """Check ``proposal`` against every limit and reserve its exposure, or say which limit refuses it.

    Must run in a transaction: the client's row is locked first and ``read_book`` called then, so that no two reviews
    count on the same room. The caller stores the order in the same transaction. Each answer is recorded.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("a review reserves exposure: call it in the transaction that stores the order")
    RiskAccount.objects.get_or_create(client_id=client_id)
    RiskAccount.objects.select_for_update().get(client_id=client_id)
    # Reservations before fills: an order that is filled between the two reads counts twice, never not at all.
    reserved = _reserved(client_id)
    refusal = _switches() or _limits(client_id, proposal, _with_reservations(read_book(), reserved))
    RiskDecision.objects.create(
        client_id=client_id,
        client_order_id=client_order_id,
        symbol=proposal.symbol,
        side=proposal.side,
        quantity=proposal.quantity,
        price=proposal.price,
        approved=refusal is None,
        limit=refusal.limit if refusal else "",
        limit_value=refusal.breach.limit_value[:64] if refusal else "",
        order_value=refusal.breach.order_value[:64] if refusal else "",
        message=refusal.breach.message[:300] if refusal else "",
    )
    if refusal is not None:
        log.warning("risk.refused", limit=refusal.limit, symbol=proposal.symbol, reason=refusal.breach.message)
        told = {"limit": refusal.limit, **asdict(refusal.breach), **asdict(proposal)}
        record("risk.refused", client_id=client_id, subject=f"order:{client_order_id}", data=told)
        return refusal
    Reservation.objects.create(
        client_id=client_id,
        client_order_id=client_order_id,
        symbol=proposal.symbol,
        quantity=proposal.signed_quantity,
        price=proposal.price,
    )
    return ApprovedOrder(client_id, client_order_id, proposal, _REVIEWED)


def approved(client_id: UUID, client_order_id: str, proposal: Proposal) -> ApprovedOrder | Refusal:
    """The approval of an order that was reviewed before and has not been sent, as its reservation shows."""
    if Reservation.objects.filter(
        client_id=client_id,
        client_order_id=client_order_id,
        symbol=proposal.symbol,
        quantity=proposal.signed_quantity,
        price=proposal.price,
    ).exists():
        return ApprovedOrder(client_id, client_order_id, proposal, _REVIEWED)
    return Refusal("reservation", Breach("", client_order_id, "no exposure is reserved for this order"))


def settle(client_order_id: str) -> None:
    """Free what was reserved for an order whose outcome is known."""
    Reservation.objects.filter(client_order_id=client_order_id).delete()


def _switches() -> Refusal | None:
    guard = Guard.objects.filter(id=1).first()
    if guard is None:
        return Refusal("guard", Breach("", "", "the guard's state cannot be read; run the migrations"))
    if guard.halted:
        return Refusal(
            "emergency_halt", Breach("halted", "", f"everything is halted: {guard.reason or 'no reason given'}")
        )
    if guard.kill_switch:
        return Refusal("kill_switch", Breach("on", "", f"the kill switch is on: {guard.reason or 'no reason given'}"))
    return None


def _limits(client_id: UUID, proposal: Proposal, book: Book) -> Refusal | None:
    book = replace(book, prices={**book.prices, proposal.symbol: proposal.price})
    checks = modules()
    values = parameters.in_force(client_id).values
    for name in settings.RISK_LIMITS:
        check = checks.get(name)
        if check is None:
            return Refusal(name, Breach("", "", "the limit is configured but has no module in trading/risk/limits"))
        try:
            breach = check(proposal, book, Decimal(values[name] if name in values else getattr(settings, name)))
        except DatabaseError:
            raise
        except Exception as error:  # a limit that cannot be checked refuses
            log.exception("risk.limit_failed", limit=name)
            breach = Breach("", "", f"the limit could not be checked: {error}")
        if breach is not None:
            return Refusal(name, breach)
    return None


def _reserved(client_id: UUID) -> list[Reservation]:
    return list(Reservation.objects.filter(client_id=client_id).order_by("created_at"))


def _with_reservations(book: Book, reserved: Sequence[Reservation]) -> Book:
    buys: dict[str, Decimal] = {}
    sells: dict[str, Decimal] = {}
    for row in reserved:
        way = buys if row.quantity > 0 else sells
        way[row.symbol] = way.get(row.symbol, Decimal(0)) + row.quantity
    prices = {row.symbol: row.price for row in reserved}
    return replace(book, reserved_buys=buys, reserved_sells=sells, prices={**prices, **book.prices})


@contextmanager
def sending() -> Iterator[Refusal | None]:
    """Around the sending of an order: a refusal when that is not allowed now.

    A halt that has returned has waited for all who were inside and lets nobody in, so that no order leaves after it.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_advisory_lock_shared(%s)", [_SENDERS_LOCK])
            yield _switches()
        finally:
            cursor.execute("SELECT pg_advisory_unlock_shared(%s)", [_SENDERS_LOCK])


class StillSending(RuntimeError):
    """The switch is set and nothing more is sent, but an order that was being sent then is not answered yet."""


def set_switches(
    *,
    kill_switch: bool | None = None,
    halted: bool | None = None,
    reason: str = "",
    by: str = "",
    patience: timedelta = timedelta(seconds=20),
) -> Guard:
    """Turn the kill switch or the halt on or off; when it returns, no order that was under way leaves any more.

    The switch holds from the first moment, for it is committed before the wait for those who are sending. Raises
    `StillSending` when that lasts longer than ``patience``. Must not be called inside a transaction.
    """
    turned = {"kill_switch": kill_switch, "halt": halted}
    actions = [f"{name}.{'enabled' if on else 'lifted'}" for name, on in turned.items() if on is not None]
    told = {"reason": reason, "by": by}
    with transaction.atomic(durable=True):
        guard = Guard.objects.select_for_update().get(id=1)
        guard.kill_switch = guard.kill_switch if kill_switch is None else kill_switch
        guard.halted = guard.halted if halted is None else halted
        guard.reason, guard.changed_by = reason[:200], by[:200]
        guard.save()
        for action in actions:
            record(action, chain=SWITCHES, subject="guard:1", data=told)
    for action in actions:
        record_for_clients(action, subject="guard:1", data=told)
    if kill_switch or halted:
        _wait_for_senders(patience)
    return guard


def _wait_for_senders(patience: timedelta) -> None:
    milliseconds = str(int(patience.total_seconds() * 1000))
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)",
                [milliseconds],
            )
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SENDERS_LOCK])
    except OperationalError as error:
        raise StillSending(
            f"The switch is on and nothing more is sent. An order that was already being sent is not answered after"
            f" {patience.total_seconds():g} s; look at the orders that are sent or unknown. ({error})"
        ) from error
