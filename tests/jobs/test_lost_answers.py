"""Connections that break at the worst moment: after the database has done it, before it could say so."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction

from tests.jobs.conftest import Hands
from trading.core.scope import platform_scope
from trading.jobs import interrupts, ledger, runner, services
from trading.jobs.context import StepContext
from trading.jobs.models import JobAttempt, JobRun
from trading.jobs.outcomes import LeaseLost
from trading.jobs.registry import Job, NoArguments, Step, registry
from trading.jobs.states import Outcome, State

Lose = Callable[[str], None]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lose]:
    """Have the next answer to a statement with these words lost, and its connection with it."""
    words: list[str] = []
    execute = ledger.execute

    def losing(statement: Any, parameters: Mapping[str, Any]) -> list[ledger.Row]:
        rows = execute(statement, parameters)
        if words and words[0] in statement:
            words.clear()
            connection.connection.close()
            raise OperationalError("server closed the connection unexpectedly")
        return rows

    monkeypatch.setattr(ledger, "execute", losing)
    yield words.append
    assert not words, "nothing was lost, so nothing was shown"


def outcomes(run: JobRun) -> list[str]:
    return list(JobAttempt.objects.filter(run=run).order_by("number").values_list("outcome", flat=True))


@pytest.mark.parametrize("words", ["fence = fence + 1", "SET state = %(state)s"])
def test_a_claim_and_an_ending_are_recognised_when_asked_again(hands: Hands, lose: Lose, words: str) -> None:
    run = services.enqueue("sample-one").run
    lose(words)
    assert hands.run(run).state == State.SUCCEEDED
    assert outcomes(run) == [Outcome.SUCCEEDED]


def test_a_join_whose_connection_breaks_counts_the_child_once(hands: Hands, lose: Lose) -> None:
    run = services.enqueue("sample-fan", {"n": 3}).run
    hands.run(run)
    lose("SET children_pending = children_pending - 1")
    hands.work_off()
    run.refresh_from_db()
    assert (run.state, run.result) == (State.SUCCEEDED, {"sum": 3})


def test_only_the_same_process_recognises_a_claim() -> None:
    run = services.enqueue("sample-one").run
    claim = ledger.claim(run.id, worker="test/a", pid=1, code_version="")
    assert claim is not None
    assert ledger.claimed_by(run.id, worker="test/a", pid=1) == claim
    assert ledger.claimed_by(run.id, worker="test/a", pid=2) is None
    assert ledger.claimed_by(run.id, worker="test/b", pid=1) is None


def test_a_fenced_block_that_fails_to_begin_leaves_the_connection_usable() -> None:
    run = services.enqueue("sample-one").run
    claim = ledger.claim(run.id, worker="test/a", pid=1, code_version="")
    assert claim is not None
    info = connection.connection.info
    with psycopg.connect(info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [info.backend_pid])
    with pytest.raises(OperationalError), ledger.fenced(claim):
        raise AssertionError("it must not begin")
    connection.close()
    assert not transaction.get_connection().in_atomic_block
    with ledger.fenced(claim):
        assert JobRun.objects.filter(id=run.id).exists()


def test_a_long_fenced_block_lengthens_the_lease_that_nobody_else_could(monkeypatch: pytest.MonkeyPatch) -> None:
    run = services.enqueue("sample-one").run
    claim = ledger.claim(run.id, worker="test/a", pid=1, code_version="")
    assert claim is not None
    JobRun.objects.filter(id=run.id).update(lease_until=ledger.database_now())
    with ledger.fenced(claim) as _:
        monkeypatch.setattr(ledger.time, "monotonic", lambda: float("inf"))
    assert services.rescue() == []
    assert JobRun.objects.get(id=run.id).state == State.RUNNING


def test_a_claim_that_is_committed_only_after_its_connection_broke_is_recognised(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = services.enqueue("sample-one").run
    execute, cut = ledger.execute, [False]

    def late(statement: Any, parameters: Mapping[str, Any]) -> list[ledger.Row]:
        if statement == ledger._CLAIM and not cut[0]:
            cut[0] = True
            raise OperationalError("server closed the connection unexpectedly")
        if statement == ledger._CLAIM:  # the second waits for the row, which the first one has locked and now commits
            execute(statement, parameters)
        return execute(statement, parameters)

    monkeypatch.setattr(ledger, "execute", late)
    assert hands.run(run).state == State.SUCCEEDED
    assert outcomes(run) == [Outcome.SUCCEEDED]


def test_a_step_that_opens_its_connection_has_opened_no_transaction() -> None:
    connection.close()
    del connections[DEFAULT_DB_ALIAS]
    with runner._leaving_no_transaction():
        assert not JobRun.objects.exists()


def open_a_transaction(ctx: StepContext, args: NoArguments) -> None:
    transaction.set_autocommit(False)


def open_and_fail(ctx: StepContext, args: NoArguments) -> None:
    transaction.set_autocommit(False)
    raise ValueError("in the middle")


def believe_it_lost(ctx: StepContext, args: NoArguments) -> None:
    raise LeaseLost("it looked so")


@pytest.mark.parametrize("step", [open_a_transaction, open_and_fail, believe_it_lost])
def test_a_process_that_lets_go_of_a_run_which_it_holds_has_to_end(
    hands: Hands, step: Callable[[StepContext, NoArguments], None]
) -> None:
    registry.add(Job("sample-lets-go", "Lets go", (Step(step),), NoArguments))
    try:
        run = services.enqueue("sample-lets-go").run
        with pytest.raises(runner.StillHeld):
            hands.run(run)
        connection.close()  # as the end of the process would
        connection.autocommit = True
        with platform_scope():
            assert ledger.claimed_by(run.id, worker=hands.name, pid=os.getpid()) is not None
            assert outcomes(run) == [""], "an ending was written that goes with the transaction"
    finally:
        registry.remove("sample-lets-go")


def test_a_fenced_block_is_left_also_where_its_lease_cannot_be_lengthened(
    lose: Lose, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = services.enqueue("sample-one").run
    claim = ledger.claim(run.id, worker="test/a", pid=1, code_version="")
    assert claim is not None
    lose("clock_timestamp() +")
    with pytest.raises(OperationalError), ledger.fenced(claim):
        monkeypatch.setattr(ledger.time, "monotonic", lambda: float("inf"))
    assert not transaction.get_connection().in_atomic_block


LOCK = 0x5E55


def lock_and_be_stopped(ctx: StepContext, args: NoArguments) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [LOCK])
    raise interrupts.Interrupted  # before what would have unlocked it


def test_an_interrupted_step_leaves_no_lock_to_its_process(hands: Hands) -> None:
    registry.add(Job("sample-stopped", "Is stopped", (Step(lock_and_be_stopped),), NoArguments))
    try:
        run = services.enqueue("sample-stopped").run
        assert hands.run(run).state == State.QUEUED
        assert outcomes(run) == [Outcome.RELEASED]
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [LOCK])
            assert cursor.fetchone() == (0,)
    finally:
        registry.remove("sample-stopped")
