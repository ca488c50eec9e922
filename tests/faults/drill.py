"""The fault drill: ``python -m tests.faults.drill --jobs 1000 --seed 7`` (``make drill``), ``--short`` in CI.

Runs jobs of every kind while, by a schedule drawn from the seed, processes are killed and stopped, servers restarted
and emptied, connections cut and messages doubled; then asks the ledger, the effects and the broker's own book whether
all of it came true exactly once. Status 1 when anything did not.
"""

import argparse
import json
import os
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

SABOTAGE = ("claim", "fence", "rescue")


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.drill", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="runs to enqueue; fan-outs add their own")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule and of the jobs; drawn when left out")
    parser.add_argument("--short", action="store_true", help="some 60 s with each kind of fault once or twice")
    parser.add_argument("--without", choices=SABOTAGE, help="take this out of the ledger: the drill must fail")
    parser.add_argument("--json", type=Path, help="write the summary to this file too")
    parser.add_argument("--logs", type=Path, help="copy the processes' logs to this folder when the drill fails")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run one drill; 0 when nothing was violated."""
    options = arguments(argv)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    folder = Path(tempfile.gettempdir()) / f"qt-drill-{secrets.token_hex(4)}"
    faults = ["twice", *([f"without-{options.without}"] if options.without else [])]
    # Before the settings are read: this process is a client of the drill's own servers, as its workers are.
    for name in ("PYTEST_XDIST_WORKER", "DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings.test",
        QT_TEST_DATA_DIR=str(folder),
        QT_TEST_LOGINS="apart",
        QT_JOB_MODULES="tests.faults.jobs",
        DRILL_FAULTS=",".join(faults),
        QUANTUM_TRADER_REFRESH_SECONDS="0",
        QUANTUM_TRADER_EXECUTION_SECONDS="0",
    )
    import django  # after the environment, which the settings are read from

    django.setup()
    from tests.faults.course import Course  # needs the settings
    from trading.core.scope import platform_scope

    folder.mkdir(mode=0o711)
    began = time.monotonic()
    print(f"seed {seed}: python -m tests.faults.drill --jobs {options.jobs} --seed {seed}", flush=True)
    with platform_scope():
        summary = Course(folder, seed=seed, count=options.jobs, short=options.short, logs=options.logs).run()
    summary = {"seed": seed, "without": options.without, "seconds": round(time.monotonic() - began, 1), **summary}
    for name, value in summary.items():
        print(f"  {name:<34} {value if isinstance(value, str) else json.dumps(value)}")
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2))
    violations = summary["violations"]
    print("NOT HELD: " + ", ".join(violations) if violations else "held", flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
