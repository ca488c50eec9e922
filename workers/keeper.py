"""The keeper: a thread in each worker's main process that looks after what the worker holds and what the bell owes.

Every second it lengthens the leases of the runs whose processes live, gives up those whose processes have died, stops
steps that were cancelled or are past their time, and sends the messages that are due or were lost. It puts back what
other workers left, reports the worker, and ends it when it no longer takes messages, so that its supervisor starts a
new one. Each duty is one statement that any number of keepers may issue at the same time.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import redis
import structlog
from celery import bootsteps, signals
from celery.worker import state
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from trading.core.scope import platform_scope
from trading.core.version import code_version
from trading.jobs import bell, interrupts, processes, services, upkeep
from workers.tasks import INSTANCE

log = structlog.get_logger("quantum.keeper")

TICK_SECONDS = 1.0
RESCUE_SECONDS = 2.0
REPORT_SECONDS = 5.0
STALLED_SECONDS = 15.0
LOOKED_AWAY_SECONDS = 5.0
RELEASE_SECONDS = 3.0
LOST_MESSAGE_AGE = timedelta(seconds=10)
"""A message is looked for again when it was sent this long ago and the broker holds fewer than were sent."""


class Keeper(bootsteps.StartStopStep):
    """Starts the thread with the worker. It ends with the process: a draining worker still needs it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self._worker = worker
        self._redis = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3)
        self._draining_since: float | None = None
        self._last_taken = (0, time.monotonic())
        self._looked_at = 0.0
        self._due: dict[str, float] = {}
        self._worker_queues: list[str] = []

    def start(self, worker: Any) -> None:
        """Begin."""
        self._worker_queues = sorted(worker.app.amqp.queues.consume_from)
        signals.worker_shutting_down.connect(self._begin_drain, weak=False)
        signals.worker_shutdown.connect(self._leave, weak=False)
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def _begin_drain(self, **_: Any) -> None:
        self._draining_since = time.monotonic()

    @platform_scope()
    def _leave(self, **_: Any) -> None:
        """Give back what the ended processes still held, and say that this worker is gone."""
        try:
            services.release(worker=INSTANCE)
            processes.leave(INSTANCE)
        except (OperationalError, InterfaceError):
            return  # the database is away: the leases run out, the row goes stale and is swept

    @platform_scope()
    def _run(self) -> None:
        while True:
            began = time.monotonic()
            self._guarded(self._tick)
            self._guarded(self._drain_if_late)
            self._touch_heartbeat()
            time.sleep(max(TICK_SECONDS - (time.monotonic() - began), 0.1))

    def _guarded(self, duty: Callable[[], None]) -> None:
        """``duty``, with the database or the broker allowed to be away: it is tried again at the next tick."""
        try:
            duty()
        except (OperationalError, InterfaceError) as error:
            log.warning("keeper.database_away", error=str(error).strip())
            connection.close()
        except redis.RedisError as error:
            log.warning("keeper.broker_away", error=str(error))
        except Exception:  # a keeper that ends would leave its worker's runs without leases
            log.exception("keeper.duty_failed")
            connection.close()

    def _tick(self) -> None:
        held = self._tend()
        if self._is_time("rescue", RESCUE_SECONDS):
            rescued = services.rescue()
            if rescued:
                log.warning("keeper.rescued", runs=[str(run_id) for run_id in rescued])
        services.admit_due()
        if self._is_time("report", REPORT_SECONDS):
            self._report()
        waiting = self._ring_what_was_lost()
        self._exit_if_stalled(waiting, held)

    def _is_time(self, duty: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(duty, 0.0):
            return False
        self._due[duty] = now + every
        return True

    def _pids(self) -> list[int]:
        pool = self._worker.pool._pool  # billiard's; gone once the worker has stopped
        return [] if pool is None else [process.pid for process in pool._pool if _is_living(process.pid)]

    def _tend(self) -> int:
        """Lengthen the leases, and stop what is to stop; how many runs this worker's processes hold."""
        runs = upkeep.tend(worker=INSTANCE, pids=self._pids())
        for held in runs:
            if not held.stop:
                continue
            number = signal.SIGKILL if held.kill else interrupts.SIGNAL
            log.info("keeper.stops_step", run_id=str(held.run_id), signal=signal.Signals(number).name)
            try:
                os.kill(held.pid, number)
            except ProcessLookupError:
                continue  # it has ended meanwhile; the next tick gives the run up
        return len(runs)

    def _ring_what_was_lost(self) -> int:
        """Send again what the broker has lost; how many messages wait in this worker's queues."""
        waiting = 0
        for queue in self._worker_queues:
            messages = int(self._redis.llen(queue))
            waiting += messages
            lost = upkeep.unheard(queue, sent_before=LOST_MESSAGE_AGE, messages_waiting=messages)
            if lost:
                log.warning("keeper.rings_again", queue=queue, runs=len(lost))
                bell.ring(lost)
        return waiting

    def _exit_if_stalled(self, waiting: int, held: int) -> None:
        """End a worker that lets messages lie although it has room: it is stuck, and cannot know.

        What it has room for, the ledger says: after a lost connection or child Celery may count requests that nobody
        works at. The messages may lie in the broker or, taken and not handed to a process, in this worker.
        """
        taken = sum(state.total_count.values())
        now = time.monotonic()
        if now - self._looked_at > LOOKED_AWAY_SECONDS:  # the database or the broker was away: it could not take any
            self._last_taken = (taken, now)
        self._looked_at = now
        waiting += max(len(state.reserved_requests) - len(state.active_requests), 0)
        has_room = held < self._worker.concurrency
        if waiting == 0 or not has_room or taken != self._last_taken[0] or self._draining_since is not None:
            self._last_taken = (taken, now)
        elif now - self._last_taken[1] > STALLED_SECONDS:
            self._exit(f"it has taken no message for {STALLED_SECONDS:g} s although some wait", status=1)

    def _drain_if_late(self) -> None:
        if self._draining_since is not None and time.monotonic() - self._draining_since > settings.QT_DRAIN_SECONDS:
            self._exit("its steps did not end in the time to drain", status=0)

    def _exit(self, reason: str, *, status: int) -> None:
        """Give the runs back, without a cost in attempts, and end; the children die with their parent."""
        log.error("keeper.ends_worker", reason=reason)
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Not at once: the server takes a moment to notice that a process died in a transaction, and holds its rows.
        until = time.monotonic() + RELEASE_SECONDS
        while time.monotonic() < until and self._holds_runs():
            time.sleep(0.2)
        self._leave()
        os._exit(status)

    def _holds_runs(self) -> bool:
        """Give back what can be; whether something is left that cannot yet."""
        try:
            services.release(worker=INSTANCE)
            return upkeep.holds_runs(worker=INSTANCE)
        except (OperationalError, InterfaceError):
            connection.close()
            return True

    def _report(self) -> None:
        processes.report(
            INSTANCE,
            kind="worker",
            queues=self._worker_queues,
            concurrency=self._worker.concurrency,
            running=len(state.active_requests),
            code_version=code_version(),
        )

    def _touch_heartbeat(self) -> None:
        if settings.QT_HEARTBEAT_FILE:
            Path(settings.QT_HEARTBEAT_FILE).touch()


def _is_living(pid: int) -> bool:
    """Whether a child runs still: the pool itself looks for the dead only every five seconds."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
