"""Which code is running, for the record of every attempt."""

import subprocess
from functools import lru_cache

from django.conf import settings


@lru_cache(maxsize=1)
def code_version() -> str:
    """``QT_CODE_VERSION``, or the version with the commit of the checkout, or the version alone."""
    if settings.QT_CODE_VERSION:
        return str(settings.QT_CODE_VERSION)[:64]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],  # noqa: S607  # the git of PATH
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return str(settings.VERSION)
    return f"{settings.VERSION}+{described.stdout.strip()}"[:64]
