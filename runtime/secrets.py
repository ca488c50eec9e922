"""The secrets that nothing starts without: judged all at once, and generated into ``.env`` for development.

``python -m runtime.secrets`` writes what is missing; it never changes a value that is there.
"""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from runtime.folder import PROJECT_DIR

CRITICAL = (
    "SECRET_KEY",
    "JWT_SECRET",
    "ENCRYPTION_KEY",
    "TASK_SIGNING_SECRET",
    "CRON_SECRET",
    "ADMIN_API_KEY",
    "QT_ADMIN_TOKEN",
)
OPTIONAL = ("SUPABASE_JWT_SECRET",)
"""May be missing; but where they are set, they are as good as the others, and none of them."""
SEVERAL = ("ENCRYPTION_KEY", "TASK_SIGNING_SECRET")
"""May hold more than one value, comma-separated, while they are being changed."""
FLOWER = "FLOWER_BASIC_AUTH"
MIN_LENGTH = 32
MIN_DISTINCT = 10
_EXAMPLE = re.compile(r"change[-_ ]?me|example|insert|replace[-_ ]?me|your[-_ ]|placeholder|django-insecure", re.I)


def problems(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the critical secrets, one line for each, none of which shows a value."""
    names = [*CRITICAL, *(name for name in OPTIONAL if environment.get(name))]
    found = [
        f"{name} {problem}"
        for name in names
        if (problem := _problem(environment.get(name, ""), several=name in SEVERAL)) is not None
    ]
    for name in OPTIONAL:
        shared = [other for other in CRITICAL if environment.get(name) and environment.get(other) == environment[name]]
        if shared:
            found.append(f"{name} is the same as {shared[0]}: whoever signs with one could sign as the other")
    return found


def _problem(text: str, *, several: bool) -> str | None:
    values = [value.strip() for value in text.split(",")] if several else [text]
    if not any(values):
        return "is missing"
    for value in values:
        if len(value) < MIN_LENGTH:
            return f"is too short: {len(value)} characters, at least {MIN_LENGTH} are needed"
        if _EXAMPLE.search(value):
            return "still has an example's value"
        if len(set(value)) < MIN_DISTINCT:
            return "is too easy to guess: hardly any different characters"
    return None


def require(environment: Mapping[str, str]) -> None:
    """End the process when a critical secret is missing or weak, naming every one."""
    found = problems(environment)
    if found:
        lines = "\n".join(f"  - {problem}" for problem in found)
        raise SystemExit(
            f"Quantum Trader does not start with these secrets:\n{lines}\n"
            "For development, `make run` writes good ones into .env (or: python -m runtime.secrets).\n"
            "For a deployment, set each in the environment, for example to the output of: openssl rand -base64 48"
        )


def complete(path: Path, *, at_first: Mapping[str, str] | None = None) -> list[str]:
    """Append a random value to ``path`` for every secret that neither it nor the environment has; their names.

    The file is readable by its owner alone. Values that are there, good or bad, are left as they are. ``at_first`` is
    written too when there is no file yet.
    """
    is_new = not path.exists()
    text = "" if is_new else path.read_text()
    present = set(re.findall(r"^\s*(?:export\s+)?([A-Z_]+)\s*=", text, re.MULTILINE))
    missing = [name for name in (*CRITICAL, FLOWER) if name not in present and not os.environ.get(name)]
    if not missing:
        return []
    lines = [f"{name}={_random(name)}" for name in missing]
    if is_new and at_first:
        lines += [f"{name}={value}" for name, value in at_first.items() if name not in os.environ]
    separator = "" if not text or text.endswith("\n") else "\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + separator + "\n".join(lines) + "\n")
    draft.replace(path)
    return missing


def _random(name: str) -> str:
    value = secrets.token_urlsafe(36)
    return f"admin:{value}" if name == FLOWER else value


def main() -> None:
    """Write what is missing into the project's ``.env`` and say what."""
    written = complete(PROJECT_DIR / ".env")
    print(f"Written to .env: {', '.join(written)}." if written else "Nothing is missing.")


if __name__ == "__main__":
    main()
