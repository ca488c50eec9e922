"""The drill's short form, and that it fails when the ledger is broken."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.folder import PROJECT_DIR

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("drill")]


def drill(report: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run a short drill: its status, its summary, and what it printed."""
    command = [sys.executable, "-m", "tests.faults.drill", "--short", "--jobs", "120", "--seed", "1"]
    done = subprocess.run(
        [*command, "--json", str(report), *options],
        cwd=PROJECT_DIR,
        env={name: value for name, value in os.environ.items() if name != "QT_TEST_DATA_DIR"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    printed = done.stdout + done.stderr
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}, printed


@pytest.mark.timeout(300)
def test_the_short_drill_holds(tmp_path: Path) -> None:
    status, summary, printed = drill(tmp_path / "report.json")
    assert status == 0, printed
    assert summary["runs"] >= 120
    assert sum(summary["faults"].values()) >= 15
    assert summary["attempts_lost"] > 0, "nothing was struck, so nothing was shown"


@pytest.mark.skipif("DRILL_LONG" not in os.environ, reason="five minutes: set DRILL_LONG=1 to run it")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("part", "violation"),
    [
        ("claim", "attempts at one run at the same time"),
        ("fence", "writes by a holder that was replaced"),
        ("rescue", "runs that did not end"),
    ],
)
def test_the_drill_fails_without_a_part_of_the_ledger(tmp_path: Path, part: str, violation: str) -> None:
    status, summary, printed = drill(tmp_path / "report.json", "--without", part)
    assert status == 1, printed
    assert any(violation in found for found in summary["violations"]), printed
