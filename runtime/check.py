"""``make test``: every check that must pass; says at the end which did not.

What only reads the sources runs side by side, one on each processor; the tests come after, alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtime.folder import PROJECT_DIR

BIN = Path(sys.executable).parent
Check = tuple[str, tuple[str, ...]]
# The longest first. Kernels are compiled once, rather than by every process of the tests.
BEFORE: tuple[Check, ...] = (
    ("types", ("mypy",)),
    ("kernels", ("python", "-m", "trading.quant.warm")),
    ("imports", ("lint-imports",)),
    ("migrations", ("python", "manage.py", "makemigrations", "--check", "--dry-run", "-v0")),
    ("lint", ("ruff", "check", ".")),
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
)
HINTS = {
    "lint": "ruff check --fix . mends what can be mended",
    "format": "ruff format . does it",
    "imports": "the contracts and their reasons are in pyproject.toml",
    "migrations": "python manage.py makemigrations, and read the SQL",
}


def processors() -> int:
    """How many this process may use: fewer than the machine has where it is pinned."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2


def tests(cores: int) -> Check:
    """The command of the tests, with more processes than processors: many tests wait for others' processes."""
    return "tests", ("pytest", "-n", str(min(2 * cores, 4)), "--dist", "loadgroup", "-m", "not alone")


def run(check: Check, environment: Mapping[str, str], *, together: bool) -> bool:
    """Run one check; whether it passed. Of those that run ``together`` each one's output is held until its end."""
    name, command = check
    began = time.monotonic()
    if not together:
        print(f"--- {name}: {' '.join(command)}", flush=True)
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=PROJECT_DIR,
        env=dict(environment),
        text=True,
        stdout=subprocess.PIPE if together else None,
        stderr=subprocess.STDOUT if together else None,
    )
    passed = done.returncode == 0
    ending = f"--- {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s\n"
    sys.stdout.write(f"--- {name}: {' '.join(command)}\n{done.stdout}{ending}" if together else ending)
    sys.stdout.flush()
    return passed


def failures(checks: Sequence[Check], environment: Mapping[str, str], cores: int) -> list[str]:
    """The names of those that did not pass."""
    with ThreadPoolExecutor(cores) as pool:
        passed = list(pool.map(lambda check: run(check, environment, together=True), checks))
    return [name for (name, _), good in zip(checks, passed, strict=True) if not good]


def main() -> None:
    """Run them all, and fail when one has failed."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
    }
    # Hundreds of processes would each compile the sources anew, where an image of a container sets it.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    cores = processors()
    failed = failures(BEFORE, environment, cores)
    last = tests(cores)
    if not run(last, environment, together=False):
        failed.append(last[0])
    for name in failed:
        print(f"FAILED: {name}. {HINTS.get(name, 'Its output stands above.')}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
