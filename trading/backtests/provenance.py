"""What a run's result depends on beside its configuration and its candles: the code, and the packages that it uses."""

import hashlib
from functools import lru_cache
from pathlib import Path

from django.conf import settings

SOURCES = ("trading/quant", "trading/backtests")


@lru_cache(maxsize=1)
def code_version() -> str:
    """The SHA-256 of every source that can change a result.

    A commit's name would be the same for two uncommitted changes, and another for a change of the README.
    """
    found = hashlib.sha256()
    for source in SOURCES:
        for path in sorted((settings.BASE_DIR / source).rglob("*.py")):
            found.update(path.relative_to(settings.BASE_DIR).as_posix().encode() + b"\0")
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


@lru_cache(maxsize=1)
def lock_hash() -> str:
    """The SHA-256 of the file that pins every package."""
    path: Path = settings.BASE_DIR / "requirements" / "base.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest()
