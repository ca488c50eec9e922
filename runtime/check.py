"""``make test``: every check that must pass, one after the other; says at the end which did not."""

import os
import subprocess
import sys
import time
from pathlib import Path

from runtime.folder import PROJECT_DIR

BIN = Path(sys.executable).parent
CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lint", ("ruff", "check", ".")),
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("imports", ("lint-imports",)),
    ("types", ("mypy",)),
    ("migrations", ("python", "manage.py", "makemigrations", "--check", "--dry-run", "-v0")),
    ("kernels", ("python", "-m", "trading.quant.warm")),  # compiled once, rather than by every process of the tests
    ("tests", ("pytest", "-n", str(min(os.cpu_count() or 2, 4)), "--dist", "loadgroup", "-m", "not alone")),
)
HINTS = {
    "lint": "ruff check --fix . mends what can be mended",
    "format": "ruff format . does it",
    "imports": "the contracts and their reasons are in pyproject.toml",
    "migrations": "python manage.py makemigrations, and read the SQL",
}


def main() -> None:
    """Run them all, and fail when one has failed."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
    }
    failed = []
    for name, command in CHECKS:
        began = time.monotonic()
        print(f"--- {name}: {' '.join(command)}", flush=True)
        status = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=PROJECT_DIR, env=environment).returncode
        print(f"--- {name}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        if status != 0:
            failed.append(name)
    for name in failed:
        print(f"FAILED: {name}. {HINTS.get(name, 'Its output stands above.')}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
