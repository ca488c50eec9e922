"""What ``run_backtest`` and ``run_sweep`` share: reading a configuration, saying what is wrong, writing a folder."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError

from trading.backtests.parsing import InvalidConfig
from trading.core import parsing
from trading.core.errors import ApiError


def add_arguments(parser: CommandParser, what: str) -> None:
    """The configuration, the candles, and where the result goes."""
    parser.add_argument("config", type=existing_file, help=f"the configuration, as POST /{what} takes it")
    parser.add_argument("--candles", type=existing_file, help="a file of candles, as import_candles takes it")
    parser.add_argument("--output-dir", type=Path, help="where to write the artifacts and their manifest")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and no progress")


def existing_file(text: str) -> Path:
    """An argument that names a file."""
    path = Path(text)
    if not path.is_file():
        raise ArgumentTypeError(f"there is no file {text}")
    return path


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ``CommandError``."""
    try:
        return parsing.parse(path.read_bytes())
    except ApiError as error:
        message = "; ".join(str(item["message"]) for item in error.extra.get("errors", [])) or str(error)
        raise CommandError(f"{path}: {message}") from None


def refused(path: Path, error: InvalidConfig) -> CommandError:
    """The file is no configuration."""
    return CommandError(f"{path}: {error}")


def no_database(error: OperationalError) -> CommandError:
    """There are no candles to be had without one."""
    return CommandError(
        f"The database cannot be reached: {str(error).strip()}. Start it with make run, or name a file of candles with"
        " --candles."
    )


def told(done: int, total: int, note: str) -> str:
    """A line of progress; a note that counts for itself is one."""
    return f"  {note}" if f"{done} of {total}" in note else f"  {note} ({done} of {total})"


def leak(strategy: str, said: Mapping[str, Any]) -> str:
    """A line that names a strategy which the look-ahead check has caught; nothing for an honest one."""
    if said.get("honest", True):
        return ""
    first = f" ({said['leaks'][0]})" if said["leaks"] else ""
    return f"  LOOK-AHEAD     {strategy} reads bars that have not happened yet{first}: it cannot be promoted"


def figure(value: Any) -> str:
    """A number as people read it."""
    return "-" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Have each file whole or not at all; raises ``CommandError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            half = folder / f".{name}.half"
            half.write_bytes(content)
            half.replace(folder / name)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}. Name another with --output-dir.") from None
