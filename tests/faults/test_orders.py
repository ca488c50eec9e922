"""The short form of the drill of orders, and that each of its checks can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.folder import PROJECT_DIR

pytestmark = [pytest.mark.faults, pytest.mark.timeout(280)]


def drill(report: Path, venue: str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run it: its status, its report, and what it printed."""
    command = [sys.executable, "-m", "tests.faults.orders", "--venue", venue, "--rounds", "1", "--json", str(report)]
    done = subprocess.run(
        [*command, *options],
        cwd=PROJECT_DIR,
        env={name: value for name, value in os.environ.items() if name != "QT_TEST_DATA_DIR"},
        capture_output=True,
        text=True,
        timeout=270,
    )
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}, done.stdout + done.stderr


@pytest.mark.parametrize("venue", ["binance", "ibkr", "phillip"])
def test_senders_die_and_every_order_is_there_once(tmp_path: Path, venue: str) -> None:
    status, report, printed = drill(tmp_path / "report.json", venue, "--steps", "8", "--faults", "5", "--seed", "7")
    assert status == 0, printed
    assert report["deaths"] >= 8
    assert report["trades"] > 0


@pytest.mark.parametrize(
    ("part", "venue", "options", "violation"),
    [
        ("intent", "binance", ("--rounds", "1", "--faults", "0"), "orders booked twice"),
        ("asking", "phillip", ("--rounds", "1", "--faults", "0"), "orders booked twice"),
        (
            "care",
            "binance",
            ("--rounds", "0", "--faults", "6"),
            "orders sent twice to a venue that does not deduplicate",
        ),
        ("unknown", "phillip", ("--rounds", "0", "--faults", "4"), "orders that were not let through"),
        ("horizon", "phillip", ("--rounds", "0", "--faults", "17"), "orders that were given up and were there"),
        ("fills", "binance", ("--rounds", "0", "--faults", "2"), "fills that are not the venue's"),
    ],
)
@pytest.mark.skipif("DRILL_LONG" not in os.environ, reason="five minutes: set DRILL_LONG=1 to run it")
def test_the_drill_fails_without_a_part_of_the_code(
    tmp_path: Path, part: str, venue: str, options: tuple[str, ...], violation: str
) -> None:
    status, report, printed = drill(tmp_path / "report.json", venue, *options, "--seed", "7", "--without", part)
    assert status == 1, printed
    assert report["wrong"][violation] > 0, printed
