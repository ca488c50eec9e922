"""The commands: a backtest without the platform, verification, export, and the same bytes wherever they were made."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from runtime.folder import PROJECT_DIR
from tests.backtests.conftest import Send
from tests.backtests.test_candles import BUNDLED
from tests.backtests.test_runs import BODY, FILES, bytes_of, finished
from tests.jobs.conftest import Hands
from trading.backtests import candles, manifest, provenance, services
from trading.backtests.models import Manifest, Run
from trading.backtests.work import Work
from trading.marketdata import services as market
from trading.marketdata.files import read_bars
from trading.tenants.models import Client

CONFIG: dict[str, Any] = {
    "symbols": ["AAPL", "IBM"],
    "timeframe": "1d",
    "start": "2010-01-01",
    "end": "2012-12-31",
    "indicators": [{"name": "sma", "params": {"window": 20}}],
    "strategy": {"name": "dual_sma", "params": {"fast": 5, "slow": 20, "short": True}},
    "risk": {"model": "fixed_fraction", "params": {"fraction": 0.5}},
    "execution": {"fee_bps": 5, "slippage_bps": 2, "borrow_cost_bps": 50},
    "validation": {
        "permutation": {"trials": 60},
        "bootstrap": {"trials": 60},
        "monte_carlo": {"trials": 60, "replacement": True},
        "walk_forward": {"folds": 3},
    },
}


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def told(*arguments: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "runs.csv").read_text().splitlines()))


def in_another_process(config: Path, folder: Path, **environment: str) -> dict[str, Any]:
    """`manage.py run_backtest` where no server can be reached."""
    done = subprocess.run(
        [sys.executable, "manage.py", "run_backtest", config, "--candles", BUNDLED, "--output-dir", folder, "--json"],
        cwd=PROJECT_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "QT_TEST_DATA_DIR": str(folder / "no-server"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_two_processes_without_a_server_leave_the_same_bytes(config: Path, tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    said = [
        in_another_process(config, folder, PYTHONHASHSEED=str(seed), TZ=zone, NUMBA_NUM_THREADS=str(seed))
        for seed, (folder, zone) in enumerate(zip(folders, ("Asia/Tokyo", "America/New_York"), strict=True), start=1)
    ]
    assert said[0]["manifest_hash"] == said[1]["manifest_hash"]
    one, two = ({path.name: path.read_bytes() for path in folder.glob("*.*")} for folder in folders)
    assert set(one) == FILES | {"manifest.json"}
    assert one == two
    sealed = manifest.read(one.pop("manifest.json"))
    assert manifest.compare(sealed, one) == []
    assert said[0]["metrics"] == json.loads(one["metrics.json"])


def test_a_folder_that_cannot_be_written_to_is_named_before_any_work(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work, "artifacts", lambda self: pytest.fail("worked before it looked at the folder"))
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(CommandError, match=r"file.* cannot be written: .* Name another with --output-dir"):
            told("run_backtest", config, candles=BUNDLED, output_dir=folder)


def test_the_command_says_why_nothing_was_traded(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | {"end": "2010-01-15", "validation": {}}))
    said = told("run_backtest", path, candles=BUNDLED)
    assert "NO TRADES      Nothing was traded: dual_sma decides first after 20 bars" in said
    assert "and there are 10." in said
    path.write_text(json.dumps(CONFIG | {"validation": {}}))
    said = told("run_backtest", path, candles=BUNDLED)
    assert "NO TRADES" not in said
    assert "RECURSION      What it says from bar 20 on does not depend on where the data begin" in said


@pytest.mark.parametrize("command", ["run_backtest", "run_sweep"])
def test_days_are_not_run_as_minutes(command: str, tmp_path: Path) -> None:
    config: dict[str, Any] = CONFIG | {"timeframe": "1m", "indicators": [], "validation": {}}
    if command == "run_sweep":
        config = {"config": config, "parameters": {"fast": [5, 6]}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(CommandError, match=r"The candles of AAPL are usually 1 day apart.* have \(1d\)"):
        told(command, path, candles=BUNDLED)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("queues")
def test_the_platform_and_the_command_leave_the_same_bytes(
    config: Path, tmp_path: Path, ann: Send, hands: Hands
) -> None:
    market.store(read_bars(BUNDLED), source="test")
    told("run_backtest", config, candles=BUNDLED, output_dir=tmp_path / "out")
    run_hash = finished(ann, hands, CONFIG)
    alone = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    sealed = manifest.read(alone.pop("manifest.json"))
    assert alone == bytes_of(ann, run_hash)
    assert sealed.content_hash == ann("GET", f"/runs/{run_hash}/artifacts").json()["content_hash"]


LEAKING = """
import numpy as np
from trading.backtests.strategy import Strategy
from trading.quant.parameters import Parameters

class Seer(Parameters):
    pass

def targets(bars, parameters):
    return np.sign(np.diff(bars.close, axis=0, append=bars.close[-1:]))

STRATEGY = Strategy(Seer, targets, lambda parameters: 0)
"""


@pytest.mark.parametrize("command", ["run_backtest", "run_sweep"])
def test_a_leaking_strategy_is_named_on_the_command_line(command: str, tmp_path: Path, settings: Any) -> None:
    settings.QT_STRATEGIES_DIR = str(tmp_path)
    (tmp_path / "seer.py").write_text(LEAKING)
    config: dict[str, Any] = {**CONFIG, "strategy": {"name": "seer"}, "indicators": [], "validation": {}}
    if command == "run_sweep":
        config = {"config": config, "parameters": {"risk.params.fraction": [0.5, 0.9]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = told(command, tmp_path / "config.json", candles=BUNDLED)
    assert "LOOK-AHEAD     seer reads bars that have not happened yet (" in said
    assert "it cannot be promoted" in said


def test_progress_counts_once(config: Path) -> None:
    err = io.StringIO()
    call_command("run_backtest", config, candles=BUNDLED, stdout=io.StringIO(), stderr=err)
    assert "  permutation: 60 of 60 draws\n" in err.getvalue()
    assert "  look-ahead check (0 of 1)\n" in err.getvalue()


@pytest.mark.parametrize("command", [("import_candles", str(BUNDLED)), ("verify_run", "a" * 64), ("export_runs",)])
def test_without_a_database_a_command_says_what_to_do(command: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *command, *([str(tmp_path / "exported")] if len(command) == 1 else [])],
        cwd=PROJECT_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "QT_TEST_DATA_DIR": str(tmp_path / "no-server"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Start it with make run" in done.stderr


def test_what_came_out_is_said_for_people_too(config: Path) -> None:
    said = told("run_backtest", config, candles=BUNDLED)
    assert "dual_sma on AAPL, IBM" in said
    assert "permutation" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "strategy"),
        (json.dumps({**CONFIG, "symbols": ["AAPL", "NOPE"]}), "import_candles"),
        (json.dumps({**CONFIG, "colour": 1}), "colour"),
    ],
)
def test_what_cannot_be_run_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=message):
        told("run_backtest", path, candles=BUNDLED)


def test_candles_that_contradict_themselves_are_named(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "double.csv"
    line = "AAPL,2010-01-04,2,3,1,2,5\n"
    path.write_text(f"symbol,time,open,high,low,close,volume\n{line}{line}{line.replace('AAPL', 'IBM') * 2}")
    with pytest.raises(
        CommandError, match=r"line 3: a second candle of AAPL at 2010-01-04 00:00; the first: double\.csv, line 2"
    ):
        told("run_backtest", config, candles=path)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("queues")
class TestVerify:
    """verify_run."""

    def test_a_sound_run_agrees(self, ann: Send, hands: Hands) -> None:
        run_hash = finished(ann, hands)
        assert "every byte worked out again agree" in told("verify_run", run_hash)
        assert "agree" in told("verify_run", run_hash[:8])

    def test_a_changed_byte_is_found_and_put_back(self, ann: Send, hands: Hands, alpha: Client) -> None:
        run_hash = finished(ann, hands)
        path = services.store().folder(alpha.id, Run.objects.get().id) / "equity.csv"
        content = path.read_bytes()
        path.write_bytes(content[:-2] + b"9\n")
        with pytest.raises(CommandError, match="not what was left"):
            told("verify_run", run_hash)
        assert "put back" in told("verify_run", run_hash, repair=True)
        assert path.read_bytes() == content
        told("verify_run", run_hash)

    @pytest.mark.parametrize("name", ["equity.csv", "manifest.json"])
    def test_a_lost_file_is_found(self, ann: Send, hands: Hands, alpha: Client, name: str) -> None:
        run_hash = finished(ann, hands)
        (services.store().folder(alpha.id, Run.objects.get().id) / name).unlink()
        with pytest.raises(CommandError, match="not what was left"):
            told("verify_run", run_hash)

    def test_a_manifest_rewritten_with_its_hashes_breaks_the_chain(self, ann: Send, hands: Hands) -> None:
        hashes = [finished(ann, hands, {**BODY, "seed": seed}) for seed in (1, 2)]
        first = Manifest.objects.get(position=1)
        old = manifest.read(first.body.encode())
        forged = manifest.seal(old.identity, old.files[:-1], chain_prev=old.chain_prev)
        try:
            Manifest.objects.filter(id=first.id).update(body=forged.body.decode(), manifest_hash=forged.manifest_hash)
        except DatabaseError:
            return  # the database lets nobody change it
        Run.objects.filter(run_hash=hashes[0]).update(manifest_hash=forged.manifest_hash)
        with pytest.raises(CommandError, match="not what was left"):
            told("verify_run", hashes[1])

    def test_other_code_cannot_say(self, ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        run_hash = finished(ann, hands)
        monkeypatch.setattr(provenance, "code_version", lambda: "f" * 64)
        with pytest.raises(CommandError) as said:
            told("verify_run", run_hash)
        assert said.value.returncode == 3

    def test_other_results_are_found(self, ann: Send, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        run_hash = finished(ann, hands)
        run = Run.objects.get()
        monkeypatch.setattr(candles, "data_hash", lambda found: run.data_hash)
        synthetic = candles.synthetic
        monkeypatch.setattr(candles, "synthetic", lambda symbol, config: synthetic("TEST7", config))
        with pytest.raises(CommandError, match="not what was left"):
            told("verify_run", run_hash)

    @pytest.mark.parametrize("run_hash", ["a" * 64, "abc", "zzzzzzzz"])
    def test_a_hash_that_is_none_is_said_to_be(self, run_hash: str) -> None:
        with pytest.raises(CommandError):
            told("verify_run", run_hash)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("queues")
def test_an_export_can_be_verified_by_itself(ann: Send, bob: Send, hands: Hands, tmp_path: Path, alpha: Client) -> None:
    hashes = [finished(ann, hands, {**BODY, "seed": seed}) for seed in (1, 2)]
    finished(bob, hands)
    told("export_runs", tmp_path / "all")
    told("export_runs", tmp_path / "alpha", client="Alpha")
    rows = rows_of(tmp_path / "alpha")
    assert [row["run_hash"] for row in rows] == hashes
    assert len(rows_of(tmp_path / "all")) == 3
    before = manifest.FIRST_LINK
    for line, row in zip(
        (tmp_path / "alpha" / str(alpha.id) / "chain.jsonl").read_bytes().splitlines(), rows, strict=True
    ):
        sealed = manifest.read(line)
        assert sealed.chain_prev == before
        before = sealed.manifest_hash
        folder = tmp_path / "alpha" / str(alpha.id) / row["run_hash"] / row["run"]
        content = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert content.pop("manifest.json") == sealed.body
        assert manifest.compare(sealed, content) == []
    with pytest.raises(CommandError, match="not there"):
        told("export_runs", tmp_path / "all")
    (services.store().folder(alpha.id, Run.objects.filter(client=alpha)[0].id) / "equity.csv").write_bytes(b"")
    with pytest.raises(CommandError, match="Left out"):
        told("export_runs", tmp_path / "again")
