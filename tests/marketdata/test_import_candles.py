"""Importing candles: all of a file or nothing, and the line that is wrong is named."""

import gzip
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
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


def imported(path: Path, *options: str) -> str:
    out = StringIO()
    call_command("import_candles", str(path), *options, stdout=out)
    return out.getvalue()


def test_a_file_of_one_symbol_as_others_write_them(tmp_path: Path) -> None:
    path = _file(tmp_path, "Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-02T10:00:00+01:00,10,12,9,11,10.5,7\n")
    with pytest.raises(CommandError, match=r"lacks symbol.*--symbol"):
        call_command("import_candles", str(path))
    assert imported(path, "--symbol", "AAA", "--timeframe", "1h") == "1 candles read, 1 new.\n"
    assert imported(path, "--symbol", "AAA", "--timeframe", "1h") == (
        "1 candles read, 0 new; 1 were there already and stay (--replace corrects).\n"
    )
    candle = Candle.objects.get()
    assert (candle.symbol, candle.interval, candle.volume) == ("AAA", "1h", 7)
    assert candle.time.isoformat() == "2020-01-02T09:00:00+00:00"


def test_of_a_file_of_several_only_the_symbol_that_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, HEADER + GOOD + GOOD.replace("AAA", "BBB"))
    assert imported(path, "--symbol", "BBB") == "1 candles read, 1 new.\n"
    assert Candle.objects.get().symbol == "BBB"
    with pytest.raises(CommandError, match="no candle of CCC"):
        call_command("import_candles", str(path), "--symbol", "CCC")


@pytest.mark.parametrize("time", ["1577959200", "1577959200000"])
def test_times_since_1970_are_taken_too(tmp_path: Path, time: str) -> None:
    imported(_file(tmp_path, HEADER + GOOD.replace("2020-01-02", time)))
    assert Candle.objects.get().time.isoformat() == "2020-01-02T10:00:00+00:00"


def test_two_candles_at_one_time_are_named(tmp_path: Path) -> None:
    said = r"line 3: a second candle of AAA at 2020-01-02 00:00; the first: bars.csv, line 2\. Keep one\. Nothing was"
    with pytest.raises(CommandError, match=said):
        call_command("import_candles", str(_file(tmp_path, HEADER + GOOD + GOOD.replace(",11,", ",10,"))))
    assert Candle.objects.count() == 0


def frame(**columns: Any) -> pd.DataFrame:
    times = pd.to_datetime(["2020-01-02", "2020-01-03"])
    return pd.DataFrame({"time": times, "open": [10.0, 11], "high": 12.0, "low": 9.0, "close": 11.1, **columns})


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    frame(volume=[1, 2], close=[10.1 + 0.2, 11.0]).to_parquet(path)
    assert imported(path, "--symbol", "AAA") == "2 candles read, 2 new.\n"
    assert imported(path, "--symbol", "AAA") == (
        "2 candles read, 0 new; 2 were there already and stay (--replace corrects).\n"
    )
    assert [str(row.close) for row in Candle.objects.order_by("time")] == ["10.30000000", "11.00000000"]


def test_a_bad_row_of_parquet_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    for columns, says in (
        ({"volume": [1, -2]}, "row 2: the volume"),
        ({}, "lacks volume"),
        ({"volume": None}, "row 1"),
    ):
        frame(**columns).to_parquet(path)
        with pytest.raises(CommandError, match=says):
            call_command("import_candles", str(path), "--symbol", "AAA")
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(CommandError, match=r"bars\.parquet: "):
        call_command("import_candles", str(path), "--symbol", "AAA")
    assert Candle.objects.count() == 0


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"symbol,time,open,high,low,close,volume\nA\xc3,"])
def test_what_is_no_text_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=r"bars\.csv, after line \d: not text in UTF-8"):
        call_command("import_candles", str(path))


def test_a_market_s_candles_take_the_place_of_made_up_ones(tmp_path: Path) -> None:
    for day, symbol in ((2, "AAA"), (3, "AAA"), (2, "BBB")):
        Candle.objects.create(
            symbol=symbol, time=datetime(2020, 1, day, tzinfo=UTC), open=1, high=1, low=1, close=1, volume=1,
            source="synthetic",
        )  # fmt: skip
    said = StringIO()
    call_command("import_candles", str(_file(tmp_path, HEADER + GOOD)), stdout=said)
    assert said.getvalue() == "1 candles read, 1 new.\n"
    assert list(Candle.objects.order_by("symbol").values_list("symbol", "source", "close")) == [
        ("AAA", "bars.csv", 11),
        ("BBB", "synthetic", 1),
    ]


def test_a_wrong_bar_is_corrected_when_that_is_asked_for(tmp_path: Path) -> None:
    path = _file(tmp_path, HEADER + GOOD)
    assert imported(path) == "1 candles read, 1 new.\n"
    right = GOOD.replace(",11,", ",9.5,")
    path = _file(tmp_path, HEADER + right + right.replace("01-02", "01-03"))
    assert imported(path, "--replace") == "2 candles read, 1 new; 1 replaced what was there.\n"
    assert [str(row) for row in Candle.objects.order_by("time")] == [
        "AAA 2020-01-02 00:00 9.50000000",
        "AAA 2020-01-03 00:00 9.50000000",
    ]


def test_the_day_of_until_is_taken_whole(tmp_path: Path) -> None:
    hours = "".join(
        f"AAA,{time},10,12,9,11,1\n" for time in ("2020-01-02T00:00", "2020-01-02T23:00", "2020-01-03T00:00")
    )
    said = imported(_file(tmp_path, HEADER + hours), "--timeframe", "1h", "--until", "2020-01-02")
    assert said.startswith("2 candles read, 2 new")


def test_a_price_that_is_too_large_is_told_apart_from_one_out_of_order(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"line 2: the high 1000000000000 is not below 1e\+12"):
        imported(_file(tmp_path, HEADER + "AAA,2020-01-02,10,1000000000000,9,11,1\n"))
