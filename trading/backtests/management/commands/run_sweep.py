"""``manage.py run_sweep CONFIG.json``: work a sweep out in this process, without the platform running."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.backtests import commandline
from trading.backtests.commandline import figure
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
        config = commandline.configuration(options["config"], parse)
        work = SweepWork(
            config,
            commandline.reader(config.config, options["candles"]),
            lambda done, total, note: None if quiet else self._told(done, total, note),
        )
        folder: Path | None = options["output_dir"]
        count, made = commandline.sealed(config, lambda: work.artifacts(work.judgement), lambda: work.series, folder)
        summary = work.judgement.summary
        if quiet:
            self.stdout.write(commandline.answer("sweep_hash", config, made, folder, summary=summary))
            return
        self._shown(work, summary)
        self.stdout.write(f"sweep {config.run_hash}")
        if folder is not None:
            self.stdout.write(f"{count} files in {folder}; open {folder / 'heatmap.html'} in a browser")

    def _told(self, done: int, total: int, note: str) -> None:
        if done * 20 // max(total, 1) != (done - 1) * 20 // max(total, 1):
            self.stderr.write(commandline.told(done, total, note))

    def _shown(self, work: SweepWork, summary: dict[str, Any]) -> None:
        base = work.config.config
        self.stdout.write(f"{base.strategy.name} on {', '.join(base.traded)}, {summary['points']} points")
        best = summary["best"]
        if best is None:
            what = summary["objective"].replace("_", " ")
            self.stdout.write(
                f"  no point has a {what}: none traded, nothing varied, or all were ruined; take more bars or values"
            )
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
        alone, rough = best["sharpe_interval"], over.get("pbo_interval")
        self.stdout.write(f"  sharpe within  {figure(alone['low'])} to {figure(alone['high'])} at {alone['level']:.0%}")
        within = f", {figure(rough['low'])} to {figure(rough['high'])} at {rough['level']:.0%}" if rough else ""
        self.stdout.write(f"  pbo            {figure(over.get('pbo', over.get('not_made')))}{within}")
        self.stdout.write(f"  reality check  {figure(above.get('reality_check', above.get('not_made')))}")
        self.stdout.write(f"  spa            {figure(above.get('spa_consistent', above.get('not_made')))}")
        if leak := commandline.leak(base.strategy.name, summary["lookahead"]):
            self.stdout.write(leak)
        self.stdout.write(f"  CONCLUSION     {summary['conclusion']}")
        if recursion := commandline.recursion(summary["lookahead"]):
            self.stdout.write(recursion)
