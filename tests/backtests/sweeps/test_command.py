"""``run_sweep``: the same bytes as the platform's, from two files alone, and plain words for what is wrong."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.backtests.conftest import Send
from tests.backtests.sweeps.test_sweeps import BODY, FILES, bytes_of, finished
from tests.jobs.conftest import Hands
from trading.backtests.sweeps.config import parse

STOCKS = Path("trading/marketdata/data/us_stocks_daily.csv.gz")
OF_A_FILE = {
    "config": {
        "symbol": "AAPL",
        "timeframe": "1d",
        "start": "2012-01-01",
        "end": "2016-12-31",
        "strategy": {"name": "dual_sma"},
    },
    "parameters": {"fast": [5, 10, 15], "slow": [20, 40]},
}


def swept(folder: Path, body: Any, *options: str) -> str:
    path = folder / "sweep.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    out = StringIO()
    call_command("run_sweep", str(path), *options, stdout=out, stderr=StringIO())
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("queues")
def test_it_leaves_the_bytes_that_the_platform_leaves(ann: Send, tmp_path: Path) -> None:
    said = json.loads(swept(tmp_path, BODY, "--json", "--output-dir", str(tmp_path / "out")))
    assert said["sweep_hash"] == finished(ann, Hands()) == parse(BODY).run_hash
    sealed = ann("GET", f"/sweeps/{said['sweep_hash']}/artifacts").json()
    assert (said["content_hash"], said["manifest_hash"]) == (sealed["content_hash"], sealed["manifest_hash"])
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert written.pop("manifest.json").decode()
    assert written == bytes_of(ann, said["sweep_hash"])


def test_it_works_from_a_file_of_candles_without_a_database(tmp_path: Path) -> None:
    text = swept(tmp_path, OF_A_FILE, "--candles", str(STOCKS), "--output-dir", str(tmp_path / "out"))
    for words in ("dual_sma on AAPL, 6 points", "deflated", "as the best of 6", "pbo", "spa", "heatmap.html"):
        assert words in text
    assert " at 95%\n  pbo " in text
    assert "  CONCLUSION     Do not trade the best as it is." in text
    assert "RECURSION      What it says from bar " in text
    assert "Look-ahead and recursion check" in (tmp_path / "out" / "heatmap.html").read_text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"manifest.json"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "not JSON"),
        ({"config": OF_A_FILE["config"]}, "parameters"),
        ({**OF_A_FILE, "parameters": {"fast": [50], "slow": [20]}}, "fast must be smaller"),
        ({**OF_A_FILE, "config": {**OF_A_FILE["config"], "symbol": "NOPE"}}, "0 candles of NOPE"),  # type: ignore[dict-item]
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, body: Any, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        swept(tmp_path, body, "--candles", str(STOCKS))
    with pytest.raises(CommandError, match="there is no file"):
        call_command("run_sweep", str(tmp_path / "nothing.json"))
