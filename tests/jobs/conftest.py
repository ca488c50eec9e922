"""The sample jobs, a client, and a way to work runs off without a worker."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from tests.jobs import sample
from trading.jobs import runner
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.registry import registry
from trading.jobs.states import WAITING
from trading.tenants.models import Client


@pytest.fixture(autouse=True)
def _sample_jobs() -> Iterator[None]:
    for job in sample.JOBS:
        registry.add(job)
    sample.FAIL_ONCE.clear()
    yield
    for job in sample.JOBS:
        registry.remove(job.slug)


@pytest.fixture(autouse=True)
def _queues(transactional_db: None) -> None:
    """A transactional test truncates the rows of the data migration."""
    for name in ("critical", "default", "bulk"):
        JobQueue.objects.get_or_create(name=name)


@pytest.fixture
def client_a() -> Client:
    return Client.objects.create(name="Alpha")


@pytest.fixture
def client_b() -> Client:
    return Client.objects.create(name="Beta")


@dataclass
class Broker:
    """The real broker, seen from outside."""

    server: redis.Redis = field(default_factory=lambda: redis.Redis.from_url(settings.REDIS_URL))

    def messages(self, queue: str = "default") -> int:
        return int(self.server.llen(queue))


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    broker.server.flushdb()
    yield broker
    broker.server.flushdb()
    broker.server.close()


@dataclass
class Hands:
    """Does what a worker's process does, in the test's own."""

    name: str = "test/hands"

    def run(self, run: JobRun | UUID) -> JobRun:
        """One attempt at a run; its row afterwards."""
        run_id = run.id if isinstance(run, JobRun) else run
        runner.execute(run_id, worker=self.name, code_version="test")
        return JobRun.objects.get(id=run_id)

    def work_off(self, limit: int = 200) -> int:
        """Run whatever is on the bell and due until nothing is; how many attempts that took."""
        for attempts in range(limit):
            ready = JobRun.objects.filter(
                state__in=WAITING, rung_at__isnull=False, scheduled_at__lte=Now(), children_pending=0
            ).order_by("id")
            run = ready.first()
            if run is None:
                return attempts
            self.run(run)
        raise AssertionError(f"more than {limit} attempts: something runs for ever")


@pytest.fixture
def hands() -> Hands:
    return Hands()


def make_due(run: JobRun) -> None:
    """Turn the clock for one run: what it waits for is now."""
    JobRun.objects.filter(id=run.id).update(scheduled_at=Now())


def expire_lease(run: JobRun) -> None:
    """What time does to the run of a worker that has died."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE job_runs SET lease_until = now() - interval '1 second' WHERE id = %s", [run.id])
