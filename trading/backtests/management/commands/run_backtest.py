"""``manage.py run_backtest CONFIG.json``: work a configuration out in this process, without the platform running."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from trading.backtests import candles, commandline, manifest, services
from trading.backtests.commandline import figure
from trading.backtests.parsing import InvalidConfig, parse
from trading.backtests.work import Work

SHOWN = ("final_equity", "total_return", "cagr", "sharpe", "max_drawdown", "trades", "fees", "slippage")


class Command(BaseCommand):
    """With ``--candles`` nothing but the two files is read; without, the candles of the platform's database are."""

    help = "Work a backtest out and write its artifacts. CONFIG.json is what POST /runs takes."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The configuration, the candles, and where the result goes."""
        commandline.add_arguments(parser, "runs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work it out, say what came out, write what it left."""
        quiet = options["json"]
        try:
            config = parse(commandline.read(options["config"]))
        except InvalidConfig as error:
            raise commandline.refused(options["config"], error) from None
        path: Path | None = options["candles"]
        work = Work(
            config,
            lambda: candles.stored(config) if path is None else candles.from_file(config, path),
            progress=lambda done, total, note: (
                None if quiet else self.stderr.write(commandline.told(done, total, note))
            ),
        )
        try:
            artifacts = work.artifacts()
            what = services.identity(config, work.series)
        except OperationalError as error:
            raise commandline.no_database(error) from None
        except (LookupError, ValueError) as error:
            raise CommandError(str(error)) from None
        sealed = manifest.seal(what, manifest.entries(artifacts), chain_prev=manifest.FIRST_LINK)
        folder: Path | None = options["output_dir"]
        if folder is not None:
            commandline.write(folder, {**artifacts, manifest.NAME: sealed.body})
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
            self.stdout.write(f"  {name:<14} {figure(metrics[name])}")
        if metrics["untraded"]:
            self.stdout.write(f"  NO TRADES      {metrics['untraded']}")
        for test, said in work.judged.summary.items():
            self.stdout.write(f"  {test:<14} {_verdict(said)}")
        if leak := commandline.leak(config.strategy.name, work.judged.summary.get("lookahead", {})):
            self.stdout.write(leak)
        self.stdout.write(f"run {config.run_hash}")
        if folder is not None:
            self.stdout.write(f"{len(artifacts) + 1} files in {folder}; open {folder / 'tearsheet.html'} in a browser")


def _verdict(said: dict[str, Any]) -> str:
    if "not_made" in said:
        return f"not made: {said['not_made']}"
    plain = {name: value for name, value in said.items() if isinstance(value, bool | int | float | str)}
    return ", ".join(f"{name} {figure(value)}" for name, value in plain.items())
