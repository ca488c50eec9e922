"""``python -m benchmarks.perf_run``: from ``POST /runs`` to finished artifacts, as a caller of the API waits for them.

A database, a broker, a worker and a web server of its own, in a temporary folder; 2,000 daily candles in the database.
Each iteration submits another seed, so nothing is reused. ``runs`` is what the caller waits, through queue and
database; ``work`` is what the five steps take of it, by the ledger's own clock. ``first_run`` is what the caller waits
for the first run of a worker that has just started, with the kernels compiled as they are at installation or at the
first start.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file: imports begin at the project's folder, not at this one, which has a statistics.py
    sys.path[0] = str(Path(__file__).parents[1])

import argparse
import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from benchmarks.jobs import platform, worker
from runtime.folder import PROJECT_DIR

BARS = 2_000
TARGETS = {"runs": 0.15, "work": 0.05, "first_run": 1.5}
"""Seconds that the median of each may take."""
POLL_SECONDS = 0.002
LONGEST_SECONDS = 120.0
FIRST_DAY = "1995-01-01"


@contextlib.contextmanager
def web() -> Iterator[int]:
    """A web server as the Procfile starts it; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    address = ("--host", "127.0.0.1", "--port", str(port), "--timeout-keep-alive", "120")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "config.asgi:application", *address],
        cwd=PROJECT_DIR,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


class Caller:
    """One connection to the API, with a token."""

    def __init__(self, port: int, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def until_it_answers(self) -> None:
        """Wait for the server to have started."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while True:
            try:
                self("GET", "/health")
            except OSError:
                if time.monotonic() > deadline:
                    raise
                self._connection.close()
                time.sleep(0.05)
            else:
                return


def configuration(seed: int, trials: int) -> dict[str, Any]:
    """The sample of the API's description, on daily bars."""
    return {
        "symbol": "BENCH",
        "timeframe": "1d",
        "start": FIRST_DAY,
        "end": "2030-12-31",
        "indicators": [{"name": "sma", "params": {"window": 5}}, {"name": "sma", "params": {"window": 15}}],
        "strategy": {"name": "dual_sma", "params": {"fast": 5, "slow": 15}},
        "risk": {"model": "fixed_fraction", "params": {"fraction": 0.1}},
        "execution": {"slippage_bps": 0, "fee_bps": 0, "borrow_cost_bps": 0},
        "validation": {"permutation": {"trials": trials}},
        "seed": seed,
    }


def prepare(bars: int = BARS) -> str:
    """So many daily candles, and a token of somebody who may submit."""
    from datetime import UTC, datetime

    import numpy as np

    from trading.core.scope import platform_scope
    from trading.marketdata import services as market
    from trading.marketdata.providers import Bar
    from trading.tenants.models import Client, Role, User
    from trading.tenants.tokens import issue_access_token

    rng = np.random.Generator(np.random.PCG64(7))
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    begin = datetime.fromisoformat(FIRST_DAY).replace(tzinfo=UTC)

    def bar(day: int) -> Bar:
        close = Decimal(f"{closes[day]:.4f}")
        before = Decimal(f"{closes[max(day - 1, 0)]:.4f}")
        high, low = max(close, before) * Decimal("1.01"), min(close, before) * Decimal("0.99")
        return Bar("BENCH", begin + timedelta(days=day), before, high, low, close, Decimal(1_000_000))

    with platform_scope():
        market.store((bar(day) for day in range(bars)), source="benchmark")
        client = Client.objects.create(name="Benchmark")
        return issue_access_token(User.objects.create_user("bench", client=client, role=Role.TRADER))


def one(call: Caller, seed: int, trials: int) -> tuple[float, float, str]:
    """Seconds to the answer of the submission, seconds to the finished run, and its job run."""
    began = time.perf_counter()
    status, said = call("POST", "/runs", configuration(seed, trials))
    answered = time.perf_counter() - began
    if status != 202:
        raise SystemExit(f"POST /runs answered {status}: {said}")
    while time.perf_counter() - began < LONGEST_SECONDS:
        state, error = state_of(said["job_run_id"])
        if state == "succeeded":
            return answered, time.perf_counter() - began, said["job_run_id"]
        if state in ("failed", "discarded"):
            raise SystemExit(f"The run failed: {error}")
        time.sleep(POLL_SECONDS)
    raise SystemExit("The run did not finish; start a worker by hand to see why.")


def state_of(job_run_id: str) -> tuple[str, str]:
    """The run's state and error, asked of the database: the API would soon say that it is asked too often."""
    from trading.core.scope import platform_scope
    from trading.jobs.models import JobRun

    with platform_scope():
        return JobRun.objects.values_list("state", "error_message").get(id=job_run_id)


def work_of(job_run_id: str) -> float:
    """Seconds between the claim and the recorded end of each of its steps, added up."""
    from trading.core.scope import platform_scope
    from trading.jobs.models import JobAttempt

    with platform_scope():
        attempts = JobAttempt.objects.filter(run_id=job_run_id).values_list("started_at", "finished_at")
        return sum(((end - start).total_seconds() for start, end in attempts if end is not None), 0.0)


def figures(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, median and 95th percentile."""
    ordered = sorted(seconds)
    return {
        "iterations": len(ordered),
        "mean_sec": round(statistics.fmean(ordered), 4),
        "median_sec": round(statistics.median(ordered), 4),
        "p95_sec": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 4),
    }


def fresh(call: Caller, seed: int, trials: int) -> tuple[float, float]:
    """Seconds that a worker takes to start, and those of its first run."""
    from trading.core.scope import platform_scope
    from trading.jobs.models import JobProcess

    began = time.perf_counter()
    with worker("critical,default"):
        with platform_scope():
            while not JobProcess.objects.filter(kind="worker").exists():  # it leaves when it ends
                time.sleep(POLL_SECONDS)
        started = time.perf_counter() - began
        return started, one(call, seed, trials)[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--fresh", type=int, default=3, help="workers whose first run is measured")
    parser.add_argument("--trials", type=int, default=3, help="permutations of each run")
    options = parser.parse_args()
    if options.iterations < 1 or options.fresh < 1:
        parser.error("--iterations and --fresh are at least 1")
    with platform():
        token = prepare()
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "trading.quant.warm"], cwd=PROJECT_DIR, check=True)
        compiled = time.perf_counter() - began
        with web() as port:
            call = Caller(port, token)
            call.until_it_answers()
            call("GET", "/runs")  # its own first request
            starts, firsts = zip(*(fresh(call, seed, options.trials) for seed in range(options.fresh)), strict=True)
        with worker("critical,default"), web() as port:
            call = Caller(port, token)
            call.until_it_answers()
            for seed in range(100, 100 + options.warmup):
                one(call, seed, options.trials)
            seeds = range(1_000, 1_000 + options.iterations)
            measured = [one(call, seed, options.trials) for seed in seeds]
            said: dict[str, Any] = {
                "runs": figures([whole for _, whole, _ in measured]),
                "post": figures([answered for answered, _, _ in measured]),
                "work": figures([work_of(job_run_id) for _, _, job_run_id in measured]),
                "first_run": figures(firsts),
                "worker_start": figures(starts),
                "kernels_sec": round(compiled, 4),
                "bars": BARS,
            }
    said["targets"] = {
        name: {
            "target_sec": target,
            "met": said[name]["median_sec"] <= target,
            "share": round(said[name]["median_sec"] / target, 2),
        }
        for name, target in TARGETS.items()
    }
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
