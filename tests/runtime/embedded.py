"""Both embedded servers in a process of its own: ``python -m tests.runtime.embedded FOLDER``, until its input ends."""

import json
import os
import sys
from pathlib import Path

from runtime.folder import DataFolder
from runtime.postgres import PostgresServer
from runtime.valkey import ValkeyServer


def main() -> None:
    """Start them, print who they are, and stop them when there is nothing more to read."""
    folder = DataFolder(Path(sys.argv[1]))
    with PostgresServer(folder, durable=False) as postgres, ValkeyServer(folder) as valkey:
        print(json.dumps({"me": os.geteuid(), "pids": [postgres.pid, valkey.pid]}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
