"""``make lock``: compile requirements/*.in into pinned, hashed files that name no package index."""

import subprocess
import sys

from runtime.folder import PROJECT_DIR
from runtime.install import find_uv


def main() -> None:
    """Compile each file with uv."""
    uv = find_uv()
    if uv is None:
        sys.exit("uv is needed to compile requirements; install it: https://docs.astral.sh/uv/")
    options = ["--quiet", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"]
    for source in sorted((PROJECT_DIR / "requirements").glob("*.in")):
        target = source.with_suffix(".txt")
        done = subprocess.run([uv, "pip", "compile", *options, str(source), "-o", str(target)], cwd=PROJECT_DIR)
        if done.returncode != 0:
            sys.exit(f"{source.name} could not be compiled; uv's message stands above.")
        print(f"{target.name}: written")


if __name__ == "__main__":
    main()
