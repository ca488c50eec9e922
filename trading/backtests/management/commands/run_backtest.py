"""``manage.py run_backtest CONFIG.json``: work a configuration out in this process, without the platform running."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.backtests import commandline
from trading.backtests.commandline import figure
from trading.backtests.parsing import parse
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
        config = commandline.configuration(options["config"], parse)
        work = Work(
            config,
            commandline.reader(config, options["candles"]),
            progress=lambda done, total, note: (
                None if quiet else self.stderr.write(commandline.told(done, total, note))
            ),
        )
        folder: Path | None = options["output_dir"]
        count, made = commandline.sealed(config, work.artifacts, lambda: work.series, folder)
        metrics = work.metrics
        if quiet:
            said = commandline.answer("run_hash", config, made, folder, metrics=metrics, validation=work.judged.summary)
            self.stdout.write(said)
            return
        self.stdout.write(f"{config.strategy.name} on {', '.join(config.traded)}, {metrics['bars']} bars")
        for name in SHOWN:
            self.stdout.write(f"  {name:<14} {figure(metrics[name])}")
        if metrics["untraded"]:
            self.stdout.write(f"  NO TRADES      {metrics['untraded']}")
        if metrics["misannualised"]:
            self.stdout.write(f"  A YEAR         {metrics['misannualised']}")
        for test, said in work.judged.summary.items():
            self.stdout.write(f"  {test:<14} {_verdict(said)}")
        if leak := commandline.leak(config.strategy.name, work.judged.summary.get("lookahead", {})):
            self.stdout.write(leak)
        if recursion := commandline.recursion(work.judged.summary.get("lookahead", {})):
            self.stdout.write(recursion)
        self.stdout.write(f"run {config.run_hash}")
        if folder is not None:
            self.stdout.write(f"{count} files in {folder}; open {folder / 'tearsheet.html'} in a browser")


def _verdict(said: dict[str, Any]) -> str:
    if "not_made" in said:
        return f"not made: {said['not_made']}"
    plain = {name: value for name, value in said.items() if isinstance(value, bool | int | float | str)}
    return ", ".join(f"{name} {figure(value)}" for name, value in plain.items())
