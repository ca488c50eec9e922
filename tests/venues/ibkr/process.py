"""The gateway as a process of its own, for tests: started, killed, and started again on the same port and ledger."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.venues.ibkr.control import Control

PROJECT = Path(__file__).parents[3]


class GatewayProcess:
    """A running gateway; ``port`` stays the same over restarts."""

    def __init__(self, ledger: Path, *options: str) -> None:
        self._ledger = ledger
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._control: Control | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "tests.venues.ibkr", "--port", str(self.port), "--ledger", str(self._ledger)]
        self._process = subprocess.Popen([*command, *self._options], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        ports = re.findall(r"127\.0\.0\.1:(\d+)", line)
        assert len(ports) == 2, f"it did not start: {line!r}"
        self.port, control = int(ports[0]), int(ports[1])
        self._control = Control(control)

    def do(self, name: str, **values: Any) -> Any:
        """A command of the control port."""
        assert self._control is not None
        return self._control.do(name, **values)

    def fault(self, on: str, kind: str, **values: Any) -> None:
        """Put a fault in wait."""
        self.do("fault", on=on, kind=kind, **values)

    def orders(self, order_ref: str | None = None) -> list[dict[str, Any]]:
        """The ledger's orders, all or those of one reference."""
        found: list[dict[str, Any]] = self.do("orders")
        return [order for order in found if order_ref in (None, order["order_ref"])]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def restart(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and start it on the same port and ledger."""
        self.stop(number)
        self.start()
