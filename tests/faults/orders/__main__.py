"""The command line of the drill of orders."""

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.orders.desks import DESKS
from tests.faults.orders.report import merged, table

SABOTAGE = ("intent", "asking", "unknown", "care", "horizon", "fills")


def arguments(argv: list[str]) -> argparse.Namespace:
    """What it says."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.orders", description=__doc__)
    parser.add_argument("--venue", choices=sorted(DESKS), action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=50, help="how often a sender dies at each of its steps")
    parser.add_argument("--steps", type=int, default=None, help="only so many of the steps, drawn from the seed")
    parser.add_argument("--faults", type=int, default=None, help="only so many of the venue's faults; 0: none")
    parser.add_argument("--lanes", type=int, default=1, help="processes for each venue, which share its rounds")
    parser.add_argument("--at-once", type=int, default=2, help="processes that run at the same time")
    parser.add_argument("--minutes", type=float, help="kill nobody any more after so long")
    parser.add_argument("--seed", type=int, default=None, help="of the order of deaths; drawn when left out")
    parser.add_argument("--without", choices=SABOTAGE, help="take this out of the code: the drill must fail")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Drill one venue after another; 0 when everything held."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server is left behind
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    venues = options.venue or sorted(DESKS)
    if len(venues) > 1 or options.lanes > 1:
        return _each(venues, options, seed)
    print(f"{venues[0]}, seed {seed}", flush=True)
    began = time.monotonic()
    report = _drill(venues[0], options, seed)
    report = {"seed": seed, "without": options.without, "whole_seconds": round(time.monotonic() - began, 1), **report}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    return _tell([report])


def _tell(reports: list[dict[str, Any]]) -> int:
    """Print the table, and what did not hold; 0 when everything did."""
    print(table(reports))
    wrong = {
        f"{one['venue']}: {name}": (count, one["examples"].get(name))
        for one in reports for name, count in one["wrong"].items() if count
    }  # fmt: skip
    for name, (count, examples) in wrong.items():
        print(f"  {name}: {count}, such as {examples}")
    print("NOT HELD" if wrong else "held", flush=True)
    return 1 if wrong else 0


def _drill(venue: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    folder = Path(tempfile.gettempdir()) / f"qt-orders-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    desk = DESKS[venue](folder)
    # Before the settings are read: the drill's processes are forked from this one.
    for name in ("PYTEST_XDIST_WORKER", "DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings.test",
        QT_TEST_DATA_DIR=str(folder),
        QT_TEST_LOGINS="apart",
        USE_MOCK_BROKER="false",
        AUTONOMOUS_ENABLED="true",
        QUANTUM_TRADER_SYMBOLS=",".join(desk.prices),
        QT_MAX_DAILY_LOSS="1000000",  # every fee is a loss, and one client pays thousands
        **desk.settings(),
    )
    import django  # after the environment, which the settings are read from

    django.setup()
    from runtime.folder import DataFolder
    from tests.faults.orders import senders
    from tests.faults.orders.drill import Drill
    from tests.faults.orders.processes import fork
    from tests.faults.stack import Stack
    from workers.jobs import discover

    discover()
    try:
        with Stack(DataFolder(folder), seed=seed) as stack:
            migrated = fork(senders.migrate, folder / "logs" / "migrate.log").wait(180)
            if migrated.status != 0:
                raise RuntimeError((folder / "logs" / "migrate.log").read_text()[-4000:])
            drill = Drill(
                stack, desk, seed, options.rounds, options.without, options.steps, options.faults, options.minutes
            )
            return drill.run()
    finally:
        desk.close()


def _each(venues: list[str], options: argparse.Namespace, seed: int) -> int:
    """A process for each lane of each venue, since the settings name one venue; then all of them as one."""
    waiting = [(venue, lane) for lane in range(options.lanes) for venue in venues]
    running: list[subprocess.Popen[bytes]] = []
    files: dict[str, list[Path]] = {venue: [] for venue in venues}
    try:
        while waiting or running:
            while waiting and len(running) < options.at_once:
                venue, lane = waiting.pop(0)
                files[venue].append(Path(tempfile.gettempdir()) / f"qt-orders-{secrets.token_hex(4)}.json")
                running.append(subprocess.Popen(_lane(venue, lane, options, seed, files[venue][-1])))
            time.sleep(0.2)
            running = [process for process in running if process.poll() is None]
    finally:
        for process in running:
            process.terminate()
            process.wait()
    reports = []
    for venue, written in files.items():
        if not all(file.exists() for file in written):
            print(f"{venue}: a drill ended without a report", flush=True)
            return 1
        reports.append(merged([json.loads(file.read_text()) for file in written]))
        for file in written:
            file.unlink()
    if options.json:
        options.json.write_text(json.dumps(reports, indent=2))
    return _tell(reports)


def _lane(venue: str, lane: int, options: argparse.Namespace, seed: int, report: Path) -> list[str]:
    """The command of one process: its share of the rounds, and the faults in the first lane alone."""
    rounds = len(range(lane, options.rounds, options.lanes))
    values = {
        "--venue": venue, "--json": report, "--seed": seed + lane, "--rounds": rounds, "--steps": options.steps,
        "--faults": options.faults if lane == 0 else 0, "--minutes": options.minutes, "--without": options.without,
    }  # fmt: skip
    named = [[name, str(value)] for name, value in values.items() if value is not None]
    return [sys.executable, "-m", "tests.faults.orders", *(word for pair in named for word in pair)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
