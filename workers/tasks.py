"""The tasks that Celery knows: one for each job, named by its slug, all with the same body."""

import os
import socket
from typing import Any
from uuid import UUID

import structlog
from celery import Task, signals
from django.db import connections

from trading.core.version import code_version
from trading.jobs import interrupts, runner
from trading.jobs.registry import registry
from workers.celery import app

log = structlog.get_logger("quantum.worker")

INSTANCE = f"{socket.gethostname()}/{os.urandom(4).hex()}"
"""This worker, apart from every other and from the one that had its place before; its processes inherit it."""


class RunStep(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Run the current step of one run. A message that has nothing to do, or comes twice, ends at the claim."""

    ignore_result = True

    def run(self, run_id: str) -> None:
        """Execute the run called ``run_id``; whatever becomes of it is written in the ledger.

        Where that cannot be done, this process may hold a run that nobody works at: it ends, so that the keeper gives
        the run up instead of lengthening its lease.
        """
        try:
            runner.execute(UUID(run_id), worker=INSTANCE, code_version=code_version())
        except Exception:  # whatever it was: a process that went on would keep the run's lease
            log.exception("worker.process_ends", run_id=run_id)
            os._exit(1)


def register() -> None:
    """Make each declared job a task of its slug, so that Flower and the schedule's form show its name."""
    for job in registry:
        if job.slug not in app.tasks:
            app.register_task(type("RunStep", (RunStep,), {"name": job.slug})())


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Celery's own logging set-up stays out of the way: Django's settings have done it."""


@signals.worker_process_init.connect
def _start_process(**_: Any) -> None:
    """A new process has connections of its own, not its parent's, and listens for the keeper's signal."""
    for connection in connections.all(initialized_only=True):
        connection.connection = None
    interrupts.install()
