"""The pool of the web process stays with it: who forks must not share its connections."""

import os
import subprocess
import sys

from runtime.folder import PROJECT_DIR


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, env=told, capture_output=True, text=True, timeout=60
    )


def test_the_web_process_has_a_pool_and_hands_it_to_no_other() -> None:
    done = run(
        "import os, config.asgi\n"
        "from django.conf import settings\n"
        "print('pool' in settings.DATABASES['default']['OPTIONS'], 'QT_DB_POOL' in os.environ)"
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_worker_does_not_start_with_a_pool() -> None:
    done = run("from workers.worker import main; main('default')", QT_DB_POOL="1")
    assert done.returncode == 1
    assert "unset QT_DB_POOL" in done.stderr
    assert "Traceback" not in done.stderr
