"""The switches that refuse every order: the emergency halt and the kill switch, and the reset of what has been counted.

A halt that has returned has waited for everybody who was sending, and lets nobody in (`trading.risk.services.sending`).
"""

import time
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from trading.audit.models import SWITCHES
from trading.audit.services import record, record_for_clients
from trading.jobs import services as jobs
from trading.risk.models import Guard, Halt, Reservation, RiskAccount

SENDERS_LOCK: Final = 0x5154_5249_534B
"""An advisory lock, "QTRISK": senders hold it shared, a switch that refuses takes it alone."""
PATIENCE: Final = timedelta(seconds=20)
CLOCKS_AGREE: Final = timedelta(seconds=2)
"""So far the clocks of hosts that send orders may be from the database's, at most."""
CANCEL_JOB: Final = "emergency-cancel"


class Keep(Enum):
    """A switch that is left as it is."""

    KEEP = "keep"


class StillSending(RuntimeError):
    """The switch is set and nothing more is sent, but an order that was being sent then is not answered yet."""


def set_switches(
    *,
    kill_switch: bool | Keep | None = Keep.KEEP,
    halted: bool | Keep = Keep.KEEP,
    reason: str = "",
    by: str = "",
    patience: timedelta = PATIENCE,
) -> Guard:
    """Turn the kill switch or the halt; when it returns, no order that was under way leaves any more.

    ``kill_switch`` is an operator's override, None what `QT_KILL_SWITCH` says. A halt also has the open orders of all
    clients cancelled, by a run of `CANCEL_JOB` that is enqueued with it; halting again has those tried again that are
    still open. The switch holds from the first moment, for it is committed before the wait for those who are sending.
    Raises `StillSending` when that lasts longer than ``patience``. Must not be called inside a transaction.
    """
    told = {"reason": reason, "by": by}
    actions: list[str] = []

    def turn(guard: Guard) -> None:
        if not isinstance(kill_switch, Keep):
            guard.kill_switch = kill_switch
            actions.append("kill_switch.returned" if kill_switch is None else f"kill_switch.{_past(kill_switch)}")
        if not isinstance(halted, Keep):
            guard.halted = halted
            actions.append(f"halt.{_past(halted)}")
            _begin_halt(reason, by) if halted else _end_halt(by)
        guard.reason, guard.changed_by = reason[:200], by[:200]

    guard = _change(turn, actions, told)
    if guard.halted or guard.kills:
        _wait_for_senders(patience)
    if halted is True:
        Halt.objects.filter(lifted_at=None, settled_at=None).update(settled_at=Now())
    return guard


def reset(*, by: str = "", patience: timedelta = PATIENCE) -> Guard:
    """Count trades from now on, close every circuit breaker, and give the kill switch back to the environment.

    The emergency halt stays as it is: it is lifted by itself. Must not be called inside a transaction.
    """

    def forget(guard: Guard) -> None:
        guard.trades_since = timezone.now()
        guard.kill_switch = None
        RiskAccount.objects.exclude(tripped_at=None).update(tripped_at=None)

    guard = _change(forget, ["risk.reset"], {"by": by})
    if guard.kills:
        _wait_for_senders(patience)
    return guard


def close_breaker(client_id: UUID, *, by: str) -> None:
    """Let one client, whose circuit breaker has opened, open positions again: its losses count from now on."""
    with transaction.atomic():
        account = RiskAccount.objects.select_for_update().get(client_id=client_id)
        account.tripped_at, account.trades_since = None, timezone.now()
        account.save()
        record("breaker.closed", client_id=client_id, subject=f"client:{client_id}", data={"by": by})


def _past(on: bool) -> str:
    return "enabled" if on else "lifted"


def _change(change: Callable[[Guard], None], actions: list[str], told: dict[str, Any]) -> Guard:
    """Change the guard, with an entry in the switches' own chain, and then in every client's."""
    with transaction.atomic(durable=True):
        guard, _ = Guard.objects.select_for_update().get_or_create(id=1)
        change(guard)
        guard.save()
        for action in actions:
            record(action, chain=SWITCHES, subject="guard:1", data=told)
    for action in actions:
        record_for_clients(action, subject="guard:1", data=told)
    return guard


def _begin_halt(reason: str, by: str) -> None:
    halt = Halt.objects.filter(lifted_at=None).first()
    if halt is None:
        halt = Halt.objects.create(reason=reason[:200], by=by[:200])
    run = jobs.enqueue(CANCEL_JOB, {"halt_id": str(halt.id)}, triggered_by=by).run
    jobs.hasten(run.id)  # who halts again wants what is still open tried again now
    halt.run_id, halt.settled_at = run.id, None
    halt.save()


def _end_halt(by: str) -> None:
    Halt.objects.filter(lifted_at=None).update(lifted_at=Now(), lifted_by=by[:200])


def _wait_for_senders(patience: timedelta) -> None:
    """Wait for those who hold the lock, then for those who have lost it with their session and may not know it yet."""
    deadline = time.monotonic() + patience.total_seconds()
    milliseconds = str(int(patience.total_seconds() * 1000))
    problem: Exception | None = None
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)",
                [milliseconds],
            )
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SENDERS_LOCK])
        while Reservation.objects.filter(send_by__gt=Now() - CLOCKS_AGREE).exists():
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
    except OperationalError as error:
        problem = error
    why = problem or "its sender's session has ended"
    raise StillSending(
        f"The switch is on and nothing more is sent. An order that was already being sent is not answered after"
        f" {patience.total_seconds():g} s; look at the orders that are sent or unknown. ({why})"
    ) from problem
