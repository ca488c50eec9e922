"""The drill's short form, and that it fails when the ledger is broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.folder import PROJECT_DIR

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("drill")]


@pytest.mark.timeout(200)
def test_the_short_drill_holds(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.drill", "--short", "--jobs", "120", "--seed", "1", "--json", str(report)],
        cwd=PROJECT_DIR,
        env={name: value for name, value in os.environ.items() if name != "QT_TEST_DATA_DIR"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(report.read_text())
    assert summary["runs"] >= 120
    assert sum(summary["faults"].values()) >= 15
    assert summary["attempts_lost"] > 0, "nothing was struck, so nothing was shown"
