"""A cluster with the platform's tables, made once in a run of the tests and copied for each stack.

Making one takes a processor seven seconds, for initdb and the migrations; a copy a few tenths of one.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from runtime.folder import PROJECT_DIR, DataFolder
from runtime.postgres import PostgresServer

HOME = "QT_TEST_CLUSTER"
"""The variable that names the folder of the original; a drill by itself has none."""


def copy_into(folder: DataFolder) -> bool:
    """Give ``folder`` a copy, if there is to be an original; the first process that asks makes that."""
    named = os.environ.get(HOME)
    if named is None:
        return False
    home = Path(named)
    home.mkdir(mode=0o711, exist_ok=True)
    original, made = DataFolder(home / "data"), home / "made"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(original)
            made.touch()
    shutil.copytree(original.postgres, folder.postgres)
    return True


def _make(original: DataFolder) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
        "QT_TEST_DATA_DIR": str(original.root),
        "QT_TEST_LOGINS": "apart",
    }
    command = [sys.executable, "manage.py", "migrate", "-v0"]
    with PostgresServer(original, durable=False, createdb=True):
        subprocess.run(command, cwd=PROJECT_DIR, env=environment, check=True, timeout=180)
