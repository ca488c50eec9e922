"""Fan-out and join, unique jobs and slots, cancel, the share of each client, rehearsal."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from tests.jobs import sample
from tests.jobs.conftest import Broker, Hands, expire_lease
from trading.core.scope import platform_scope
from trading.jobs import ledger, services
from trading.jobs.models import JobAttempt, JobQueue, JobRun
from trading.jobs.rehearsal import rehearse
from trading.jobs.states import LIVE, Outcome, State
from trading.tenants.models import Client


def in_threads(count: int, call: object) -> list[object]:
    """``call(n)`` for n below ``count``, all let go at the same moment, each on a connection of its own."""
    barrier = threading.Barrier(count)

    @platform_scope()
    def one(number: int) -> object:
        barrier.wait()
        try:
            return call(number)  # type: ignore[operator]
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class TestFanOut:
    def test_the_join_runs_when_all_children_have_ended(self, hands: Hands) -> None:
        run = services.enqueue("sample-fan", {"n": 4}).run
        hands.run(run)
        run.refresh_from_db()
        assert (run.state, run.children_pending, run.progress_total) == (State.SNOOZED, 4, 4)
        assert hands.run(run).state == State.SNOOZED, "it cannot be claimed while it waits"
        hands.work_off()
        run.refresh_from_db()
        assert (run.state, run.result, run.progress_done) == (State.SUCCEEDED, {"sum": 0 + 1 + 2 + 3}, 4)

    def test_none_to_wait_for_goes_straight_on(self, hands: Hands) -> None:
        run = services.enqueue("sample-fan", {"n": 0}).run
        hands.work_off()
        run.refresh_from_db()
        assert (run.state, run.result) == (State.SUCCEEDED, {"sum": 0})

    def test_a_failed_child_fails_the_join_unless_it_allows_that(self, hands: Hands) -> None:
        for slug, expected in (("sample-fan", State.FAILED), ("sample-lenient", State.SUCCEEDED)):
            sample.FAIL_ONCE.add("child")
            run = services.enqueue(slug, {"n": 5}).run
            hands.work_off()
            run.refresh_from_db()
            assert run.state == expected
        assert run.result == {"states": ["succeeded"] * 3 + ["failed", "succeeded"]}

    def test_after_the_child_has_been_retried_the_parent_can_be(self, hands: Hands) -> None:
        sample.FAIL_ONCE.add("child")
        run = services.enqueue("sample-fan", {"n": 5}).run
        hands.work_off()
        failed = run.children.get(state=State.FAILED)
        services.retry(failed.id)
        hands.work_off()
        services.retry(run.id)
        hands.work_off()
        run.refresh_from_db()
        assert (run.state, run.result) == (State.SUCCEEDED, {"sum": 10})

    def test_a_child_retried_while_the_parent_waits_is_waited_for(self, hands: Hands) -> None:
        sample.FAIL_ONCE.add("child")
        run = services.enqueue("sample-fan", {"n": 5}).run
        hands.run(run)
        children = list(run.children.order_by("id"))
        hands.run(children[3])
        services.retry(children[3].id)
        run.refresh_from_db()
        assert run.children_pending == 5
        hands.work_off()
        run.refresh_from_db()
        assert (run.state, run.result) == (State.SUCCEEDED, {"sum": 10})

    def test_children_that_end_at_the_same_moment_are_each_counted(self, hands: Hands) -> None:
        run = services.enqueue("sample-fan", {"n": 12}).run
        hands.run(run)
        children = list(run.children.values_list("id", flat=True))
        in_threads(12, lambda number: Hands(f"test/{number}").run(children[number]).state)
        run.refresh_from_db()
        assert (run.state, run.children_pending) == (State.QUEUED, 0)
        hands.work_off()
        run.refresh_from_db()
        assert run.result == {"sum": sum(range(12))}

    def test_a_poisoned_child_is_counted_too(self, hands: Hands) -> None:
        run = services.enqueue("sample-lenient", {"n": 1}).run
        hands.run(run)
        child = run.children.get()
        JobRun.objects.filter(id=child.id).update(max_attempts=1)
        assert ledger.claim(child.id, worker="test/dies", pid=1, code_version="") is not None
        expire_lease(child)
        services.rescue()
        hands.work_off()
        run.refresh_from_db()
        assert run.result == {"states": ["discarded"]}

    def test_cancelling_the_parent_cancels_its_children(self, hands: Hands) -> None:
        run = services.enqueue("sample-fan", {"n": 3}).run
        hands.run(run)
        services.cancel(run.id)
        assert set(run.children.values_list("state", flat=True)) == {State.CANCELLED}
        assert hands.work_off() == 0

    def test_a_wrong_count_is_mended(self, hands: Hands) -> None:
        run = services.enqueue("sample-fan", {"n": 2}).run
        hands.run(run)
        assert services.mend_joins() == []
        JobRun.objects.filter(id=run.id).update(children_pending=7)
        assert services.mend_joins() == [run.id]
        hands.work_off()
        JobRun.objects.filter(id=run.id).update(state=State.SNOOZED, children_pending=3, finished_at=None, step_index=1)
        assert services.mend_joins() == [run.id]
        run.refresh_from_db()
        assert (run.state, run.children_pending) == (State.QUEUED, 0)


class TestUnique:
    def test_a_live_twin_answers_instead_of_a_second_run(self, hands: Hands) -> None:
        first = services.enqueue("sample-unique", {"n": 1})
        second = services.enqueue("sample-unique", {"n": 1})
        other = services.enqueue("sample-unique", {"n": 2})
        assert (first.created, second.created, other.created) == (True, False, True)
        assert second.run.id == first.run.id
        hands.work_off()
        assert services.enqueue("sample-unique", {"n": 1}).created

    def test_of_many_at_once_one_is_created(self) -> None:
        created = in_threads(8, lambda number: services.enqueue("sample-unique", {"n": 1}).created)
        assert created.count(True) == 1
        assert JobRun.objects.count() == 1

    def test_a_slot_runs_once_even_after_its_run_has_ended(self, hands: Hands) -> None:
        slot = "entry@2026-11-21T09:00:00+00:00"
        first = services.enqueue("sample-one", schedule_slot=slot)
        hands.work_off()
        assert services.enqueue("sample-one", schedule_slot=slot).run.id == first.run.id
        assert JobRun.objects.count() == 1

    def test_retry_respects_a_live_twin(self) -> None:
        run = services.enqueue("sample-unique", {"n": 1}).run
        services.cancel(run.id)
        services.enqueue("sample-unique", {"n": 1})
        with pytest.raises(services.WrongState, match="Another run"):
            services.retry(run.id)


class TestCancel:
    def test_a_waiting_run_is_cancelled_at_once(self, hands: Hands) -> None:
        run = services.enqueue("sample-one").run
        assert services.cancel(run.id).state == State.CANCELLED
        assert hands.run(run).state == State.CANCELLED
        with pytest.raises(services.WrongState, match="was cancelled"):
            services.cancel(run.id)

    def test_a_running_one_is_asked_and_its_next_write_refused(self) -> None:
        run = services.enqueue("sample-one").run
        held = ledger.claim(run.id, worker="test/w", pid=1, code_version="")
        assert held is not None
        assert services.cancel(run.id).state == State.RUNNING
        assert ledger.stop_reason(held) is ledger.Stop.CANCELLED
        with pytest.raises(Exception, match="no longer held"), ledger.fenced(held):
            raise AssertionError("a cancelled attempt must not write")

    def test_a_cancelled_run_whose_worker_died_stays_cancelled(self) -> None:
        run = services.enqueue("sample-one").run
        ledger.claim(run.id, worker="test/w", pid=1, code_version="")
        services.cancel(run.id)
        expire_lease(run)
        services.rescue()
        run.refresh_from_db()
        assert run.state == State.CANCELLED


class TestShares:
    def test_a_client_holds_no_more_than_its_share_and_the_rest_follows(
        self, broker: Broker, client_a: Client, hands: Hands
    ) -> None:
        JobQueue.objects.filter(name="default").update(client_concurrency=2)
        runs = [services.enqueue("sample-client", client_id=client_a.id).run for _ in range(5)]
        assert broker.messages() == 2
        assert JobRun.objects.filter(rung_at__isnull=False).count() == 2
        hands.run(runs[0])
        assert broker.messages() == 3, "the end of one lets the next in"
        assert hands.work_off() == 4
        assert JobRun.objects.filter(state=State.SUCCEEDED).count() == 5

    def test_one_client_s_flood_leaves_another_its_turn(
        self, broker: Broker, client_a: Client, client_b: Client
    ) -> None:
        for _ in range(50):
            services.enqueue("sample-client", client_id=client_a.id)
        late = services.enqueue("sample-client", client_id=client_b.id).run
        assert broker.messages() == 4 + 1
        late.refresh_from_db()
        assert late.rung_at is not None

    def test_the_share_holds_when_all_arrive_and_end_at_once(self, client_a: Client) -> None:
        JobQueue.objects.filter(name="default").update(client_concurrency=3)
        over: list[int] = []

        def enqueue_and_work(number: int) -> None:
            services.enqueue("sample-client", {"n": number}, client_id=client_a.id)
            for run in JobRun.objects.filter(state=State.QUEUED, rung_at__isnull=False)[:2]:
                held = ledger.claim(run.id, worker=f"test/{number}", pid=1, code_version="")
                busy = JobRun.objects.filter(client=client_a, state__in=LIVE, rung_at__isnull=False).count()
                if busy > 3:
                    over.append(busy)
                if held is not None:
                    ending = ledger.Ending(Outcome.SUCCEEDED, State.SUCCEEDED, step_index=0, attempt=1)
                    services.end_attempt(held, ending)

        def repeat(number: int) -> None:
            for _ in range(10):
                enqueue_and_work(number)

        in_threads(8, repeat)
        assert over == []
        assert JobRun.objects.count() == 80


class TestRehearsal:
    def test_it_leaves_nothing_and_leaves_out_what_reaches_outside(self, broker: Broker) -> None:
        said = list(rehearse("sample-writer", {"text": "rehearsed"}, client_id=None))
        assert [(step.step, step.value) for step in said] == [
            ("write-a-row", {"wrote": "rehearsed"}),
            ("reach-out", None),
        ]
        assert "Send something to the world" in said[1].said
        assert JobRun.objects.count() == JobAttempt.objects.count() == 0
        assert JobQueue.objects.get(name="critical").paused_by == ""
        assert broker.messages() == 0

    def test_a_fan_out_is_described(self) -> None:
        said = list(rehearse("sample-fan", {"n": 3}, client_id=None))
        assert said[-1].said == "would start 3 runs of sample-child"


def test_a_retry_of_what_is_unknown_says_so() -> None:
    with pytest.raises(JobRun.DoesNotExist):
        services.retry(uuid4())


def test_far_off_runs_wait_in_the_database(broker: Broker) -> None:
    services.enqueue("sample-one", scheduled_at=datetime.now(UTC) + timedelta(days=40))
    assert services.admit_due() == 0
    assert broker.messages() == 0
