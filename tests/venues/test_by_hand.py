"""Each venue starts with a port alone, as somebody who tries one would start it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.venues.process import PROJECT


@pytest.mark.parametrize("name", ["binance", "phillip", "ibkr"])
def test_a_port_is_all_that_it_needs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"tests.venues.{name}", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "control" in process.stdout.readline()
        assert (tmp_path / f"{name}.sqlite").exists()
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
