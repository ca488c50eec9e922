"""The command line of the drill of orders."""

import argparse
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.orders.desks import DESKS

SABOTAGE = ("intent", "asking", "unknown", "care", "fills")


def arguments(argv: list[str]) -> argparse.Namespace:
    """What it says."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.orders", description=__doc__)
    parser.add_argument("--venue", choices=sorted(DESKS), action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=50, help="how often a sender dies at each of its steps")
    parser.add_argument("--steps", type=int, default=None, help="only so many of the steps, drawn from the seed")
    parser.add_argument("--faults", type=int, default=None, help="only so many of the venue's faults; 0: none")
    parser.add_argument("--minutes", type=float, help="kill nobody any more after so long")
    parser.add_argument("--seed", type=int, default=None, help="of the order of deaths; drawn when left out")
    parser.add_argument("--without", choices=SABOTAGE, help="take this out of the code: the drill must fail")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Drill one venue after another; 0 when everything held."""
    options = arguments(argv)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    venues = options.venue or sorted(DESKS)
    if len(venues) > 1:
        return _each(venues, options, seed)
    print(f"{venues[0]}, seed {seed}", flush=True)
    began = time.monotonic()
    report = _drill(venues[0], options, seed)
    report = {"seed": seed, "without": options.without, "whole_seconds": round(time.monotonic() - began, 1), **report}
    for name, value in report.items():
        if name not in ("deaths_by_step", "steps"):
            print(f"  {name:<34} {value if isinstance(value, str) else json.dumps(value)}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    held = not any(report["wrong"].values())
    print("held" if held else "NOT HELD", flush=True)
    return 0 if held else 1


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
    from tests.faults.orders.drill import Drill
    from tests.faults.stack import Stack
    from workers.jobs import discover

    discover()
    try:
        with Stack(DataFolder(folder), seed=seed) as stack:
            stack.migrate()
            drill = Drill(
                stack, desk, seed, options.rounds, options.without, options.steps, options.faults, options.minutes
            )
            return drill.run()
    finally:
        desk.close()


def _each(venues: list[str], options: argparse.Namespace, seed: int) -> int:
    """A process for each venue, one after another: the settings name one."""
    reports, status = [], 0
    for venue in venues:
        report = Path(tempfile.gettempdir()) / f"qt-orders-{secrets.token_hex(4)}.json"
        command = [sys.executable, "-m", "tests.faults.orders", "--venue", venue, "--json", str(report)]
        command += ["--seed", str(seed), "--rounds", str(options.rounds)]
        command += ["--steps", str(options.steps)] if options.steps is not None else []
        command += ["--faults", str(options.faults)] if options.faults is not None else []
        command += ["--minutes", str(options.minutes)] if options.minutes is not None else []
        command += ["--without", options.without] if options.without else []
        status |= subprocess.run(command).returncode
        if report.exists():
            reports.append(json.loads(report.read_text()))
            report.unlink()
    if options.json:
        options.json.write_text(json.dumps(reports, indent=2))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
