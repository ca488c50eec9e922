"""The course of one drill: which runs are enqueued and which faults strike when, all drawn from the seed."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import redis
from django.conf import settings
from django.db import connection

from runtime.folder import DataFolder
from tests.faults import verdict
from tests.faults.stack import Member, Stack, patiently, rows
from trading.jobs import services
from trading.jobs.models import JobQueue
from trading.jobs.services import WrongState
from trading.tenants.models import Client
from workers.jobs import discover

WORKERS = ("worker-1", "worker-2", "bulk")
STOPPED_SECONDS = 26.0
"""Longer than a lease and the look of the next rescue."""
MIX = (
    ("drill-effect", 30),
    ("drill-bulk", 10),
    ("drill-order", 15),
    ("drill-chain", 20),
    ("drill-client", 12),
    ("drill-patient", 3),
    ("drill-fan", 2),
    ("drill-refused", 2),
    ("drill-flaky", 3),
    ("drill-nap", 2),
    ("drill-poison", 1),
)
CLIENT_CONCURRENCY = 2


@dataclass(order=True)
class Event:
    """Something that happens at a moment of the drill, in seconds from its start."""

    at: float
    name: str
    act: Callable[[], None] = field(compare=False)


@dataclass
class Struck:
    """A run that was held by a process at the moment when that was killed or stopped."""

    run_id: UUID
    fence: int
    at: float


@dataclass
class Log:
    """What the drill did, for the verdict."""

    enqueued: dict[UUID, str] = field(default_factory=dict)
    cancelled: set[UUID] = field(default_factory=set)
    struck: list[Struck] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    database_away: list[tuple[float, float]] = field(default_factory=list)


class Course:
    """One drill. ``folder`` is made by the caller and deleted at the end."""

    def __init__(self, folder: Path, *, seed: int, count: int, short: bool, logs: Path | None) -> None:
        self.rng = random.Random(seed)
        self.count = count
        self.seconds = 34.0 if short else max(150.0, count / 6)
        self.settle = 60.0 if short else 150.0
        self.short = short
        self.copy_logs_to = logs
        self.stack = Stack(DataFolder(folder), seed=seed)
        self.log = Log()
        self.clients: list[UUID] = []
        self._stopped = ("", 0)

    def run(self) -> dict[str, Any]:
        """Everything; the summary, with ``violations``."""
        discover()
        with self.stack:
            try:
                self._start()
                self._go_through()
                settled = self._settle()
                summary = verdict.of(self.log, self.stack.orders(), CLIENT_CONCURRENCY)
            except BaseException:
                print(self.stack.tails(), flush=True)
                raise
            finally:
                connection.close()
            summary["settled_seconds"] = settled
            if summary["violations"] and self.copy_logs_to is not None:
                shutil.copytree(self.stack.folder.root / "logs", self.copy_logs_to, dirs_exist_ok=True)
        return summary

    def _start(self) -> None:
        self.stack.prepare()
        self.clients = [Client.objects.create(name=f"Client {number}").id for number in range(3)]
        JobQueue.objects.filter(name="default").update(client_concurrency=CLIENT_CONCURRENCY)
        faults = f"{os.environ.get('DRILL_FAULTS', '')},answers-lost"
        self.stack.add_worker("worker-1", DRILL_FAULTS=faults)
        self.stack.add_worker("worker-2", DRILL_FAULTS=faults)
        self.stack.add_worker("bulk", "bulk", DRILL_FAULTS=faults)
        self.stack.add("beat-1", "-m", "workers.beat")
        self.stack.add("beat-2", "-m", "workers.beat")
        self.stack.wait_for_workers()

    def _go_through(self) -> None:
        events = sorted([*self._enqueues(), *self._faults()])
        began = time.monotonic()
        for event in events:
            while time.monotonic() - began < event.at:
                self.stack.tend()
                time.sleep(0.01)
            event.act()

    def _enqueues(self) -> list[Event]:
        slugs = self.rng.choices([slug for slug, _ in MIX], [weight for _, weight in MIX], k=self.count)
        slugs[: len(MIX)] = [slug for slug, _ in MIX]  # each kind at least once
        return [Event(self.rng.uniform(0, self.seconds), slug, self._enqueuing(slug)) for slug in slugs]

    def _enqueuing(self, slug: str) -> Callable[[], None]:
        rng = random.Random(self.rng.random())
        values = {"ms": rng.choice([0, 0, 5, 20, 20, 100, 400, 1500]), "n": rng.randrange(1, 4)}
        cancel = False
        client_id = None
        if slug == "drill-client":
            client_id = rng.choice(self.clients)
            values["ms"] = min(values["ms"], 400)
        if slug == "drill-patient":
            cancel = rng.random() < 0.5
            values["ms"] = rng.choice([3000, 6000])

        def act() -> None:
            run_id = patiently(lambda: services.enqueue(slug, values, client_id=client_id).run.id)
            self.log.enqueued[run_id] = slug
            if cancel:
                self._cancel(run_id)

        return act

    def _cancel(self, run_id: UUID) -> None:
        self.log.cancelled.add(run_id)
        with suppress(WrongState):  # it has ended, or an answer was lost and it is cancelled already
            patiently(lambda: services.cancel(run_id))

    def _faults(self) -> list[Event]:
        kills = 5 if self.short else 20
        last = self.seconds - 4
        events = [
            Event(
                self.rng.uniform(3, last),
                "kill",
                self.rng.choice([self._kill_main, self._kill_child, self._kill_child]),
            )
            for _ in range(kills)
        ]
        rounds = 1 if self.short else 3
        for number in range(rounds):
            start = last * number / rounds
            span = last / rounds
            moments = iter(sorted(start + 3 + (span - 6) * self.rng.random() for _ in range(7)))
            names: list[Callable[[], None]] = [
                self._flush,
                self._cut_broker_connections,
                self._cut_database_connections,
                self._restart_database,
                self._kill_broker,
                self._flush,
                self._cut_database_connections,
            ]
            self.rng.shuffle(names)
            events += [Event(at, act.__name__, act) for at, act in zip(moments, names, strict=True)]
            stop_at = start + 2 + self.rng.random() * 3
            name = WORKERS[number % 2]
            events += [
                Event(stop_at, "stop", lambda name=name: self._stop(name)),
                Event(stop_at + STOPPED_SECONDS, "continue", lambda name=name: self._continue(name)),
            ]
        return events

    def _pick(self) -> Member:
        """A worker to strike, other than one that is stopped: what becomes of that is to be seen when it goes on."""
        return self.stack.members[self.rng.choice([name for name in WORKERS if name != self._stopped[0]])]

    def _kill_main(self) -> None:
        member = self._pick()
        if not member.is_running:
            self.stack.wait(lambda: member.is_running, 10, f"{member.name} to be there again")
        self._strike("r.worker = %s", self.stack.instance(member))
        member.linger = self.rng.choice([0.0, 5.0])
        os.kill(member.pid, signal.SIGKILL)
        self.log.faults["worker killed"] += 1

    def _kill_child(self) -> None:
        member = self._pick()
        children: list[int] = []

        def has_children() -> bool:
            children[:] = member.children()
            return bool(children)

        self.stack.wait(has_children, 20, f"{member.name} to have children")
        pid = self.rng.choice(children)
        self._strike("r.worker_pid = %s", pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.log.faults["child killed"] += 1

    def _stop(self, name: str) -> None:
        """Stop a worker in the middle of a step that has yet to write."""
        member = self.stack.members[name]
        for _ in range(6):
            run_id = patiently(lambda: services.enqueue("drill-patient", {"ms": 4000}).run.id)
            self.log.enqueued[run_id] = "drill-patient"
        self.stack.wait(
            lambda: (
                member.is_running
                and (held := self.stack.instance(member))
                and rows(
                    "SELECT 1 FROM job_runs r JOIN job_attempts a ON a.run_id = r.id AND a.number = r.fence"
                    " WHERE r.job = 'drill-patient' AND r.state = 'running' AND r.worker = %s"
                    " AND a.started_at > now() - interval '1 second'",
                    held,
                )
            ),
            20,
            f"{name} to hold a run",
        )
        self._strike("r.worker = %s", self.stack.instance(member))
        self.stack.freeze(-member.pid)
        self._stopped = (name, member.pid)
        self.log.faults["worker stopped past its lease"] += 1

    def _continue(self, name: str) -> None:
        if self._stopped[0] == name:
            self.stack.thaw(-self._stopped[1])
            self._stopped = ("", 0)

    def _strike(self, where: str, value: object) -> None:
        """Note what the process that is about to be struck holds."""
        held = rows(f"SELECT r.id, r.fence FROM job_runs r WHERE r.state = 'running' AND {where}", value)
        self.log.struck += [Struck(run_id, fence, time.time()) for run_id, fence in held]

    def _flush(self) -> None:
        if self.stack.valkey.pid is not None:
            self.stack.valkey.flush()
        self.log.faults["broker flushed"] += 1

    def _kill_broker(self) -> None:
        self.stack.valkey.kill()
        self.log.faults["broker killed without persistence"] += 1
        until = time.monotonic() + self.rng.uniform(1, 4)
        while time.monotonic() < until:  # requests go on meanwhile
            self.stack.tend()
            self._enqueuing("drill-effect")()
            self.log.faults["enqueued while the broker was down"] += 1
            time.sleep(0.3)
        self.stack.valkey.start()

    def _cut_broker_connections(self) -> None:
        server = redis.Redis.from_url(settings.REDIS_URL)
        try:
            server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        finally:
            server.close()
        self.log.faults["broker's connections cut"] += 1

    def _cut_database_connections(self) -> None:
        try:
            with psycopg.connect(self.stack.postgres.url("quantum", "postgres"), autocommit=True) as superuser:
                superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND usename LIKE 'quantum%'"
                )
        except psycopg.Error as error:
            print(f"connections not cut: {error}", flush=True)
        self.log.faults["database's connections cut"] += 1

    def _restart_database(self) -> None:
        began = time.time()
        self.stack.postgres.stop("immediate")
        time.sleep(self.rng.uniform(0, 2))
        self.stack.postgres.start()
        self.log.database_away.append((began, time.time()))
        self.log.faults["database restarted"] += 1

    def _settle(self) -> float:
        """Wait until every run is final, or nothing has changed for so long that nothing will.

        The schedule goes on until then, because it rescues: a tick of before may be held by a process that was killed.
        """
        began = time.monotonic()
        [(quiet_since,)] = rows("SELECT now()")
        seen: list[tuple[Any, ...]] = []
        changed = began

        def done() -> bool:
            nonlocal seen, changed
            left = rows(
                "SELECT state, count(*) FROM job_runs WHERE job LIKE 'drill-%%' AND finished_at IS NULL"
                " AND (job <> 'drill-tick' OR created_at < %s) GROUP BY state ORDER BY state",
                quiet_since,
            )
            if left != seen:
                seen, changed = left, time.monotonic()
            return not left or time.monotonic() - changed > 45

        try:
            self.stack.wait(done, self.settle, "all runs to end")
        except TimeoutError as error:
            print(error, flush=True)
        if seen:
            print(f"left: {seen}\n{self._unended()}", flush=True)
        took = time.monotonic() - began
        for name in ("beat-1", "beat-2"):
            self.stack.remove(name)
        try:
            self.stack.wait(
                lambda: not rows("SELECT 1 FROM job_runs WHERE finished_at IS NULL LIMIT 1"), 20, "the schedule's runs"
            )
        except TimeoutError as error:
            print(f"{error}\n{self._unended()}", flush=True)
        return round(took, 1)

    def _unended(self) -> str:
        """What is known of the runs that have not ended, and the last words of each process."""
        found = rows(
            "SELECT r.job, r.id, r.state, r.worker, r.worker_pid, r.fence, a.started_at, r.lease_until, r.rung_at,"
            " r.scheduled_at, now() FROM job_runs r LEFT JOIN job_attempts a ON a.run_id = r.id AND a.number = r.fence"
            " WHERE r.finished_at IS NULL ORDER BY r.id LIMIT 20"
        )
        lines = [
            f"{job} {run_id} is {state}: attempt {fence}, by process {pid} of {worker!r}, began {began}; lease until"
            f" {lease}, rung {rung}, due {due}, now {now}"
            for job, run_id, state, worker, pid, fence, began, lease, rung, due, now in found
        ]
        return "\n".join([*lines, self.stack.tails(30)])
