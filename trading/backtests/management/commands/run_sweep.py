"""``manage.py run_sweep CONFIG.json``: work a sweep out in this process, without the platform running."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from trading.backtests import candles, commandline, manifest, services
from trading.backtests.commandline import figure
from trading.backtests.parsing import InvalidConfig
from trading.backtests.sweeps.config import parse
from trading.backtests.sweeps.work import SweepWork

SHOWN = ("sharpe", "total_return", "max_drawdown", "trades")


class Command(BaseCommand):
    """With ``--candles`` nothing but the two files is read; without, the candles of the platform's database are."""

    help = "Work a sweep out and write its artifacts. CONFIG.json is what POST /sweeps takes."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The configuration, the candles, and where the result goes."""
        commandline.add_arguments(parser, "sweeps")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work it out, say what came out and what it is worth, write what it left."""
        quiet = options["json"]
        try:
            config = parse(commandline.read(options["config"]))
        except InvalidConfig as error:
            raise commandline.refused(options["config"], error) from None
        path: Path | None = options["candles"]
        base = config.config
        work = SweepWork(
            config,
            lambda: candles.stored(base) if path is None else candles.from_file(base, path),
            lambda done, total, note: None if quiet else self._told(done, total, note),
        )
        try:
            artifacts = work.artifacts(work.judgement)
            what = services.identity(config, work.series)
        except OperationalError as error:
            raise commandline.no_database(error) from None
        except (LookupError, ValueError) as error:
            raise CommandError(str(error)) from None
        sealed = manifest.seal(what, manifest.entries(artifacts), chain_prev=manifest.FIRST_LINK)
        folder: Path | None = options["output_dir"]
        if folder is not None:
            commandline.write(folder, {**artifacts, manifest.NAME: sealed.body})
        summary = work.judgement.summary
        if quiet:
            said = {
                "sweep_hash": config.run_hash,
                "content_hash": sealed.content_hash,
                "manifest_hash": sealed.manifest_hash,
                "summary": summary,
                "output_dir": None if folder is None else str(folder),
            }
            self.stdout.write(json.dumps(said, indent=2))
            return
        self._shown(work, summary)
        self.stdout.write(f"sweep {config.run_hash}")
        if folder is not None:
            self.stdout.write(f"{len(artifacts) + 1} files in {folder}; open {folder / 'heatmap.html'} in a browser")

    def _told(self, done: int, total: int, note: str) -> None:
        if done * 20 // max(total, 1) != (done - 1) * 20 // max(total, 1):
            self.stderr.write(commandline.told(done, total, note))

    def _shown(self, work: SweepWork, summary: dict[str, Any]) -> None:
        base = work.config.config
        self.stdout.write(f"{base.strategy.name} on {', '.join(base.traded)}, {summary['points']} points")
        best = summary["best"]
        if best is None:
            what = summary["objective"].replace("_", " ")
            self.stdout.write(f"  no point has a {what}: none traded, or all were ruined; take more bars or values")
            return
        self.stdout.write(
            "  best           " + ", ".join(f"{name} {value}" for name, value in best["parameters"].items())
        )
        for name in SHOWN:
            self.stdout.write(f"  {name:<14} {figure(best['metrics'][name])}")
        self.stdout.write(
            f"  deflated       {figure(best['deflated_sharpe'])} chance that its Sharpe ratio is real, as the best of"
            f" {best['trials']} (luck gives {figure(best['sharpe_threshold'])})"
        )
        over, above = summary["overfitting"], summary["superiority"]
        self.stdout.write(f"  pbo            {figure(over.get('pbo', over.get('not_made')))}")
        self.stdout.write(f"  reality check  {figure(above.get('reality_check', above.get('not_made')))}")
        self.stdout.write(f"  spa            {figure(above.get('spa_consistent', above.get('not_made')))}")
        if leak := commandline.leak(base.strategy.name, summary["lookahead"]):
            self.stdout.write(leak)
