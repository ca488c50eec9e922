"""``python -m workers.worker QUEUE[,QUEUE...]``: a Celery worker with the settings that the ledger relies on."""

import os
import sys
import warnings

import django
from celery.exceptions import SecurityWarning
from django.conf import settings

from trading.operations import checks
from workers import kernels
from workers.celery import app


def main(queues: str) -> None:
    """Run a worker for ``queues`` (comma-separated) until it is told to stop."""
    django.setup()
    if any("pool" in database.get("OPTIONS", {}) for database in settings.DATABASES.values()):
        sys.exit("A worker's processes are forked and would share the pool's connections: unset QT_DB_POOL.")
    checks.require()
    kernels.prepare()
    app.steps["worker"].add("workers.keeper:Keeper")
    bulk = queues == "bulk"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    configured = settings.QT_BULK_CONCURRENCY if bulk else settings.QT_WORKER_CONCURRENCY
    # Nothing that root could be made to run comes with a message: ids in JSON. In a container root may be all there is.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    arguments = [
        "--quiet",
        "worker",
        f"--hostname={'bulk' if bulk else 'worker'}@%h",
        f"--queues={queues}",
        f"--concurrency={configured or max(1 if bulk else 2, cores // 2)}",
        "--pool=prefork",
        "--without-gossip",
        "--without-mingle",
        "--heartbeat-interval=10",
        "--loglevel=WARNING",
    ]
    if not bulk:
        # Events are for Flower, and cost too much in bulk. No message waits in a busy worker while another is idle;
        # in bulk one may, for throughput, until the keepers ring again.
        arguments += ["--task-events", "--disable-prefetch"]
    app.worker_main(arguments)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("usage: python -m workers.worker QUEUE[,QUEUE...]    for example: critical,default")
    main(sys.argv[1])
