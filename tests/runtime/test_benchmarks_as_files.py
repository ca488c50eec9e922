"""Benchmarks that people run by their path, as well as by ``python -m``, from any folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.folder import PROJECT_DIR


def ran(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(PROJECT_DIR / "benchmarks" / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_risk_and_slippage_models_by_their_keys(tmp_path: Path) -> None:
    models = ("--risk-models", "fixed_fraction,kelly_fraction", "--slippage", "none,spread_pct")
    found = json.loads(ran("risk_slippage.py", tmp_path, "--iterations", "2", "--bars", "50", *models))
    assert set(found) == {"risk:fixed_fraction", "risk:kelly_fraction", "slippage:none", "slippage:spread_pct"}


@pytest.mark.parametrize(("name", "option"), [("perf_run.py", "--warmup"), ("backtests.py", "--pairs")])
def test_the_others_begin(name: str, option: str, tmp_path: Path) -> None:
    assert option in ran(name, tmp_path, "--help")
