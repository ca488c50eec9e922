"""``python -m benchmarks.tenancy``: what row security and the audit log cost a request that reads and one that writes.

The same requests go through the same process in turns: as they are, and with both taken out, that is over a login
that passes by every policy, with no context said to the server, and with nothing recorded.
"""

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg

from benchmarks.jobs import platform
from runtime.folder import DataFolder
from runtime.postgres import PostgresServer

TENANTS = 20


@contextlib.contextmanager
def taken_out() -> Iterator[None]:
    """Neither row security nor audit."""
    from django.db import connections

    logins = {alias: connections[alias].settings_dict["USER"] for alias in ("default", "operator")}
    connections.close_all()
    for alias in logins:
        connections[alias].settings_dict["USER"] = "postgres"
    try:
        with (
            mock.patch("trading.core.postgres.base._stamp", return_value=None),
            mock.patch("trading.risk.parameters.record", return_value=None),
        ):
            yield
    finally:
        connections.close_all()
        for alias, user in logins.items():
            connections[alias].settings_dict["USER"] = user


def fill(runs: int) -> UUID:
    """Tenants with ``runs`` between them; the first one's id."""
    from trading.tenants.models import Client

    clients = [Client.objects.create(name=f"Bench {number}").id for number in range(TENANTS)]
    server = PostgresServer(DataFolder.from_environment())
    with psycopg.connect(server.url(role="postgres"), autocommit=True) as superuser:
        superuser.execute(
            """
            INSERT INTO job_runs (id, client_id, job, queue, args, state, steps, step_index, returned, attempt,
                                  max_attempts, timeout, fence, children_pending, progress_done, progress_total,
                                  progress_note, worker, error_type, error_message, trigger, triggered_by, request_id,
                                  created_at, scheduled_at, started_at, finished_at)
            SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid,
                   (%s::uuid[])[1 + n %% %s], 'bench', 'default', '{}', 'succeeded', '{one}', 0, '{}', 1, 5, '5 min',
                   1, 0, 0, 0, '', '', '', '', 'service', '', '', now(), now(), now(), now()
              FROM generate_series(1, %s) n
            """,
            [clients, TENANTS, runs],
        )
        superuser.execute("VACUUM ANALYZE job_runs")
    return clients[0]


def compare(ask: Callable[[int], None], *, rounds: int, requests: int) -> dict[str, float]:
    """Median milliseconds of ``ask`` with row security and audit, and without, in rounds that take turns."""
    times: dict[bool, list[float]] = {True: [], False: []}
    number = 0
    for _ in range(rounds):
        for guarded in (True, False):
            with contextlib.nullcontext() if guarded else taken_out():
                for place in range(requests + 10):
                    number += 1
                    began = time.perf_counter()
                    ask(number)
                    if place >= 10:  # past the new connections
                        times[guarded].append((time.perf_counter() - began) * 1000)
    with_both, without = statistics.median(times[True]), statistics.median(times[False])
    return {
        "with_ms": round(with_both, 3),
        "without_ms": round(without, 3),
        "ratio": round(with_both / without, 3),
        "added_ms": round(with_both - without, 3),
    }


def main() -> None:
    """Measure, print, and keep the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help="rows of the table that is read")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=100, help="of each kind in each round")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with platform():
        figures = measure(options)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """A page of runs read, and the client's parameters written, by the client's owner."""
    from django.test import Client as Http

    from trading.core.scope import platform_scope
    from trading.tenants.models import Client, Role, User
    from trading.tenants.tokens import issue_access_token

    with platform_scope():
        key = fill(options.runs)
        owner = User.objects.create_user("bench", client=Client.objects.get(id=key), role=Role.OWNER)
        token = issue_access_token(owner)
    http = Http(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {token}"})

    def read(number: int) -> None:
        answer = http.get("/jobs/runs?limit=50")
        if answer.status_code != 200 or len(answer.json()["results"]) != 50:
            raise SystemExit(f"GET /jobs/runs answered {answer.status_code}: {answer.content[:300]!r}")

    def write(number: int) -> None:
        body = {"risk": {"max_order_size": str(100 + number % 800)}}
        answer = http.post(f"/clients/{key}/agent/parameters", body, content_type="application/json")
        if answer.status_code != 200:
            raise SystemExit(f"POST parameters answered {answer.status_code}: {answer.content[:300]!r}")

    with mock.patch("trading.tenants.throttling.check"):  # a limit of requests is not what is measured
        return {
            "tenants": TENANTS,
            "runs": options.runs,
            "read": compare(read, rounds=options.rounds, requests=options.requests),
            "write": compare(write, rounds=options.rounds, requests=options.requests),
        }


if __name__ == "__main__":
    main()
