"""``python -m benchmarks.sweep``: one sweep on one worker and on two, each on a platform and a data folder of its own.

Every worker is one process of the bulk queue; another works the sweep's own steps. ``parts`` is the time from the first
part's claim to the last one's end, by the ledger's clock, ``whole`` from the submission to the artifacts. One worker
and two take turns, and the median of the turns' ratios counts, since a processor that others use too is not as quick in
one minute as in the next. The manifests of all are compared byte by byte. With ``--kill`` there is one turn, in which
one of the two workers is killed in the middle, and another started.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.jobs import platform, worker
from benchmarks.perf_run import FIRST_DAY, prepare
from runtime.folder import PROJECT_DIR

LONGEST_SECONDS = 600.0
POINTS, BARS, TURNS = 10_000, 10_000, 3
TIMES = ("parts", "whole")
TARGET = 1.8
"""Two workers over one, from the submission to the artifacts."""


def configuration(points: int) -> dict[str, Any]:
    """About ``points`` crossings of averages."""
    side = max(4, round(points**0.5))
    return {
        "config": {
            "symbol": "BENCH",
            "timeframe": "1d",
            "start": FIRST_DAY,
            "end": "2030-12-31",
            "strategy": {"name": "dual_sma"},
            "execution": {"fee_bps": 1},
        },
        "parameters": {
            "fast": {"from": 2, "to": side + 1, "step": 1},
            "slow": {"from": side + 2, "to": 2 * side + 1, "step": 1},
        },
        "blocks": 8,
    }


def machine(workers: int, points: int, bars: int, *, kill: bool) -> dict[str, Any]:
    """Work the sweep out on a platform of its own; how long it took, and its manifest."""
    with platform(), contextlib.ExitStack() as stack:
        os.environ["QT_BULK_CONCURRENCY"] = "1"
        prepare(bars)
        from trading.backtests import services
        from trading.backtests.models import Manifest, Run
        from trading.backtests.sweeps.config import parse
        from trading.core.scope import platform_scope
        from trading.jobs.models import JobAttempt, JobProcess, JobRun
        from trading.tenants.models import Client

        stack.enter_context(platform_scope())
        stack.enter_context(worker("critical,default"))
        hands = [stack.enter_context(worker("bulk")) for _ in range(workers)]
        _until(lambda: JobProcess.objects.filter(kind="worker").count() >= 2)
        time.sleep(5)  # their kernels are loaded
        began = time.monotonic()
        submitted = services.submit(parse(configuration(points)), client_id=Client.objects.get().id)
        if kill:
            parts = JobRun.objects.filter(job="sweep-part", state="succeeded")
            _until(lambda: parts.count() >= 3)
            _kill_one_at_work(hands)
            stack.enter_context(worker("bulk"))
        _until(lambda: Run.objects.get(id=submitted.run.id).manifest_hash != "")
        whole = time.monotonic() - began
        attempts = JobAttempt.objects.filter(run__job="sweep-part").order_by("started_at")
        ends = [attempt.finished_at for attempt in attempts if attempt.finished_at is not None]
        parts_seconds = (max(ends) - attempts[0].started_at).total_seconds()
        used = {attempt.worker for attempt in attempts}
        own = JobAttempt.objects.filter(run_id=Run.objects.get().job_run_id, finished_at__isnull=False)
        parts_count = JobRun.objects.filter(job="sweep-part").count()
        if kill and len(attempts) == parts_count:
            raise SystemExit("The worker that was killed held no part, so nothing was shown: search more points.")
        return {
            "workers": workers,
            "points": (Run.objects.get().metrics or {})["points"],
            "parts": parts_count,
            "attempts": len(attempts),
            "worked": len(used),
            "parts_sec": round(parts_seconds, 3),
            "steps_sec": {step.step: round((step.finished_at - step.started_at).total_seconds(), 3) for step in own},
            "whole_sec": round(whole, 3),
            "manifest": Manifest.objects.get().body,
        }


def _kill_one_at_work(hands: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill a worker that holds a part, its main process first, as if its machine had gone."""
    from trading.jobs.models import JobProcess, JobRun

    by_name = dict(JobProcess.objects.filter(pid__in=[hand.pid for hand in hands]).values_list("name", "pid"))
    working = JobRun.objects.filter(job="sweep-part", state="running", worker__in=by_name, worker_pid__isnull=False)
    held: list[JobRun] = []

    def found() -> bool:
        held[:] = working.order_by("-id")[:1]
        return bool(held)

    _until(found)
    for pid in (by_name[held[0].worker], held[0].worker_pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _until(happened: Any) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise SystemExit("It did not come to its end; look at the ledger's rows.")
        time.sleep(0.05)


def apart(*arguments: str) -> dict[str, Any]:
    """A machine in a process of its own: Django is set up once in each."""
    command = [sys.executable, "-m", "benchmarks.sweep", "--machine", *arguments]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4_000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--bars", type=int, default=BARS)
    parser.add_argument("--turns", type=int, default=TURNS, help="of one worker and two")
    parser.add_argument("--kill", action="store_true", help="kill one of the two workers in the middle")
    parser.add_argument("--machine", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.machine:
        print(json.dumps(machine(options.workers, options.points, options.bars, kill=options.kill)))
        return
    points = ("--points", str(options.points), "--bars", str(options.bars))
    played = [
        (apart("--workers", "1", *points), apart("--workers", "2", *points, *(["--kill"] if options.kill else [])))
        for _ in range(1 if options.kill else options.turns)
    ]
    same = len({machine.pop("manifest") for turn in played for machine in turn}) == 1
    each = {name: [round(one[f"{name}_sec"] / two[f"{name}_sec"], 2) for one, two in played] for name in TIMES}
    ratios = {name: statistics.median(found) for name, found in each.items()}
    milliseconds = round(1e3 * statistics.median(one["parts_sec"] / one["points"] for one, _ in played), 3)
    turns = [{"one": one, "two": two} for one, two in played]
    said = {"bars": options.bars, "turns": turns, "ratios": each, "ratio": ratios, "manifests_equal": same}
    if not options.kill:
        said |= {"ms_a_point": milliseconds, "target": TARGET, "met": ratios["whole"] >= TARGET}
    print(json.dumps(said, indent=2))
    if not same:
        raise SystemExit("The manifests differ.")


if __name__ == "__main__":
    main()
