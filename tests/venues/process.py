"""A venue's process as a test holds it: start, control, kill, start again on the same ledger and port."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parents[2]


class VenueProcess:
    """``python -m tests.venues.NAME`` and its ports."""

    def __init__(self, name: str, ledger: Path) -> None:
        self._name, self._ledger = name, ledger
        self.port = self.control_port = 0
        self._control = httpx.Client(trust_env=False, timeout=10)
        self.start()

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port that it had before."""
        command = [sys.executable, "-m", f"tests.venues.{self._name}", "--ledger", str(self._ledger)]
        command += ["--port", str(self.port), "--control", str(self.control_port)]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.port, self.control_port = ports["port"], ports["control"]

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def tell(self, control: str, **fields: Any) -> Any:
        """Control it."""
        answer = self._control.post(f"http://127.0.0.1:{self.control_port}{control}", json=fields)
        answer.raise_for_status()
        return answer.json()

    def fault(self, **fields: Any) -> None:
        """Add a fault: the fields of `tests.venues.server.Fault`."""
        self.tell("/faults", **fields)

    def heal(self) -> None:
        """Take all faults back."""
        self._control.delete(f"http://127.0.0.1:{self.control_port}/faults").raise_for_status()

    def ledger(self, sql: str) -> list[dict[str, Any]]:
        """Read its ledger."""
        answer = self._control.get(f"http://127.0.0.1:{self.control_port}/ledger", params={"sql": sql})
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def close(self) -> None:
        """Stop it."""
        self.kill()
        self._control.close()
