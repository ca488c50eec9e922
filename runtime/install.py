"""``python3 runtime/install.py requirements/dev.txt``: the environment in ``.venv``, or in the folder named after it.

Runs on a bare Python 3.11 with nothing but its standard library. uv installs when it can be had, pip otherwise; every
package is checked against its hash. A file that is installed already is not looked at again.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
BOOT = PROJECT / ".boot"


def main(requirements: Path, venv: Path = VENV) -> None:
    """Create the environment if there is none, and install ``requirements`` unless that is done already."""
    python = venv / "bin" / "python"
    if sys.version_info[:2] != (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"Python 3.11 is needed, this is {found}. Install it, or name it: make PYTHON=/path/to/python3.11")
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = venv / f".installed-{requirements.stem}"
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    print(f"Installing {requirements.name} into {venv.name}; only the first time takes long.", flush=True)
    uv = find_uv()
    if not python.exists():
        run(
            [uv, "venv", "--quiet", "--python", sys.executable, str(venv)]
            if uv
            else [sys.executable, "-m", "venv", str(venv)]
        )
    arguments = ["install", "--quiet", "--require-hashes", "-r", str(requirements)]
    # Compiled now, once, rather than by every process that starts; pip does so by itself.
    with_uv = [str(uv), "pip", *arguments, "--compile-bytecode", "--python", str(python)]
    run(with_uv if uv else [str(python), "-m", "pip", *arguments])
    stamp.write_text(digest)


def find_uv() -> str | None:
    """uv from the path, from an earlier run, or fetched with pip into a folder of the project's own."""
    found = shutil.which("uv")
    own = BOOT / "bin" / "uv"
    if found:
        return found
    if not own.exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            str(BOOT),
            "uv",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return None  # no pip here, or no uv in the index: the standard library's venv brings a pip of its own
    return str(own) if own.exists() else None


def run(command: list[str]) -> None:
    """Run one step; when it fails, say which and what to do, and end."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if subprocess.run(command, env=environment).returncode != 0:
        sys.exit(
            f"This step failed: {' '.join(command)}\n"
            "Its own message stands above. Most often the package index cannot be reached, or the disk is full;"
            " run the same make command again when that is mended, or `make clean` first to start afresh."
        )


if __name__ == "__main__":
    main(*(PROJECT / argument for argument in sys.argv[1:3]))
