"""Claim, fence, outcomes, chains, and what a worker's death leaves behind."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs import sample
from tests.jobs.conftest import Broker, Hands, expire_lease, make_due
from trading.core.scope import platform_scope
from trading.execution import exposure
from trading.jobs import context, ledger, runner, services, upkeep
from trading.jobs.models import JobAttempt, JobRun
from trading.jobs.outcomes import LeaseLost, RunCancelled
from trading.jobs.registry import UnknownJob
from trading.jobs.states import Outcome, State
from trading.tenants.models import Client


def claim(run: JobRun, worker: str = "test/one") -> ledger.Claim | None:
    return ledger.claim(run.id, worker=worker, pid=1, code_version="test")


def outcomes(run: JobRun) -> list[tuple[int, str, int, str]]:
    return list(run.attempts.order_by("number").values_list("number", "step", "attempt", "outcome"))


def test_a_chain_passes_on_what_its_steps_return(hands: Hands) -> None:
    run = services.enqueue("sample-chain", {"n": 21}).run
    assert hands.work_off() == 2
    run.refresh_from_db()
    assert (run.state, run.result) == (State.SUCCEEDED, {"doubled": 42, "first_fence": 1})
    assert outcomes(run) == [(1, "first", 1, "succeeded"), (2, "second", 1, "succeeded")]
    assert run.finished_at is not None and run.started_at is not None


def test_the_message_goes_out_on_commit_and_only_then(broker: Broker) -> None:
    with transaction.atomic():
        services.enqueue("sample-one")
        assert broker.messages() == 0
    assert broker.messages() == 1


def test_a_rolled_back_request_leaves_neither_run_nor_message(broker: Broker) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        services.enqueue("sample-one")
        raise RuntimeError("the request fails after the enqueue")
    assert (JobRun.objects.count(), broker.messages()) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"n": "1"}, ["args", "n"]),
        ({"n": 1, "extra": 2}, ["args", "extra"]),
        ({"text": "x" * 2001}, ["args", "text"]),
        ({"text": "nul\x00byte"}, ["args"]),
        ({"text": "x" * 20_000}, ["args"]),
        ({"n": float("nan")}, ["args", "n"]),
        ({"text": object()}, ["args"]),
        ({"text": "\ud800"}, ["args"]),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_nothing_is_stored(
    arguments: dict[str, object], place: list[str]
) -> None:
    with pytest.raises(services.InvalidArguments) as refused:
        services.enqueue("sample-one", arguments)
    assert refused.value.errors[0]["loc"] == place
    assert JobRun.objects.count() == 0


def test_unknown_jobs_and_missing_or_needless_clients_are_refused(client_a: Client) -> None:
    with pytest.raises(UnknownJob, match="sample-chain"):
        services.enqueue("no-such-job")
    with pytest.raises(services.InvalidArguments, match="runs for one client"):
        services.enqueue("sample-client")
    with pytest.raises(services.InvalidArguments, match="belongs to no client"):
        services.enqueue("sample-one", client_id=client_a.id)


def test_of_many_claims_at_once_one_wins() -> None:
    run = services.enqueue("sample-one").run

    @platform_scope()
    def try_to_claim(number: int) -> bool:
        try:
            return claim(run, f"test/{number}") is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(try_to_claim, range(24)))
    assert won.count(True) == 1
    assert JobAttempt.objects.filter(run=run).count() == 1


def test_nothing_is_claimed_before_its_time() -> None:
    run = services.enqueue("sample-one", scheduled_at=datetime.now(UTC) + timedelta(hours=1)).run
    assert services.admit_due() == 0
    assert claim(run) is None
    make_due(run)
    assert claim(run) is None, "nobody has put it on the bell"
    assert services.admit_due() == 1
    assert claim(run) is not None


def test_a_paused_queue_starts_nothing_and_goes_on_when_resumed(broker: Broker, hands: Hands) -> None:
    services.pause("default", by="ops")
    run = services.enqueue("sample-one").run
    assert hands.run(run).state == State.QUEUED
    services.resume("default")
    broker.server.flushdb()
    services.admit_due()
    assert broker.messages() == 1
    assert hands.run(run).state == State.SUCCEEDED


def test_a_held_run_is_found_by_its_key_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction.atomic():
        other, run = [services.enqueue("sample-one", {"n": n}).run for n in range(200)][-2:]
    started = datetime.now(UTC)
    JobAttempt.objects.bulk_create(
        JobAttempt(run=other, number=n, step="first", attempt=1, started_at=started) for n in range(2_000)
    )
    held = claim(run)
    assert held is not None
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE job_runs, job_attempts")
    plans: list[str] = []

    def explained(statement: LiteralString, parameters: Mapping[str, Any]) -> list[ledger.Row]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # a table of few pages is read whole, and rightly
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return [{"cancelled": False, "late": False}]

    monkeypatch.setattr(ledger, "execute", explained)
    ledger.finish(held, ledger.Ending(Outcome.SUCCEEDED, State.SUCCEEDED, step_index=0, attempt=1))
    ledger.write_progress(held, ledger.Progress(1, 2))
    ledger.stop_reason(held)
    with ledger.fenced(held):
        pass
    assert len(plans) == 4
    assert f"Index Cond: ((run_id = '{run.id}'::uuid) AND (number = 1))" in plans[0]
    for plan in plans:
        assert f"Index Cond: (id = '{run.id}'::uuid)" in plan
        assert "job_runs_leases" not in plan


def test_what_is_looked_for_per_run_or_client_is_found_so_whatever_the_planner_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[str] = []

    def explained(statement: LiteralString, values: Mapping[str, Any]) -> list[ledger.Row]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # tables of no rows at all
            cursor.execute(f"EXPLAIN {statement}", values)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return [{"trades": 0}]

    monkeypatch.setattr(upkeep, "execute", explained)
    monkeypatch.setattr(exposure, "_one", lambda statement, values: explained(statement, values)[0])
    upkeep.prune(ended_before=ledger.database_now(), limit=1)
    exposure.traded(ledger.database_now())
    pruned, traded = plans
    assert "(run_id = ANY" in pruned
    assert "(client_id = c.id)" in traded


def test_a_holder_that_woke_up_late_changes_nothing() -> None:
    run = services.enqueue("sample-one").run
    slow = claim(run, "test/slow")
    assert slow is not None
    expire_lease(run)
    assert services.rescue() == [run.id]
    services.admit_due()
    quick = claim(run, "test/quick")
    assert quick is not None and quick.fence == slow.fence + 1

    ending = ledger.Ending(Outcome.SUCCEEDED, State.SUCCEEDED, step_index=0, attempt=1, result={"late": True})
    assert ledger.finish(slow, ending) is False
    assert ledger.write_progress(slow, ledger.Progress(1, 2, "late")) is False
    with pytest.raises(LeaseLost), ledger.fenced(slow):
        raise AssertionError("a late holder must not get in")
    run.refresh_from_db()
    assert (run.state, run.result, run.progress_note) == (State.RUNNING, None, "")
    assert ledger.finish(quick, ending) is True


def test_a_fenced_transaction_keeps_its_run_while_it_is_open() -> None:
    run = services.enqueue("sample-one").run
    held = claim(run)
    assert held is not None

    @platform_scope()
    def rescue_elsewhere() -> list[object]:
        try:
            return list(services.rescue())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with ledger.fenced(held):
            expire_lease_now = "UPDATE job_runs SET lease_until = now() - interval '1 second' WHERE id = %s"
            with connection.cursor() as cursor:
                cursor.execute(expire_lease_now, [run.id])
            assert pool.submit(rescue_elsewhere).result(10) == []
        assert pool.submit(rescue_elsewhere).result(10) == [run.id]


def test_a_failed_step_is_tried_again_with_what_the_earlier_ones_returned(hands: Hands) -> None:
    sample.FAIL_ONCE.add("second")
    run = services.enqueue("sample-chain", {"n": 1}).run
    hands.work_off()
    run.refresh_from_db()
    assert (run.state, run.step, run.attempt, run.error_type) == (State.RETRYING, "second", 1, "ValueError")
    make_due(run)
    services.admit_due()
    hands.work_off()
    run.refresh_from_db()
    assert (run.state, run.result) == (State.SUCCEEDED, {"doubled": 2, "first_fence": 1})
    assert outcomes(run) == [(1, "first", 1, "succeeded"), (2, "second", 1, "failed"), (3, "second", 2, "succeeded")]
    assert "was told to fail" in run.attempts.get(number=2).traceback


def test_out_of_attempts_a_run_fails_and_can_be_retried_by_hand_from_that_step(hands: Hands) -> None:
    run = services.enqueue("sample-chain", {"n": 1}).run
    hands.run(run)
    for _ in range(3):
        sample.FAIL_ONCE.add("second")
        make_due(run)
        services.admit_due()
        hands.run(run)
    run.refresh_from_db()
    assert (run.state, run.attempt, run.error_message) == (State.FAILED, 3, "second was told to fail")
    services.retry(run.id)
    hands.work_off()
    run.refresh_from_db()
    assert (run.state, run.error_message) == (State.SUCCEEDED, "")
    assert [row[1] for row in outcomes(run)] == ["first", "second", "second", "second", "second"]
    with pytest.raises(services.WrongState, match="succeeded"):
        services.retry(run.id)


def test_named_endings(hands: Hands) -> None:
    refused = hands.run(services.enqueue("sample-refuse").run)
    assert (refused.state, refused.attempt, refused.error_message) == (State.FAILED, 1, "cannot ever work")

    asked = hands.run(services.enqueue("sample-later").run)
    assert asked.state == State.RETRYING
    assert timedelta(hours=2.9) < asked.scheduled_at - datetime.now(UTC) < timedelta(hours=3.1)

    napping = hands.run(services.enqueue("sample-nap").run)
    assert (napping.state, napping.attempt, napping.progress_note) == (State.SNOOZED, 0, "waiting for the open")

    unwritable = hands.run(services.enqueue("sample-unwritable").run)
    assert unwritable.state == State.FAILED
    assert "cannot be recorded" in unwritable.error_message


def test_a_step_that_this_code_does_not_have_fails_the_run(hands: Hands) -> None:
    run = services.enqueue("sample-chain").run
    JobRun.objects.filter(id=run.id).update(steps=["gone", "second"])
    ended = hands.run(run)
    assert (ended.state, "no step 'gone'" in ended.error_message) == (State.FAILED, True)


def test_what_a_dead_worker_held_is_put_back_until_it_counts_as_poison() -> None:
    run = services.enqueue("sample-chain").run
    for attempt in (1, 2, 3):
        make_due(run)
        services.admit_due()
        assert claim(run) is not None
        expire_lease(run)
        assert services.rescue() == [run.id]
        run.refresh_from_db()
        assert run.state == (State.RETRYING if attempt < 3 else State.DISCARDED)
    assert [row[3] for row in outcomes(run)] == ["lost"] * 3
    assert services.rescue() == []
    assert services.retry(run.id).state == State.QUEUED


def test_the_keeper_lengthens_leases_of_the_living_and_ends_those_of_the_dead() -> None:
    living, dead = (services.enqueue("sample-one").run for _ in range(2))
    assert ledger.claim(living.id, worker="test/w", pid=11, code_version="") is not None
    assert ledger.claim(dead.id, worker="test/w", pid=12, code_version="") is not None
    elsewhere = services.enqueue("sample-one").run
    assert ledger.claim(elsewhere.id, worker="test/other", pid=11, code_version="") is not None
    before = JobRun.objects.get(id=elsewhere.id).lease_until

    held = upkeep.tend(worker="test/w", pids=[11])
    assert [(row.run_id, row.stop, row.kill) for row in held] == [(living.id, False, False)]
    assert services.rescue() == [], "its process may be younger than the list of pids"
    JobRun.objects.filter(id=dead.id).update(lease_until=before - timedelta(seconds=3))
    upkeep.tend(worker="test/w", pids=[11])
    assert services.rescue() == [dead.id]
    assert JobRun.objects.get(id=elsewhere.id).lease_until == before


def test_a_step_past_its_time_is_to_be_stopped_and_later_killed() -> None:
    run = services.enqueue("sample-one").run
    assert claim(run, "test/w") is not None
    for seconds, expected in ((1, (True, False)), (11, (True, True))):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE job_runs SET stop_at = now() - make_interval(secs => %s) WHERE id = %s", [seconds, run.id]
            )
        held = upkeep.tend(worker="test/w", pids=[1])
        assert [(row.stop, row.kill) for row in held] == [expected]


def test_a_worker_that_shuts_down_gives_back_without_a_cost() -> None:
    run = services.enqueue("sample-one").run
    assert claim(run, "test/leaving") is not None
    assert services.release(worker="test/leaving") == [run.id]
    run.refresh_from_db()
    assert (run.state, run.attempt, run.fence) == (State.QUEUED, 0, 1)
    assert outcomes(run) == [(1, "noop", 1, "released")]


def test_an_ending_whose_commit_went_through_unheard_is_recognised() -> None:
    run = services.enqueue("sample-one").run
    held = claim(run)
    assert held is not None
    ending = ledger.Ending(Outcome.SUCCEEDED, State.SUCCEEDED, step_index=0, attempt=1)
    assert ledger.was_finished_by(held, Outcome.SUCCEEDED) is False
    assert ledger.finish(held, ending)
    assert ledger.was_finished_by(held, Outcome.SUCCEEDED) is True
    assert ledger.was_finished_by(held, Outcome.FAILED) is False


def test_lost_messages_are_sent_again(broker: Broker) -> None:
    runs = [services.enqueue("sample-one").run for _ in range(5)]
    assert broker.messages() == 5
    soon = timedelta(0)
    assert upkeep.unheard("default", sent_before=soon, messages_waiting=5) == []
    broker.server.flushdb()
    assert upkeep.unheard("default", sent_before=timedelta(seconds=60), messages_waiting=0) == []
    again = upkeep.unheard("default", sent_before=soon, messages_waiting=2)
    assert [ring.run_id for ring in again] == [run.id for run in runs[:3]], "the oldest of the surplus"


@given(
    first=st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(hours=2)),
    attempt=st.integers(1, 60),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_backoff_doubles_within_its_bounds(first: timedelta, attempt: int, jitter: float) -> None:
    delay = runner.backoff(first, attempt, jitter=jitter)
    uncapped = first.total_seconds() * 2.0 ** (attempt - 1)
    middle = min(uncapped, 3600.0)
    assert middle * 0.75 - 1e-5 <= delay.total_seconds() <= middle * 1.25 + 1e-5


def test_retention_deletes_old_families_and_nothing_else(hands: Hands) -> None:
    old = services.enqueue("sample-fan", {"n": 3}).run
    kept = services.enqueue("sample-one").run
    hands.work_off()
    live = services.enqueue("sample-one").run
    boundary = datetime.now(UTC) - timedelta(days=30)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE job_runs SET finished_at = finished_at - interval '31 days' WHERE id = %s OR parent_id = %s",
            [old.id, old.id],
        )
    assert services.prune(ended_before=boundary, limit=10) == 4
    assert services.prune(ended_before=boundary, limit=10) == 0
    assert set(JobRun.objects.values_list("id", flat=True)) == {kept.id, live.id}
    assert JobAttempt.objects.count() == 1


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_step_said_last_is_recorded_with_its_ending(hands: Hands, fails: bool) -> None:
    """A step that takes less than a second has no other write of its own."""
    if fails:
        sample.FAIL_ONCE.add("count")
    run = hands.run(services.enqueue("sample-count", {"n": 3}).run)
    assert (run.progress_done, run.progress_total, run.progress_note) == (3, 3, "3 counted")
    assert run.state == (State.RETRYING if fails else State.SUCCEEDED)
    assert run.result == (None if fails else {"written_at_once": 0})


def test_a_step_that_says_nothing_leaves_what_was_said_before(hands: Hands) -> None:
    run = services.enqueue("sample-one").run
    JobRun.objects.filter(id=run.id).update(progress_done=1, progress_total=2, progress_note="before")
    run = hands.run(run)
    assert (run.progress_done, run.progress_total, run.progress_note) == (1, 2, "before")


def test_a_step_that_is_due_to_say_how_far_it_is_is_stopped_when_it_was_cancelled(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "PROGRESS_EVERY_SECONDS", 0.0)
    run = services.enqueue("sample-count", {"n": 3}).run
    assert hands.run(run).result == {"written_at_once": 3}
    run = services.enqueue("sample-count", {"n": 3}).run
    held = claim(run)
    assert held is not None
    services.cancel(run.id)
    with pytest.raises(RunCancelled):
        context.StepContext(held).progress(1, 3)
