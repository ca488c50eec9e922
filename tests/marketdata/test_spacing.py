"""Whether candles can be bars of their timeframe: calendars that are honest, and lengths that are not."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from trading.marketdata.files import read_bars
from trading.marketdata.models import Candle
from trading.marketdata.spacing import fault

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
BUNDLED = Path(__file__).parents[2] / "trading/marketdata/data/us_stocks_daily.csv.gz"


def said(times: Iterable[datetime], timeframe: str) -> str | None:
    seconds = [int(time.timestamp()) for time in times]
    return fault("AAA", np.array(seconds, dtype=np.int64) * 1_000_000_000, timeframe)


def every(step: timedelta, count: int) -> list[datetime]:
    return [MONDAY + number * step for number in range(count)]


def sessions(opens: Iterable[timedelta], days: int = 30) -> list[datetime]:
    offsets = list(opens)
    return [day + at for day in every(DAY, days) if day.weekday() < 5 for at in offsets]


def in_new_york(step: timedelta, count: int) -> list[datetime]:
    """Midnights there: 23 and 25 hours apart when the clocks change."""
    there = datetime(2024, 1, 1, tzinfo=ZoneInfo("America/New_York"))
    return [(there + number * step).astimezone(UTC) for number in range(count)]


@pytest.mark.parametrize(
    ("times", "timeframe"),
    [
        (sessions([timedelta()]), "1d"),
        (in_new_york(DAY, 400), "1d"),
        (in_new_york(7 * DAY, 60), "1w"),
        ([MONDAY, MONDAY + 8 * DAY, *(MONDAY + week * 7 * DAY for week in range(2, 9))], "1w"),  # a Monday's holiday
        (sessions([9 * HOUR + 30 * MINUTE, *(hour * HOUR for hour in range(10, 16))]), "1h"),  # cut by the clock
        (sessions([9 * HOUR + 30 * MINUTE, 13 * HOUR + 30 * MINUTE]), "4h"),
        (every(MINUTE, 200) + [MONDAY + 20 * DAY + MINUTE * number for number in range(200)], "1m"),  # halted
        ([time for place, time in enumerate(every(MINUTE, 900)) if place % 7 in (0, 1, 3)], "1m"),  # rarely traded
        ([MONDAY], "1d"),
        ([MONDAY, MONDAY + 90 * DAY, MONDAY + 200 * DAY], "1d"),  # too few to say
    ],
)
def test_gaps_and_bars_that_are_cut_short_are_no_fault(times: list[datetime], timeframe: str) -> None:
    assert said(times, timeframe) is None


@pytest.mark.parametrize(
    ("times", "timeframe", "expected"),
    [
        (sessions([timedelta()]), "1m", "1 day apart, which bars of 1m are not: name the timeframe that they have (1d"),
        (every(7 * DAY, 30), "1d", "1 week apart, which bars of 1d are not: name the timeframe that they have (1w)"),
        (every(MINUTE, 30), "1d", "2024-01-01 00:00 and 2024-01-01 00:01 are 1 minute apart, which bars of 1d are not"),
        (every(30 * MINUTE, 30), "1h", "usually 30 minutes apart"),
        (every(5 * MINUTE, 30), "1m", "usually 5 minutes apart"),
        (every(17 * MINUTE, 30), "1m", "name the timeframe that they have"),
        (sorted([*every(DAY, 9), MONDAY + 5 * HOUR]), "1d", "2024-01-01 00:00 and 2024-01-01 05:00 are 5 hours apart"),
    ],
)  # fmt: skip
def test_a_length_that_they_do_not_have_is_named(times: list[datetime], timeframe: str, expected: str) -> None:
    found = said(times, timeframe)
    assert found is not None
    assert expected in found


@pytest.mark.django_db
def test_an_import_says_what_is_wrong_and_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    rows = [f"AAA,{time:%Y-%m-%d},10,12,9,11,1" for time in reversed(sessions([timedelta()]))]
    path.write_text("\n".join(["symbol,time,open,high,low,close,volume", *rows]))
    expected = r"AAA are usually 1 day apart.* \(1d\) with --timeframe\. Nothing was imported"
    with pytest.raises(CommandError, match=expected):
        call_command("import_candles", str(path), "--timeframe", "1m")
    assert not Candle.objects.exists()
    call_command("import_candles", str(path), verbosity=0)
    assert Candle.objects.count() == len(rows)


def test_the_bundled_candles_are_days() -> None:
    times = sorted(bar.time for bar in read_bars(BUNDLED, symbol="AAPL"))
    assert said(times, "1d") is None
    for timeframe in ("1m", "1h", "4h", "1w"):
        assert said(times, timeframe) is not None
