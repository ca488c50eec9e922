"""``manage.py export_runs DIRECTORY``: finished runs with their artifacts and the chain that seals them, as files."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.backtests import manifest, selectors, services, tables
from trading.backtests.models import Manifest, Run
from trading.backtests.tables import Column
from trading.tenants.models import Client

FIGURES = ("final_equity", "total_return", "sharpe", "max_drawdown", "trades")


class Command(BaseCommand):
    """Each artifact is compared with its manifest on the way; a run that is not whole is named and left out."""

    help = "Export finished runs: DIRECTORY/runs.csv, and for each client its chain and a folder for each run."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to, and whose."""
        parser.add_argument("directory", type=Path, help="a folder that does not exist yet")
        parser.add_argument("--client", help="only this client's: its name or id")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write them."""
        directory: Path = options["directory"]
        runs = Run.objects.exclude(manifest_hash="").select_related("client").order_by("client_id", "id")
        if options["client"]:
            runs = runs.filter(client_id=_client_id(options["client"]))
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise CommandError(
                f"{directory} cannot be made: {error.strerror}. Name a folder that is not there."
            ) from None
        written, broken = [], []
        for run in runs.iterator(chunk_size=200):
            try:
                self._write(run, directory)
                written.append(run)
            except manifest.Tampered as error:
                broken.append(f"{run.run_hash}: {error}")
        (directory / "runs.csv").write_bytes(_index(written))
        for client_id in {run.client_id for run in written}:
            with (directory / str(client_id) / "chain.jsonl").open("w") as file:
                for body in (
                    Manifest.objects.filter(client_id=client_id).order_by("position").values_list("body", flat=True)
                ):
                    file.write(body + "\n")
        self.stdout.write(f"{len(written)} runs in {directory}.")
        if broken:
            raise CommandError("Left out, as they are not what was left: " + "; ".join(broken))

    def _write(self, run: Run, directory: Path) -> None:
        sealed = selectors.manifest_of(run)
        if sealed is None:
            raise manifest.Tampered("its manifest is not in the chain")
        folder = directory / str(run.client_id) / run.run_hash / str(run.id)
        folder.mkdir(parents=True)
        for entry in sealed.files:
            with (
                services.store().open(run.client_id, run.id, entry) as source,
                (folder / entry.filename).open("xb") as to,
            ):
                shutil.copyfileobj(source, to)
        (folder / manifest.NAME).write_bytes(sealed.body)


def _client_id(given: str) -> UUID:
    found = Client.objects.filter(name=given).first()
    if found is not None:
        return found.id
    try:
        return Client.objects.get(id=UUID(given)).id
    except (ValueError, Client.DoesNotExist):
        raise CommandError(f"There is no client {given!r}.") from None


def _index(runs: list[Run]) -> bytes:
    plain = {
        "client": [str(run.client_id) for run in runs],
        "run": [str(run.id) for run in runs],
        "kind": [run.kind for run in runs],
        "run_hash": [run.run_hash for run in runs],
        "manifest_hash": [run.manifest_hash for run in runs],
        "strategy": tables.text(str(run.backtest["strategy"]["name"]) for run in runs),
        "symbols": tables.text(" ".join(run.backtest.get("symbols") or [run.backtest["symbol"]]) for run in runs),
        "created_at": [run.created_at.isoformat() for run in runs],
    }
    figures = {name: [json.dumps((run.metrics or {}).get(name)) for run in runs] for name in FIGURES}
    return tables.csv([Column(name, cells, cells) for name, cells in {**plain, **figures}.items()])
