"""What a drill's processes do: send an execution's orders and die, find out what became of them, hold a login."""

import asyncio
import os
import threading
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import connections
from django.db.models import F
from kombu import pools

from tests.faults.orders import sabotage
from tests.faults.orders.processes import Tell
from tests.faults.orders.steps import Point, Steps, watch
from trading.brokers import accounts
from trading.brokers.adapters.ibkr import channel
from trading.core.ids import uuid7
from trading.core.scope import platform_scope
from trading.execution.models import Order
from trading.execution.states import OrderState
from trading.jobs import ledger, runner, services
from trading.jobs.models import JobRun
from trading.jobs.states import FINAL, State
from trading.tenants.models import Client
from workers.celery import app

CYCLE = "execution-cycle"
COMPARISON = "order-reconcile"
FIRST_STEP = "risk"
"""Of the cycle, where orders are reviewed and intended: from there on a sender's steps are counted."""


PAST = (
    {"sent_at": F("sent_at") - timedelta(minutes=2)},
    {"missed_at": F("missed_at") - timedelta(seconds=10)},
)
"""What time would do to an order that the venue does not have, between one question and the next."""
UNSURE = (OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN)
"""Of such an order it is not known what became of it."""


def start_afresh(without: str | None) -> None:
    """Take nothing of the parent's into this process: its connections are its own, and the code may be broken."""
    for connection in connections.all(initialized_only=True):
        connection.connection = None
    channel.client.cache_clear()
    pools.reset()
    app._pool = app.amqp._producer_pool = None  # type: ignore[attr-defined]  # lacking in the stubs
    if without:
        sabotage.KNOWN[without]()


def migrate(tell: Tell) -> None:
    """Make the tables."""
    with platform_scope():
        call_command("migrate", verbosity=0)


def send(
    tell: Tell,
    *,
    broker: str,
    credentials: Mapping[str, Any],
    client_id: UUID | None,
    places: Mapping[int, str],
    fatal: Point | None,
    without: str | None = None,
    watched: bool = True,
) -> None:
    """Run an execution cycle of a client, a new one if none is given, as a worker does; die at ``fatal``."""
    start_afresh(without)
    steps = Steps(lambda point: tell(point=point), fatal)
    with platform_scope():
        client = client_id or uuid7()
        if client_id is None:
            Client.objects.create(id=client, name=f"Drill {client}")
            connect(client, broker, credentials)
        run = services.enqueue(CYCLE, client_id=client).run
    tell(client=client, run=run.id)
    if watched:
        watch(steps, places)
    state: State | None = State.QUEUED
    while state is State.QUEUED:
        with platform_scope():
            steps.on = steps.on or JobRun.objects.get(id=run.id).step == FIRST_STEP
        state = runner.execute(run.id, worker=f"drill/{os.getpid()}", code_version="drill")
    tell(state=state)


def warm_up(*, broker: str, credentials: Mapping[str, Any], client_id: UUID | None) -> None:
    """An execution and a comparison in the drill's own process, which keeps nothing open after them."""
    told: dict[str, Any] = {}
    send(told.update, broker=broker, credentials=credentials, client_id=client_id, places={}, fatal=None, watched=False)
    recover(told.update, run_id=told["run"])
    connections.close_all()
    channel.client().close()
    start_afresh(None)
    if told["state"] != State.SUCCEEDED:
        raise RuntimeError(f"an execution failed by itself: {told}")
    if threading.active_count() > 1:
        raise RuntimeError(f"a process with threads is not to be forked: {threading.enumerate()}")


def connect(client_id: UUID, broker: str, credentials: Mapping[str, Any]) -> None:
    """Give a client an account at a venue."""
    accounts.store(client_id, broker, credentials, now=ledger.database_now())


def recover(
    tell: Tell,
    *,
    run_id: UUID,
    places: Mapping[int, str] | None = None,
    fatal: Point | None = None,
    without: str | None = None,
    settle_after: float | None = None,
) -> None:
    """What production does after a death: the run is put back and finished, then the account is compared.

    Leases and delays are over by now: the drill has moved them into the past. So is the venue's booking horizon where
    ``settle_after`` is given, the seconds until what is under way has arrived. Dies at ``fatal``.
    """
    start_afresh(without)
    steps = Steps(lambda point: tell(point=point), fatal, on=True)
    if places is not None:
        watch(steps, places)
    with platform_scope():
        services.rescue()
        finish(run_id)
        run = JobRun.objects.get(id=run_id)
        assert run.client_id is not None
        compare(run.client_id)
        unsure = Order.objects.filter(run_id=run_id, state__in=UNSURE)
        if settle_after is not None and unsure.exists():
            time.sleep(settle_after)
            for past in PAST:
                unsure.update(**past)
                compare(run.client_id)
        tell(state=run.state, error=run.error_message, unsure=unsure.count())


def compare(client_id: UUID) -> None:
    """Compare a client's accounts once, though the job would do so again soon."""
    run = services.enqueue(COMPARISON, client_id=client_id).run
    finish(run.id, until=(*FINAL, State.SNOOZED))


def finish(run_id: UUID, tries: int = 12, until: Collection[str] = FINAL) -> None:
    """Execute a run to its end, without the delays between its attempts."""
    for number in range(tries):
        run = JobRun.objects.get(id=run_id)
        if run.state in until and (number or run.state in FINAL):
            return
        JobRun.objects.filter(id=run_id).exclude(state=State.RUNNING).update(scheduled_at=ledger.database_now())
        if run.client_id is not None:
            services.admit(run.client_id, run.queue)
        runner.execute(run_id, worker=f"drill/{os.getpid()}", code_version="drill")


def hold_login(
    tell: Tell, *, client_id: UUID, credentials: Mapping[str, Any], places: Mapping[int, str], fatal: Point | None,
    without: str | None = None,
) -> None:  # fmt: skip
    """Hold a login at Interactive Brokers, as ``python -m workers.login`` does; die at ``fatal``.

    Its steps count while it places an order.
    """
    start_afresh(without)
    # The library takes the loop of the process that imports it: not the drill's own.
    from trading.brokers.adapters.ibkr.login import IbkrCredentials, key_of
    from trading.brokers.adapters.ibkr.process import Holder

    steps = Steps(lambda point: tell(point=point), fatal, is_wanted=_is_of_an_order)
    do = Holder._do

    async def noting_do(self: Holder, message: bytes | str) -> None:
        is_place = channel.read_request(message).operation == "place"
        if is_place:
            steps.begin()
        await do(self, message)
        steps.on = steps.on and not is_place

    Holder._do = noting_do  # type: ignore[method-assign]
    watch(steps, places)
    opened = IbkrCredentials.model_validate(credentials)
    loop = asyncio.get_event_loop_policy().get_event_loop()
    holder = Holder(key_of(client_id, opened), client_id, opened, os.getppid())
    tell(holding=holder.login)
    loop.run_until_complete(holder.run())


def _is_of_an_order(step: str) -> bool:
    """Not what a login's process does all the time beside: keep its place, listen, keep its connection alive."""
    return not step.endswith(("redis SET", "redis BLPOP", "redis HGET", "redis GET", "ibkr_logins"))
