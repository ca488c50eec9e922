"""A supervisor in a process of its own, for tests that signal and kill it: ``python -m tests.runtime.supervised``."""

import json
import os
import sys
from pathlib import Path

from runtime.supervisor import Program, Supervisor


def main() -> None:
    """Run the programs that the file describes until told to stop."""
    path = Path(sys.argv[1])
    told = json.loads(path.read_text())
    programs = [
        Program(name, tuple(argv), dict(os.environ), Path(heartbeat) if heartbeat else None)
        for name, argv, heartbeat in told["programs"]
    ]
    supervisor = Supervisor(programs, path.parent / "logs", path.parent, told["hung_after"], told["stop_seconds"])
    supervisor.run()
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
