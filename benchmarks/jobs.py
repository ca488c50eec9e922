"""``python -m benchmarks.jobs``: what the ledger costs beside bare Celery, and how soon a run starts.

Everything runs on servers of its own in a temporary folder: the same broker, the same worker command, the same
concurrency, one after the other. Ratios are the result; rates depend on the machine.
"""

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import django
import psycopg
import redis

from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer
from runtime.valkey import ValkeyServer

SECRETS = (
    "SECRET_KEY",
    "JWT_SECRET",
    "ENCRYPTION_KEY",
    "TASK_SIGNING_SECRET",
    "CRON_SECRET",
    "ADMIN_API_KEY",
    "QT_ADMIN_TOKEN",
)
CONCURRENCY = 2


@contextlib.contextmanager
def platform(*, durable: bool = True) -> Iterator[redis.Redis]:
    """A migrated database, which a crash may lose unless it is ``durable``, and an empty broker; its client."""
    with tempfile.TemporaryDirectory(prefix="qt-bench-", ignore_cleanup_errors=True) as folder:
        os.environ.update(
            QT_DATA_DIR=folder,
            DATABASE_URL="",
            REDIS_URL="",
            DJANGO_SETTINGS_MODULE="config.settings.dev",
            QT_JOB_MODULES="benchmarks.sample",
            QT_WORKER_CONCURRENCY=str(CONCURRENCY),
            QT_BULK_CONCURRENCY=str(CONCURRENCY),
            LOG_LEVEL="WARNING",
            QT_RATE_USER="0",  # a caller asks as fast as it can
            QT_RATE_CLIENT="0",
            **{name: secrets.token_urlsafe(48) for name in SECRETS},
        )
        data = DataFolder.from_environment()
        with PostgresServer(data, durable=durable), ValkeyServer(data):
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=PROJECT_DIR, check=True)
            django.setup()
            from django.conf import settings

            yield redis.Redis.from_url(settings.REDIS_URL)


@contextlib.contextmanager
def worker(queues: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as the Procfile starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.worker", queues],
        cwd=PROJECT_DIR,
        env={**os.environ, "LOG_LEVEL": "INFO"},  # as in production: a line for each step is part of the price
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def drain(broker: redis.Redis, count: int) -> float:
    """Messages per second that a fresh worker takes from a bulk queue that holds ``count``, first to last."""
    with worker("bulk"):
        deadline = time.monotonic() + 120
        while int(broker.llen("bulk")) >= count - 20:  # past its start and its first few
            if time.monotonic() > deadline:
                raise SystemExit("The worker has taken nothing for two minutes; run it by hand to see why.")
            time.sleep(0.002)
        began, left = time.monotonic(), int(broker.llen("bulk"))
        while int(broker.llen("bulk")) > 0:
            time.sleep(0.002)
        rate = left / (time.monotonic() - began)
        time.sleep(0.5)  # the last few are still in its processes
        return rate


def throughput(broker: redis.Redis, count: int, rounds: int) -> dict[str, Any]:
    """Runs through the ledger per second over bare messages per second, the two taking turns."""
    from celery import current_app

    from trading.jobs import services
    from trading.jobs.models import JobRun

    bare, ledger = [], []
    for _ in range(rounds):
        for _ in range(count):
            current_app.send_task("bench-bare", args=(secrets.token_hex(16),), queue="bulk", ignore_result=True)
        bare.append(drain(broker, count))
        for _ in range(count):
            services.enqueue("bench-bulk")
        ledger.append(drain(broker, count))
        left = JobRun.objects.exclude(state="succeeded").filter(job="bench-bulk").count()
        if left:
            raise SystemExit(f"{left} runs did not succeed: the figures would mean nothing.")
    ratios = [one / other for one, other in zip(ledger, bare, strict=True)]
    return {
        "bare_celery_per_s": round(statistics.median(bare)),
        "ledger_per_s": round(statistics.median(ledger)),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_each_round": [round(ratio, 3) for ratio in ratios],
    }


def latency(rate: float, seconds: float) -> dict[str, Any]:
    """Milliseconds from commit to the start of the step, at ``rate`` runs a second."""
    from django.db import transaction

    from trading.jobs import services
    from trading.jobs.models import JobAttempt

    committed: dict[Any, float] = {}
    with worker("critical,default"):
        services.enqueue("bench-default")
        while not JobAttempt.objects.filter(run__job="bench-default").exists():
            time.sleep(0.05)
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            at: list[float] = []
            with transaction.atomic():
                transaction.on_commit(partial(lambda kept: kept.append(time.time()), at))
                run = services.enqueue("bench-default").run
            committed[run.id] = at[0]
        time.sleep(1)
        started = dict(
            JobAttempt.objects.filter(run_id__in=committed).values_list("run_id", "started_at").order_by("run_id")
        )
    waits = sorted((started[run_id].timestamp() - at) * 1000 for run_id, at in committed.items())
    return {
        "runs": len(waits),
        "rate_per_s": rate,
        "p50_ms": round(waits[len(waits) // 2], 2),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 2),
        "worst_ms": round(waits[-1], 2),
    }


def pagination(runs: int) -> dict[str, Any]:
    """Milliseconds of `GET /jobs/runs` for the first and the thousandth page of a ledger that holds ``runs``."""
    from django.conf import settings
    from django.test import Client

    server = PostgresServer(DataFolder.from_environment())
    with psycopg.connect(server.url(role="postgres"), autocommit=True) as superuser:
        superuser.execute("TRUNCATE job_runs CASCADE")  # so that both pages hold rows of one kind
        superuser.execute(
            """
            INSERT INTO job_runs (id, job, queue, args, state, steps, step_index, returned, attempt, max_attempts,
                                  timeout, fence, children_pending, progress_done, progress_total, progress_note,
                                  worker, error_type, error_message, trigger, triggered_by, request_id,
                                  created_at, scheduled_at, started_at, finished_at)
            SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid,
                   'bench-' || n %% 7, 'default', '{}', CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'succeeded' END,
                   '{one,two}', 1, '{"one": {"n": 1}}', 1, 5, '5 min', 2, 0, 0, 0, '', '', '', '', 'service', '', '',
                   now(), now(), now(), now()
              FROM generate_series(1, %s) n
            """,
            [runs],
        )
        superuser.execute("VACUUM ANALYZE job_runs")
    client = Client(SERVER_NAME="localhost", headers={"X-Cron-Secret": settings.CRON_SECRET})

    def timed(url: str) -> tuple[float, Any]:
        began = time.perf_counter()
        answer = client.get(url)
        took = (time.perf_counter() - began) * 1000
        if answer.status_code != 200:
            raise SystemExit(f"GET {url} answered {answer.status_code}: {answer.content[:300]!r}")
        return took, answer.json()

    first = "/jobs/runs?limit=50"
    url = first
    for _ in range(999):
        url = timed(url)[1]["next"]
    pairs = [(timed(first)[0], timed(url)[0]) for _ in range(200)]  # in turns, so that both meet the same machine
    one, thousandth = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "runs": runs,
        "first_page_ms": round(one, 2),
        "thousandth_page_ms": round(thousandth, 2),
        "ratio": round(thousandth / one, 3),
    }


def enqueue_cost(requests: int) -> dict[str, Any]:
    """Milliseconds that a request pays for enqueuing: a signed task against the same refused as a replay's twin."""
    from django.conf import settings
    from django.test import Client

    from trading.jobs.signatures import sign

    client = Client(SERVER_NAME="localhost")

    def post(path: str, number: int) -> float:
        body = json.dumps({"args": {}}).encode() + b" " * number  # each has a signature of its own
        now = int(time.time())
        signature = sign(settings.TASK_SIGNING_SECRET[0], timestamp=now, method="POST", path=path, body=body)
        began = time.perf_counter()
        client.post(
            path,
            data=body,
            content_type="application/json",
            headers={"X-Task-Timestamp": str(now), "X-Task-Signature": signature},
        )
        return (time.perf_counter() - began) * 1000

    pairs = [
        (post("/internal/tasks/no-such-job", number), post("/internal/tasks/bench-default", number))
        for number in range(requests)
    ]
    without, enqueuing = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "request_that_does_not_ms": round(without, 2),
        "request_that_enqueues_ms": round(enqueuing, 2),
        "difference_ms": round(enqueuing - without, 2),
    }


def main() -> None:
    """Measure, print, and keep the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="messages per round of the throughput comparison")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=50.0, help="runs per second of the latency measurement")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=1_000_000, help="rows of the ledger for the pages")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    from trading.core.scope import platform_scope

    with platform() as broker, platform_scope():
        figures = {
            "throughput": throughput(broker, options.count, options.rounds),
            "latency": latency(options.rate, options.seconds),
            "enqueue": enqueue_cost(300),
            "pagination": pagination(options.runs),
        }
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
