"""Production code broken on purpose, in the processes of a drill alone: to show that the drill notices.

Two are not of that kind but faults from outside, which the code must bear: messages that come twice, answers lost.

``DRILL_FAULTS`` names what is wrong, separated by commas.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, LiteralString

from celery.concurrency.asynpool import AsynPool
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from trading.jobs import bell, ledger, services
from trading.jobs.ledger import Ring


def without_claim() -> None:
    """A message is enough: whoever gets one runs the step, as a plain Celery task does."""
    condition = "state IN ('queued', 'retrying', 'snoozed') AND rung_at IS NOT NULL\n       AND scheduled_at <= now()"
    _replace("_CLAIM", condition, "state <> 'succeeded'")


def without_fence() -> None:
    """A holder that was replaced while it slept writes all the same."""
    ledger._Fenced.__enter__ = transaction.Atomic.__enter__
    ledger._Fenced.__exit__ = transaction.Atomic.__exit__
    _replace("_FINISH", "AND fence = %(fence)s AND", "AND")


def without_rescue() -> None:
    """What a dead worker held stays with it."""
    services.rescue = list  # type: ignore[assignment]


def twice() -> None:
    """Every message is published twice."""
    once: Callable[[Iterable[Ring]], int] = bell.ring

    def ring(rings: Iterable[Ring]) -> int:
        return once([copy for message in rings for copy in (message, message)])

    bell.ring = ring


LOST_ANSWERS = 0.04


def answers_lost() -> None:
    """The database does what it was told, and the connection breaks before it can say so: claims, endings, commits."""
    rng = random.SystemRandom()  # processes are forked: a seeded one would lose the same answers in all of them
    execute, commit = ledger.execute, BaseDatabaseWrapper._commit

    def lose() -> None:
        if rng.random() < LOST_ANSWERS:
            raise OperationalError("the connection broke before the answer came")

    def losing_execute(statement: LiteralString, parameters: Mapping[str, Any]) -> list[ledger.Row]:
        rows = execute(statement, parameters)
        if statement in (ledger._CLAIM, ledger._FINISH):
            lose()
        return rows

    def losing_commit(self: BaseDatabaseWrapper) -> None:
        commit(self)
        lose()

    ledger.execute = losing_execute
    BaseDatabaseWrapper._commit = losing_commit


def stuck() -> None:
    """The pool says that a process has begun with what it is given, and hands it to none."""

    def apply_async(*_: object, accept_callback: Callable[[int, float], None], **__: object) -> None:
        accept_callback(os.getpid(), time.monotonic())

    AsynPool.apply_async = apply_async


def _replace(statement: str, part: str, other: str) -> None:
    text: str = getattr(ledger, statement)
    if part not in text:
        raise LookupError(f"ledger.{statement} no longer contains {part!r}: bring tests/faults/faulty.py up to date")
    setattr(ledger, statement, text.replace(part, other))


KNOWN = {
    "without-claim": without_claim,
    "without-fence": without_fence,
    "without-rescue": without_rescue,
    "twice": twice,
    "answers-lost": answers_lost,
    "stuck": stuck,
}


def apply(names: str) -> None:
    """Break what ``names`` lists."""
    for name in filter(None, names.split(",")):
        KNOWN[name]()
