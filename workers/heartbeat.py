"""``python -m workers.heartbeat``: exits 0 while the file of ``QT_HEARTBEAT_FILE`` is fresh, for health checks."""

import os
import sys
import time
from pathlib import Path

STALE_SECONDS = 45.0


def main() -> None:
    """Say whether the worker or beat beside us is in order."""
    path = os.environ.get("QT_HEARTBEAT_FILE", "")
    if not path:
        sys.exit("QT_HEARTBEAT_FILE is not set, so there is nothing to look at.")
    try:
        silent = time.time() - Path(path).stat().st_mtime
    except FileNotFoundError:
        sys.exit(f"{path} is not there: nothing has reported yet.")
    if silent > STALE_SECONDS:
        sys.exit(f"Nothing has been reported for {silent:.0f} s.")


if __name__ == "__main__":
    main()
