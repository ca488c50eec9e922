"""What ``run_backtest`` and ``run_sweep`` share: configuration and candles, sealing what came out, writing it."""

import json
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError

from trading.backtests import candles, manifest, services, verdicts
from trading.backtests.candles import Series
from trading.backtests.config import RunConfig
from trading.backtests.parsing import InvalidConfig
from trading.backtests.sweeps.config import SweepConfig
from trading.core import parsing
from trading.core.errors import ApiError

Config = TypeVar("Config", RunConfig, SweepConfig)


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


def configuration(path: Path, parse: Callable[[dict[str, Any]], Config]) -> Config:
    """What ``parse`` makes of the JSON object in a file; raises ``CommandError``."""
    try:
        return parse(read(path))
    except InvalidConfig as error:
        raise CommandError(f"{path}: {error}") from None


def reader(config: RunConfig, path: Path | None) -> Callable[[], Sequence[Series]]:
    """How the candles are read: from the file, or from the platform's database where there is none."""
    return lambda: candles.stored(config) if path is None else candles.from_file(config, path)


def sealed(
    config: RunConfig | SweepConfig,
    artifacts: Callable[[], dict[str, bytes]],
    series: Callable[[], Sequence[Series]],
    folder: Path | None,
) -> tuple[int, manifest.Manifest]:
    """Work the artifacts out and seal them, as the first link of a chain; to ``folder``, if there is one.

    How many files that makes, with the manifest, and the manifest. Raises ``CommandError``, before any work where the
    folder cannot be written to.
    """
    if folder is not None:
        write(folder, {})
    try:
        files = artifacts()
        what = services.identity(config, series())
    except OperationalError as error:
        raise CommandError(
            f"The database cannot be reached: {str(error).strip()}. Start it with make run, or name a file of candles"
            " with --candles."
        ) from None
    except (LookupError, ValueError) as error:
        raise CommandError(str(error)) from None
    made = manifest.seal(what, manifest.entries(files), chain_prev=manifest.FIRST_LINK)
    files[manifest.NAME] = made.body
    if folder is not None:
        write(folder, files)
    return len(files), made


def answer(
    named: str, config: RunConfig | SweepConfig, made: manifest.Manifest, folder: Path | None, **said: Any
) -> str:
    """What ``--json`` prints: the hashes, what came out, and where it was written."""
    hashes = {named: config.run_hash, "content_hash": made.content_hash, "manifest_hash": made.manifest_hash}
    return json.dumps({**hashes, **said, "output_dir": None if folder is None else str(folder)}, indent=2)


def told(done: int, total: int, note: str) -> str:
    """A line of progress; a note that counts for itself is one."""
    return f"  {note}" if f"{done} of {total}" in note else f"  {note} ({done} of {total})"


def leak(strategy: str, said: Mapping[str, Any]) -> str:
    """A line that names a strategy which the look-ahead check has caught; nothing for an honest one."""
    if said.get("honest", True):
        return ""
    first = f" ({said['leaks'][0]})" if said["leaks"] else ""
    return f"  LOOK-AHEAD     {strategy} reads bars that have not happened yet{first}: it cannot be promoted"


def recursion(said: Mapping[str, Any]) -> str:
    """A line on how much of the past a strategy needs; nothing where that was not looked at."""
    return f"  RECURSION      {verdicts.recursion(said)}" if "history" in said else ""


def figure(value: Any) -> str:
    """A number as people read it."""
    return "-" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Have each file whole or not at all; raises ``CommandError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass  # it can be written to
        for name, content in files.items():
            half = folder / f".{name}.half"
            half.write_bytes(content)
            half.replace(folder / name)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}. Name another with --output-dir.") from None
