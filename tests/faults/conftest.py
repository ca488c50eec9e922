"""A stack of real servers and workers for the sharp tests, with this process as its client."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from kombu import pools
from pytest_django import DjangoDbBlocker

from tests.faults import jobs
from tests.faults.stack import Stack
from trading.jobs.registry import registry
from workers.celery import app


@pytest.fixture(scope="module")
def stack(django_db_blocker: DjangoDbBlocker) -> Iterator[Stack]:
    """Servers, tables and the broker; each test adds the workers that it needs.

    The test process's own connections are turned to this stack, and back at the end.
    """
    with django_db_blocker.unblock(), Stack.temporary() as stack:
        connection.close()
        before = {"HOST": connection.settings_dict["HOST"], "NAME": connection.settings_dict["NAME"]}
        broker_url = app.conf.broker_url
        redis_url = settings.REDIS_URL
        try:
            connection.settings_dict.update(HOST=str(stack.folder.sockets), NAME="quantum")
            settings.REDIS_URL = stack.valkey.url
            _turn_to(f"redis+socket://{stack.folder.valkey_socket}?virtual_host=0")
            stack.prepare()
            registry.discover(jobs.__name__)
            yield stack
        finally:
            for job in [job for job in registry if job.slug.startswith("drill-")]:
                registry.remove(job.slug)
            connection.close()
            connection.settings_dict.update(before)
            settings.REDIS_URL = redis_url
            _turn_to(broker_url)


def _turn_to(broker_url: str) -> None:
    """Send to another broker from now on."""
    app.conf.broker_url = app.conf.broker_read_url = app.conf.broker_write_url = broker_url
    pools.reset()
    app._pool = app.amqp._producer_pool = None
