"""After each connection of a login its account is compared with our books."""

import asyncio
import os

import pytest
from django.db import connections

from trading.brokers.adapters.ibkr.login import IbkrCredentials
from trading.brokers.adapters.ibkr.process import Holder
from trading.jobs.models import JobRun
from trading.tenants.models import Client


@pytest.mark.django_db(transaction=True)
def test_a_login_that_is_connected_has_its_account_compared() -> None:
    client = Client.objects.create(name="Desk")

    async def connected() -> Holder:
        holder = Holder("login", client.id, IbkrCredentials(host="127.0.0.1"), os.getpid())
        holder._have_compared()
        await asyncio.gather(*holder._tasks)
        holder._have_compared()  # while the first waits
        await asyncio.gather(*holder._tasks)
        await asyncio.get_running_loop().run_in_executor(holder._threads, lambda: connections.close_all())
        return holder

    asyncio.run(connected())._threads.shutdown()
    run = JobRun.objects.get()
    assert (run.job, run.client_id, run.triggered_by) == ("order-reconcile", client.id, "connected")
