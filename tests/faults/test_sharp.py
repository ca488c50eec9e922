"""One fault at a time, with real workers and servers: what is promised, and how soon."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.faults.stack import Member, Stack, rows
from trading.jobs import services
from workers.celery import app

pytestmark = [pytest.mark.faults, pytest.mark.timeout(110)]
# Most of the time is spent waiting: three stacks side by side cost little.
workers_alone = pytest.mark.xdist_group("faults of workers")
database_away = pytest.mark.xdist_group("faults of the database")
frozen = pytest.mark.xdist_group("faults of time")


@pytest.fixture(autouse=True)
def _clean(stack: Stack) -> Iterator[None]:
    """No worker and no live run is left to the next test."""
    yield
    for name in [name for name in stack.members if name != "venue"]:
        stack.remove(name)
    rows("DELETE FROM job_attempts RETURNING 1")
    rows("DELETE FROM job_runs RETURNING 1")
    rows("DELETE FROM job_processes RETURNING 1")
    stack.valkey.flush()


@pytest.fixture
def worker(stack: Stack) -> Member:
    member = stack.add_worker("worker-1", QT_DRAIN_SECONDS="2")
    stack.wait_for_workers()
    return member


def enqueue(slug: str, **arguments: int) -> UUID:
    return services.enqueue(slug, arguments).run.id


def state(run_id: UUID) -> str:
    return str(rows("SELECT state FROM job_runs WHERE id = %s", run_id)[0][0])


def outcomes(run_id: UUID) -> list[str]:
    return [row[0] for row in rows("SELECT outcome FROM job_attempts WHERE run_id = %s ORDER BY number", run_id)]


def holder(run_id: UUID) -> tuple[str, int, int]:
    """Worker, process and tries so far."""
    return rows("SELECT worker, worker_pid, attempt FROM job_runs WHERE id = %s", run_id)[0]  # type: ignore[return-value]


def started(stack: Stack, slug: str, **arguments: int) -> UUID:
    run_id = enqueue(slug, **arguments)
    stack.wait(lambda: state(run_id) == "running", 20, "the run to start")
    return run_id


@workers_alone
@pytest.mark.parametrize("slug", ["drill-patient", "drill-hold"])
def test_a_draining_worker_gives_a_long_run_back_at_no_cost(stack: Stack, worker: Member, slug: str) -> None:
    run_id = started(stack, slug, ms=12_000)
    time.sleep(0.5)  # inside its transaction, where it has one
    stack.add_worker("worker-2")
    stack.wait_for_workers()
    first = holder(run_id)[0]
    worker.keep = False
    os.kill(worker.pid, signal.SIGTERM)
    stack.wait(lambda: not worker.is_running, 2 + 8, "the worker to end")
    stack.wait(lambda: holder(run_id)[0] not in ("", first), 15, "another worker to take the run")
    assert outcomes(run_id) == ["released", ""]
    assert holder(run_id)[2] == 1, "it costs no attempt"
    assert worker.process is not None
    assert worker.process.returncode == 0


@workers_alone
def test_a_short_run_ends_in_a_draining_worker(stack: Stack, worker: Member) -> None:
    run_id = started(stack, "drill-patient", ms=1000)
    worker.keep = False
    os.kill(worker.pid, signal.SIGTERM)
    stack.wait(lambda: not worker.is_running, 12, "the worker to end")
    assert (state(run_id), outcomes(run_id)) == ("succeeded", ["succeeded"])


@workers_alone
def test_a_worker_that_lives_but_takes_nothing_is_replaced(stack: Stack, worker: Member) -> None:
    for queue in ("critical", "default"):
        app.control.cancel_consumer(queue)
    time.sleep(2)
    assert app.control.ping(timeout=1), "it answers all the same"
    run_id = enqueue("drill-effect")
    took = stack.wait(lambda: state(run_id) == "succeeded", 60, "the run to be done by its replacement")
    assert took > 5, "it was consuming after all, so nothing was shown"
    assert worker.starts == 2
    assert outcomes(run_id) == ["succeeded"]


@workers_alone
def test_a_worker_that_believes_itself_busy_is_replaced(stack: Stack) -> None:
    worker = stack.add_worker("worker-1", DRILL_FAULTS="stuck")
    stack.wait_for_workers()
    run_ids = [enqueue("drill-effect") for _ in range(4)]
    stack.wait(lambda: worker.starts == 2, 60, "the worker to end")
    stack.remove("worker-1")
    assert {state(run_id) for run_id in run_ids} == {"queued"}
    stack.add_worker("worker-2")
    stack.wait(lambda: {state(run_id) for run_id in run_ids} == {"succeeded"}, 60, "its replacement to do the runs")


@workers_alone
@pytest.mark.parametrize(("slug", "seconds"), [("drill-patient", 8.0), ("drill-stubborn", 16.0)])
def test_a_running_step_is_cancelled(stack: Stack, worker: Member, slug: str, seconds: float) -> None:
    run_id = started(stack, slug, ms=40_000)
    time.sleep(0.5)
    pid = holder(run_id)[1]
    services.cancel(run_id)
    stack.wait(lambda: state(run_id) == "cancelled", seconds, "the step to stop")
    assert (pid in worker.children()) == (slug != "drill-stubborn"), "only one that ignores the request is killed"
    after = enqueue("drill-effect")
    stack.wait(lambda: state(after) == "succeeded", 10, "the worker to go on")
    assert worker.starts == 1


@workers_alone
def test_a_step_past_its_time_fails(stack: Stack, worker: Member) -> None:
    run_id = started(stack, "drill-late", ms=40_000)
    stack.wait(lambda: state(run_id) == "failed", 12, "the step to be stopped")
    error = rows("SELECT error_type FROM job_runs WHERE id = %s", run_id)[0][0]
    assert (error, outcomes(run_id), worker.starts) == ("StepTimeout", ["failed"], 1)


@database_away
@pytest.mark.parametrize("slug", ["drill-patient", "drill-hold"])
def test_the_run_of_a_killed_child_is_rescued_within_seconds(stack: Stack, worker: Member, slug: str) -> None:
    run_id = started(stack, slug, ms=3000)
    time.sleep(0.5)
    os.kill(holder(run_id)[1], signal.SIGKILL)
    stack.wait(lambda: len(outcomes(run_id)) == 2, 12, "the run to be taken again")
    stack.wait(lambda: state(run_id) == "succeeded", 15, "the run to end")
    assert outcomes(run_id) == ["lost", "succeeded"]
    assert worker.starts == 1


@database_away
@pytest.mark.parametrize("away", [4.0, 24.0])
def test_postgres_away_when_a_step_ends_costs_no_attempt(stack: Stack, worker: Member, away: float) -> None:
    """Also past the lease: a rescuer that sees the database first leaves the holders time to come back."""
    stack.add_worker("worker-2")
    stack.wait_for_workers()
    run_id = started(stack, "drill-think", ms=2000)
    other = started(stack, "drill-think", ms=int(away * 1000) + 10_000)
    broken = started(stack, "drill-patient", ms=2000)
    stack.postgres.stop("immediate")
    time.sleep(away)
    stack.postgres.start()
    stack.wait(lambda: state(run_id) == "succeeded", 15, "the ending to be written")
    stack.wait(lambda: state(other) == "succeeded", 20, "the other to end")
    assert (outcomes(run_id), outcomes(other)) == (["succeeded"], ["succeeded"])
    stack.wait(lambda: state(broken) == "succeeded", 20, "the step that found the database away")
    assert outcomes(broken)[-1] == "succeeded", "its process goes on with a new connection"
    assert set(outcomes(broken)[:-1]) <= {"failed"}
    assert {member.starts for member in stack.members.values()} == {1}


@frozen
def test_the_broker_away_delays_and_loses_nothing(stack: Stack, worker: Member) -> None:
    stack.valkey.kill()
    began = time.monotonic()
    runs = [enqueue("drill-effect") for _ in range(5)]
    assert time.monotonic() - began < 2, "a dead broker must not hold up who enqueues"
    time.sleep(3)
    stack.valkey.start()
    stack.wait(lambda: {state(run_id) for run_id in runs} == {"succeeded"}, 15, "the runs to be done")
    assert [outcomes(run_id) for run_id in runs] == [["succeeded"]] * 5


@frozen
def test_a_broker_that_hangs_takes_no_run_from_its_holder(stack: Stack, worker: Member) -> None:
    run_id = started(stack, "drill-patient", ms=32_000)
    broker = stack.valkey.pid
    assert broker is not None
    stack.freeze(broker)
    try:
        began = time.monotonic()
        later = enqueue("drill-effect")
        assert time.monotonic() - began < 12, "who enqueues waits no longer than the broker's time limit"
        time.sleep(30 - (time.monotonic() - began))
    finally:
        stack.thaw(broker)
    stack.wait(lambda: state(run_id) == "succeeded", 15, "the run to end")
    stack.wait(lambda: state(later) == "succeeded", 20, "the other to be done")
    assert outcomes(run_id) == ["succeeded"]


@frozen
def test_a_frozen_worker_loses_its_run_and_cannot_write(stack: Stack, worker: Member) -> None:
    run_id = started(stack, "drill-patient", ms=6000)
    stack.add_worker("worker-2")
    stack.wait_for_workers()
    began = time.monotonic()
    stack.freeze(-worker.pid)
    try:
        stack.wait(lambda: len(outcomes(run_id)) == 2, 30, "the rescue")
        assert time.monotonic() - began > 15, "its lease had not run out"
    finally:
        stack.thaw(-worker.pid)
    stack.wait(lambda: state(run_id) == "succeeded", 15, "the run to end")
    time.sleep(2)
    writes: list[tuple[Any, ...]] = rows("SELECT fence, held FROM drill_writes WHERE run_id = %s", run_id)
    assert writes == [(2, 2)]
    assert outcomes(run_id) == ["lost", "succeeded"]
