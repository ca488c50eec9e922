"""One drill at one venue: a sender dies at each of its steps, time and again, and what it left is recovered."""

import gc
import random
import re
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg

from tests.faults.orders import faults, senders, verdict
from tests.faults.orders.desks import Desk
from tests.faults.orders.processes import Ended, Process, Tell, fork
from tests.faults.orders.report import seconds
from tests.faults.orders.steps import Point
from tests.faults.stack import Stack
from trading.core.scope import platform_scope
from trading.marketdata.models import Candle
from trading.tenants.models import Client
from workers.jobs.order_reconcile import SOON

BARS = 70
PATIENCE_SECONDS = 60.0
KILLED = -9
RESOLVED_SECONDS = 60.0
IN_FLIGHT_SECONDS = 0.5
"""What a dead sender has sent is at the venue after so long."""
ENDS = ("succeeded", "failed", "cancelled")
TRACES = 3
UNDER_WAY = re.compile(r"sent (the rest of POST \S*order|an order to the gateway)")
"""The step at which an order is out, and no answer read."""
TRIES = 4
TELL_SECONDS = 20.0
LOST = "not_booked"
WRITES_AN_ORDER = re.compile(r"^committ(ing|ed) .*\borders\b")
"""The first such step is the intent, the last is the outcome."""


def prepare(tell: Tell, *, desk: Desk) -> None:
    """History that makes every symbol worth buying, and the client of a venue that has one."""
    senders.start_afresh(None)
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with platform_scope():
        closes = [
            (symbol, age, round(float(price) * (1 - 0.001 * age), 2))
            for symbol, price in desk.prices.items() for age in range(BARS)
        ]  # fmt: skip
        Candle.objects.bulk_create(
            Candle(
                symbol=symbol, time=now - timedelta(days=age), open=close, high=close, low=close, close=close,
                volume=1_000_000, source="drill",
            )
            for symbol, age, close in closes
        )  # fmt: skip
        if desk.client_id is not None:
            Client.objects.create(id=desk.client_id, name="Drill")
            senders.connect(desk.client_id, desk.name, desk.account(0))


@dataclass
class Attempt:
    """One death and what came after it."""

    point: Point
    who: str
    died: bool
    run_id: UUID
    recovery_seconds: float
    state: str


@dataclass
class Drill:
    """``rounds``: how often a process dies at each step. ``without``: what the code is to lack."""

    stack: Stack
    desk: Desk
    seed: int
    rounds: int
    without: str | None = None
    steps_at_most: int | None = None
    cases: int | None = None
    minutes: float | None = None
    """After so long nobody is killed any more, however many deaths are left."""
    attempts: list[Attempt] = field(default_factory=list)
    endured: list[tuple[faults.Case, float]] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    _number: int = 0
    _login: Process | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._log = self.stack.folder.root / "logs" / f"{self.desk.name}.log"

    def run(self) -> dict[str, Any]:
        """Everything; figures, and under ``wrong`` what did not hold."""
        began = time.monotonic()
        self._database = self._connect()
        try:
            prepared = fork(partial(prepare, desk=self.desk), self._log).wait(PATIENCE_SECONDS)
            if prepared.status != 0:
                raise RuntimeError(f"nothing to begin with: {self._log.read_text()[-4000:]}")
            traces = self._trace()
            plan = self._plan(traces)
            self._kill(plan, began)
            for case in faults.cases(self.desk, self.rng, self.cases):
                self._endure(case)
            not_booked, lost = self._lose_one() if self.cases is None else (None, [])
            self._end_login()
            figures, wrong = verdict.of(self._database, self.desk, self.desk.books())
        finally:
            self._end_login()
            self._database.close()
        died = Counter(f"{attempt.who}: {attempt.point}" for attempt in self.attempts if attempt.died)
        steps = [f"{who}: {point}" for who, points in traces.items() for point in points]
        asked = self.rounds if self.minutes is None else min(self.rounds, 1)
        wrong |= {
            "steps at which too few died": [f"{step}: {died[step]}" for step in steps if died[step] < asked],
            "runs that did not end": [
                f"{attempt.run_id} {attempt.state}" for attempt in self.attempts if attempt.state not in ENDS
            ],
            "processes that hung": self.hung,
            "orders not resolved within a minute of the venue's return": [
                f"{case}: {took:.0f} s" for case, took in self.endured if took > RESOLVED_SECONDS
            ],
            "orders not known to be nowhere within a minute": [
                f"{took:.0f} s" for took in [not_booked] if took is not None and took > RESOLVED_SECONDS
            ],
            "orders lost on their way that did not end as not booked": [state for state in lost if state != LOST],
        }  # fmt: skip
        return {
            "venue": self.desk.name,
            "seconds": round(time.monotonic() - began, 1),
            "rounds": self.rounds,
            "steps": steps,
            "deaths": sum(died.values()),
            "deaths_by_step": dict(died),
            **seconds("recovery", [attempt.recovery_seconds for attempt in self.attempts]),
            "faults": len(self.endured),
            "faults_by_kind": dict(Counter(case.fault for case, _ in self.endured)),
            **seconds("resolved", [took for _, took in self.endured]),
            "not_booked_seconds": not_booked,
            **figures,
            "wrong": {name: len(found) for name, found in wrong.items()},
            "examples": {name: found[:5] for name, found in wrong.items() if found},
        }

    def _kill(self, plan: list[tuple[str, Point]], began: float) -> None:
        told = time.monotonic()
        owed, missed, done = deque(plan), Counter[tuple[str, Point]](), 0
        while owed:
            death = owed.popleft()
            done += 1
            if not self._attempt(*death) and missed[death] < TRIES * self.rounds:
                # How often an answer comes in parts differs, so that a step may be missed: it is still owed.
                missed[death] += 1
                owed.append(death)
            now = time.monotonic()
            if self.minutes is not None and now - began > self.minutes * 60:
                break
            if now - told > TELL_SECONDS:
                told, each = now, (now - began) / done
                print(f"  {self.desk.name}: {done} deaths tried, {each * len(owed) / 60:.0f} min left", flush=True)

    def _plan(self, traces: Mapping[str, list[Point]]) -> list[tuple[str, Point]]:
        """Who dies where, in an order drawn by the seed, round after round."""
        steps = [(who, point) for who, points in traces.items() for point in points]
        return [death for _ in range(self.rounds) for death in self.rng.sample(steps, len(steps))]

    def _connect(self) -> "psycopg.Connection[Any]":
        """The drill's own connection, which sees and moves everything."""
        return psycopg.connect(self.stack.postgres.url("quantum", "postgres"), autocommit=True)

    def _trace(self) -> dict[str, list[Point]]:
        """The steps of a sender that nobody kills, and of a login's process where there is one.

        Those that come every time: what is read together, and so how often, may differ.
        """
        self._warm_up()
        seen: dict[str, list[list[Point]]] = {"sender": [], "login": []}
        for _ in range(TRACES):
            ended, login = self._send(None)
            if ended.last("state") != "succeeded":
                raise RuntimeError(f"an execution failed by itself: {self._log.read_text()[-6000:]}")
            seen["sender"].append([Point(*point) for point in ended.every("point")])
            seen["login"].append(login)
        traces = {who: [point for point in runs[0] if all(point in run for run in runs)] for who, runs in seen.items()}
        return {who: self._of_submit(points) for who, points in traces.items() if points}

    def _warm_up(self) -> None:
        """Do here once what every sender does: what this process has loaded and worked out, no child has to."""
        self._have_login()
        self._number += 1
        senders.warm_up(
            broker=self.desk.name, credentials=self.desk.account(self._number), client_id=self.desk.client_id
        )
        gc.collect()
        gc.freeze()  # or each child's collector would copy all of it

    def _of_submit(self, points: list[Point]) -> list[Point]:
        """From the intent to the outcome and what is written after that of the run; or some of these."""
        writing = [number for number, point in enumerate(points) if WRITES_AN_ORDER.search(point.step)]
        inner = points[writing[0] : writing[-1] + 5] if writing else points
        if self.steps_at_most is None:
            return inner
        chosen = self.rng.sample(range(len(inner)), min(self.steps_at_most, len(inner)))
        return [inner[number] for number in sorted(chosen)]

    def _attempt(self, who: str, point: Point) -> bool:
        """A death at ``point`` and what comes after it; whether anybody died there."""
        ended, _ = self._send(point if who == "sender" else None, point if who == "login" else None)
        run_id = ended.last("run")
        if run_id is None:
            raise RuntimeError(f"a sender did not begin: {ended}\n{self._log.read_text()[-4000:]}")
        died = ended.status == KILLED if who == "sender" else self._login is None or not self._login.is_running()
        began = time.monotonic()
        if who == "login":
            self._end_login()  # it may have missed its step
        done = self._recover(UUID(run_id), settle_after=IN_FLIGHT_SECONDS)
        if done.last("state") is None:
            self.hung.append(f"recovery of {run_id} after {who} at {point}: {done.status}")
        self.attempts.append(Attempt(point, who, died, UUID(run_id), time.monotonic() - began, str(done.last("state"))))
        return died

    def _recover(self, run_id: UUID, *, settle_after: float | None = None) -> Ended:
        self._have_login()
        self._pass_time()
        recover = partial(senders.recover, run_id=run_id, without=self.without, settle_after=settle_after)
        process = fork(recover, self._log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.is_running() and time.monotonic() < deadline:
            self._have_login()  # one that finds itself forgotten by Redis has ended: `workers.gateway` starts another
            time.sleep(0.01)
        return process.end()

    def _send(self, fatal: Point | None, fatal_to_login: Point | None = None) -> tuple[Ended, list[Point]]:
        self._pass_time()
        if fatal_to_login is not None:
            self._end_login()
        self._have_login(fatal_to_login)
        before = len(self._login_points())
        process = self._start(fatal)
        if fatal_to_login is not None and self._login is not None:
            while process.is_running() and self._login.is_running():
                time.sleep(0.002)
            if self._number % 25:  # the host has died, and the sender with it; at times it lives on without an answer
                return process.end(), []
        ended = process.wait(PATIENCE_SECONDS)
        return ended, self._login_points()[before:]

    def _start(self, fatal: Point | None) -> Process:
        self._number += 1
        return fork(
            partial(
                senders.send,
                broker=self.desk.name,
                credentials=self.desk.account(self._number),
                client_id=self.desk.client_id,
                places=self.desk.places,
                fatal=fatal,
                without=self.without,
            ),
            self._log,
        )

    def _endure(self, case: faults.Case) -> None:
        """An execution while ``case`` strikes, and the time from the venue's return until its order is resolved."""
        self._pass_time()
        self._have_login()
        faults.strike(self.desk, case)
        before = len(self._login_points())
        process = self._start(None)
        while process.is_running() and not self._is_under_way(process, before):
            time.sleep(0.002)
        self._lose(case.around)
        ended = process.wait(PATIENCE_SECONDS)
        self.desk.heal()
        run_id = UUID(ended.last("run"))
        began = time.monotonic()
        settles_at = began + (faults.VERY_LATE + 0.5 if "late" in case.fault else 0.0)
        while True:  # in production every ten seconds while a venue does not answer, and every minute
            done = self._recover(run_id)
            took = time.monotonic() - began
            if done.last("unsure") is None:
                self.hung.append(f"recovery of {run_id} after {case}: {done.status}")
            is_over = done.last("unsure") == 0 or not self._is_at_venue(run_id)
            if (is_over and time.monotonic() > settles_at) or took > RESOLVED_SECONDS:
                break
            time.sleep(0.3)
        if done.last("unsure"):
            self._recover(run_id, settle_after=0)
        self.endured.append((case, took))
        print(f"  {self.desk.name}: resolved after {took:4.1f} s: {case}", flush=True)

    def _lose_one(self) -> tuple[float, list[str]]:
        """The seconds, at production's own pace, until an order that was lost on its way is known to be nowhere.

        And what became of it: a state, or none where no order was sent.
        """
        for _ in range(TRIES):
            self._pass_time()
            self._have_login()
            self.desk.fail_order(faults.TO_AN_ORDER[type(self.desk)]["request lost"])
            run_id = UUID(self._start(None).wait(PATIENCE_SECONDS).last("run"))
            self.desk.heal()
            began = time.monotonic()
            while self._recover(run_id).last("unsure") != 0 and time.monotonic() - began < 2 * RESOLVED_SECONDS:
                time.sleep(SOON.total_seconds())
            took, states = round(time.monotonic() - began, 1), self._states(run_id)
            if states != ["filled"]:  # sent when the fault was over, by a login's process that was still starting
                break
        return took, states or ["none"]

    def _states(self, run_id: UUID) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT state FROM orders WHERE run_id = %s", [run_id])]

    def _is_under_way(self, process: Process, before: int) -> bool:
        told = [Point(*message["point"]) for message in process.told() if "point" in message]
        return any(UNDER_WAY.match(point.step) for point in told + self._login_points()[before:])

    def _lose(self, what: str) -> None:
        if what == "redis lost":
            self.stack.valkey.kill()
            time.sleep(0.2)
            self.stack.valkey.start()
        elif what == "postgres restarted":
            self.stack.postgres.restart("immediate")
            self._database.close()
            self._database = self._connect()
        elif what == "venue restarted":
            self.desk.restart()

    def _is_at_venue(self, run_id: UUID) -> bool:
        """Whether the venue has an order of the run, by its own ledger."""
        rows = self._database.execute("SELECT client_order_id FROM orders WHERE run_id = %s", [run_id]).fetchall()
        books = self.desk.books()
        return any(row[0] in books and books[row[0]].orders for row in rows)

    def _login_points(self) -> list[Point]:
        told = self._login.told() if self._login is not None else []
        return [Point(*message["point"]) for message in told if "point" in message]

    def _pass_time(self) -> None:
        """Leases have run out, delays are over, the venue's limits are free again."""
        self._database.execute("UPDATE job_runs SET lease_until = now() - interval '1 ms' WHERE state = 'running'")
        self._database.execute("DELETE FROM broker_budgets")
        self.desk.pass_time()
        if self.desk.client_id is not None and self._login is None:
            self._database.execute("UPDATE ibkr_logins SET leased_until = now()")

    def _have_login(self, fatal: Point | None = None) -> None:
        """The process of the one client's login, where the venue wants one."""
        if self.desk.client_id is None or (self._login is not None and self._login.is_running()):
            return
        self._end_login()
        self._pass_time()
        self._login = fork(
            partial(
                senders.hold_login,
                client_id=self.desk.client_id,
                credentials=self.desk.account(0),
                places=self.desk.places,
                fatal=fatal,
                without=self.without,
            ),
            self._log,
        )

    def _end_login(self) -> None:
        if self._login is not None:
            self._login.end()
            self._login = None
