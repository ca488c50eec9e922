"""Importing candles: all of a file or nothing, and the line that is wrong is named."""

import gzip
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from trading.marketdata.models import Candle

pytestmark = pytest.mark.django_db
HEADER = "symbol,time,open,high,low,close,volume\n"
GOOD = "AAA,2020-01-02,10,12,9,11,1000\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "bars.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "line",
    [
        "AAA,2020-01-03,NaN,12,9,11,1",
        "AAA,2020-01-03,10,Infinity,9,11,1",
        "AAA,2020-01-03,10,12,-9,11,1",
        "AAA,2020-01-03,10,12,9,11,-1",
        "AAA,2020-01-03,10,1e999999,9,11,1",
        "AAA,2020-01-03,10,9,12,11,1",
        "AAA,2020-01-03,10,12,9,11,0.000000001",
        "AAA,2020-01-03,10,12",
        "AAA,yesterday,10,12,9,11,1",
        "AAA,0001-01-01T00:00:00+14:00,10,12,9,11,1",
        "A\x00A,2020-01-03,10,12,9,11,1",
        ",2020-01-03,10,12,9,11,1",
        "AAA,2020-01-03,ten,12,9,11,1",
    ],
)
def test_a_bad_line_is_named_and_nothing_is_kept(tmp_path: Path, line: str) -> None:
    with pytest.raises(CommandError, match="line 3"):
        call_command("import_candles", str(_file(tmp_path, HEADER + GOOD + line + "\n")))
    assert Candle.objects.count() == 0


def test_twice_is_once_also_with_a_mark_and_crlf(tmp_path: Path) -> None:
    path = _file(tmp_path, "\ufeff" + (HEADER + GOOD).replace("\n", "\r\n"))
    for _ in range(2):
        call_command("import_candles", str(path), verbosity=0)
    assert [str(row) for row in Candle.objects.all()] == ["AAA 2020-01-02 00:00 11.00000000"]


@pytest.mark.parametrize("kept", [15, 40])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress((HEADER + GOOD * 3).encode())[:kept])
    with pytest.raises(CommandError, match="line"):
        call_command("import_candles", str(path))
    assert Candle.objects.count() == 0


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="lacks volume"):
        call_command("import_candles", str(_file(tmp_path, HEADER.replace(",volume", "") + GOOD)))
