"""The data folder of one installation and the addresses of the servers that live in it."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
MAX_SOCKET_PATH_BYTES = 100  # sun_path holds 108 with its terminator on Linux, 104 on macOS


@dataclass(frozen=True)
class DataFolder:
    """Where one installation keeps its servers' files, sockets and artifacts."""

    root: Path

    @classmethod
    def from_environment(cls) -> "DataFolder":
        """The folder named by ``QT_DATA_DIR``, or ``.data`` in the project."""
        configured = os.environ.get("QT_DATA_DIR", "").strip()
        root = Path(configured).expanduser() if configured else Path(".data")
        return cls((root if root.is_absolute() else PROJECT_DIR / root).resolve())

    @property
    def postgres(self) -> Path:
        """The embedded Postgres cluster."""
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        """The embedded Redis-protocol server's files."""
        return self.root / "valkey"

    @property
    def sockets(self) -> Path:
        """The folder of Unix sockets: inside the data folder, or a short stand-in where that path is too
        long.
        """
        inside = self.root / "run"
        longest = inside / ".s.PGSQL.5432"
        if len(os.fsencode(longest)) <= MAX_SOCKET_PATH_BYTES:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"qt-{digest}"

    @property
    def valkey_socket(self) -> Path:
        """The Unix socket of the embedded Redis-protocol server."""
        return self.sockets / "valkey.sock"
