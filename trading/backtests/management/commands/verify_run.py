"""``manage.py verify_run HASH``: is what is stored what the run left, and would it be left again?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.backtests import candles, manifest, selectors, services
from trading.backtests.models import Kind, Run
from trading.backtests.parsing import InvalidConfig, parse
from trading.backtests.sweeps.config import parse as parse_sweep
from trading.backtests.sweeps.work import SweepWork
from trading.backtests.work import Work
from trading.core.scope import tenant_scope

NOT_RECOMPUTED = 3
"""The exit status when what is stored is sound and could not be compared with a new computation."""


class Command(BaseCommand):
    """Checks the chain of every client that has the run, its manifest and artifacts, and works it out again."""

    help = "Verify a finished run: its client's chain, its stored bytes, and those of working it out again."

    def add_arguments(self, parser: CommandParser) -> None:
        """The run, and whether to mend it."""
        parser.add_argument("run_hash", help="the run's hash, or its first characters (8 or more)")
        parser.add_argument("--repair", action="store_true", help="put artifacts back that are lost or changed")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify each run of that hash; fail when one is not what it was."""
        given = str(options["run_hash"]).lower()
        if len(given) < 8 or not set(given) <= set("0123456789abcdef"):
            raise CommandError("A run hash is hexadecimal; give 8 of its characters or more.")
        runs = list(Run.objects.filter(run_hash__startswith=given).exclude(manifest_hash="").order_by("id"))
        if not runs:
            raise CommandError(f"No finished run has a hash that begins with {given}.")
        found = [self._verified(run, repair=options["repair"]) for run in runs]
        if "bad" in found:
            raise CommandError("What is stored is not what was left.")
        if "unknown" in found:
            raise CommandError("Sound, but not worked out again.", returncode=NOT_RECOMPUTED)

    def _verified(self, run: Run, *, repair: bool) -> str:
        self.stdout.write(f"run {run.run_hash} of client {run.client_id}, finished {run.finished_at:%Y-%m-%d %H:%M}")
        faults = [
            f"chain, position {fault.position}: {fault.message}" for fault in selectors.chain_faults(run.client_id)
        ]
        sealed = self._sealed(run, faults)
        if sealed is None:
            return self._told(faults)
        store = services.store()
        stored = store.contents(run.client_id, run.id)
        damaged = manifest.compare(sealed, {name: body for name, body in stored.items() if name != manifest.NAME})
        if stored.get(manifest.NAME) != sealed.body:
            damaged.append(f"{manifest.NAME} is not the one in the chain")
        again = self._again(run)
        if isinstance(again, str):
            self.stdout.write(f"  not worked out again: {again}")
            return self._told(faults + damaged) if faults or damaged else "unknown"
        differing = manifest.compare(sealed, again)
        if damaged and repair and not differing and not faults:
            staged = store.stage(run.id, 0, {**again, manifest.NAME: sealed.body})
            store.publish(staged, run.client_id, run.id)
            self.stdout.write(f"  put back: {'; '.join(damaged)}")
            damaged = []
        return self._told(faults + damaged + [f"worked out again, {fault}" for fault in differing])

    def _sealed(self, run: Run, faults: list[str]) -> manifest.Manifest | None:
        try:
            sealed = selectors.manifest_of(run)
        except manifest.Tampered as error:
            faults.append(str(error))
            return None
        if sealed is None or sealed.manifest_hash != run.manifest_hash:
            faults.append("the run's manifest is not in the chain")
            return None
        return sealed

    def _again(self, run: Run) -> dict[str, bytes] | str:
        """The artifacts, worked out anew; or why they cannot be compared."""
        try:
            with tenant_scope(run.client_id):
                work = _work(run)
                now, then = services.identity(work.config, work.series), services.identity_of(run)
                if now != then:
                    return "; ".join(
                        f"the {name} changed since"
                        for name, one, other in (
                            ("candles", now.data_hash, then.data_hash),
                            ("code", now.code_version, then.code_version),
                            ("pinned packages", now.lock_hash, then.lock_hash),
                            ("defaults", now.run_hash, then.run_hash),
                        )
                        if one != other
                    )
                return work.artifacts() if isinstance(work, Work) else work.artifacts(work.judgement)
        except (InvalidConfig, LookupError, ValueError) as error:
            return str(error)

    def _told(self, faults: list[str]) -> str:
        for fault in faults:
            self.stdout.write(f"  WRONG: {fault}")
        if not faults:
            self.stdout.write("  the chain, every stored byte and every byte worked out again agree")
        return "bad" if faults else "good"


def _work(run: Run) -> Work | SweepWork:
    """The parts of a run or sweep, in memory; raises `InvalidConfig`."""
    if run.kind == Kind.SWEEP:
        sweep = parse_sweep(run.config)
        return SweepWork(sweep, lambda: candles.stored(sweep.config))
    config = parse(run.config)
    return Work(config, lambda: candles.stored(config))
