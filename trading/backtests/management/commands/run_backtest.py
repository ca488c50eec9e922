"""``manage.py run_backtest CONFIG.json``: work a configuration out in this process, without the platform running."""

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from trading.backtests import candles, manifest, services
from trading.backtests.parsing import InvalidConfig, parse
from trading.backtests.work import Work
from trading.core import parsing
from trading.core.errors import ApiError

SHOWN = ("final_equity", "total_return", "cagr", "sharpe", "max_drawdown", "trades", "fees", "slippage")


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ArgumentTypeError(f"there is no file {text}")
    return path


class Command(BaseCommand):
    """With ``--candles`` nothing but the two files is read; without, the candles of the platform's database are."""

    help = "Work a backtest out and write its artifacts. CONFIG.json is what POST /runs takes."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The configuration, the candles, and where the result goes."""
        parser.add_argument("config", type=_file, help="the configuration, as POST /runs takes it")
        parser.add_argument("--candles", type=_file, help="a file of candles, as import_candles takes it")
        parser.add_argument("--output-dir", type=Path, help="where to write the artifacts and their manifest")
        parser.add_argument("--json", action="store_true", help="print the result as JSON, and no progress")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work it out, say what came out, write what it left."""
        quiet = options["json"]
        try:
            config = parse(parsing.parse(options["config"].read_bytes()))
        except (InvalidConfig, ApiError) as error:
            raise CommandError(f"{options['config']}: {_told(error)}") from None
        path: Path | None = options["candles"]
        work = Work(
            config,
            lambda: candles.stored(config) if path is None else candles.from_file(config, path),
            progress=lambda done, total, note: None if quiet else self.stderr.write(f"  {note} ({done} of {total})"),
        )
        try:
            artifacts = work.artifacts()
            what = services.identity(config, work.series)
        except OperationalError as error:
            raise CommandError(
                f"The database cannot be reached: {str(error).strip()}. Start it with make run, or name a file of"
                " candles with --candles."
            ) from None
        except (LookupError, ValueError) as error:
            raise CommandError(str(error)) from None
        sealed = manifest.seal(what, manifest.entries(artifacts), chain_prev=manifest.FIRST_LINK)
        folder: Path | None = options["output_dir"]
        if folder is not None:
            _write(folder, {**artifacts, manifest.NAME: sealed.body})
        metrics = work.metrics
        if quiet:
            said = {
                "run_hash": config.run_hash,
                "content_hash": sealed.content_hash,
                "manifest_hash": sealed.manifest_hash,
                "metrics": metrics,
                "validation": work.judged.summary,
                "output_dir": None if folder is None else str(folder),
            }
            self.stdout.write(json.dumps(said, indent=2))
            return
        self.stdout.write(f"{config.strategy.name} on {', '.join(config.traded)}, {metrics['bars']} bars")
        for name in SHOWN:
            self.stdout.write(f"  {name:<14} {_figure(metrics[name])}")
        for test, said in work.judged.summary.items():
            self.stdout.write(f"  {test:<14} {_verdict(said)}")
        self.stdout.write(f"run {config.run_hash}")
        if folder is not None:
            self.stdout.write(f"{len(artifacts) + 1} files in {folder}; open {folder / 'tearsheet.html'} in a browser")


def _told(error: InvalidConfig | ApiError) -> str:
    if isinstance(error, InvalidConfig):
        return str(error)
    return "; ".join(str(item["message"]) for item in error.extra.get("errors", [])) or str(error)


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)


def _verdict(said: dict[str, Any]) -> str:
    if "not_made" in said:
        return f"not made: {said['not_made']}"
    plain = {name: value for name, value in said.items() if isinstance(value, bool | int | float | str)}
    return ", ".join(f"{name} {_figure(value)}" for name, value in plain.items())


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            half = folder / f".{name}.half"
            half.write_bytes(content)
            half.replace(folder / name)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}. Name another with --output-dir.") from None
