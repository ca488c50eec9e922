"""The candles of a run: the same from the database and from a file, and a hash that says which they were."""

import gzip
import hashlib
import struct
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tests.backtests.test_config import changed
from trading.backtests import candles
from trading.backtests.config import RunConfig
from trading.backtests.parsing import parse
from trading.marketdata import services as market
from trading.marketdata.files import read_bars
from trading.marketdata.providers import Bar

BUNDLED = Path(market.__file__).parent / "data" / "us_stocks_daily.csv.gz"
EPOCH_NS = 1_325_548_800_000_000_000  # 2012-01-03T00:00:00Z, by `date -u -d 2012-01-03 +%s`


def daily(**fields: object) -> RunConfig:
    return parse(changed(timeframe="1d", **{"start": "2012-01-01", "end": "2012-12-31", "symbol": "AAPL", **fields}))


@pytest.mark.django_db
def test_the_database_and_the_file_give_the_same_bytes() -> None:
    market.store(read_bars(BUNDLED), source="test")
    config = daily(symbol=None, symbols=["MSFT", "AAPL"])
    stored, read = candles.stored(config), candles.from_file(config, BUNDLED)
    assert [series.symbol for series in stored] == ["AAPL", "MSFT"]
    assert candles.data_hash(stored) == candles.data_hash(read)
    assert len(stored[0].time) == 250  # trading days of 2012
    assert stored[0].time[0] == EPOCH_NS
    with gzip.open(BUNDLED, "rt") as text:
        line = next(line for line in text if line.startswith("AAPL,2012-01-03"))
    values = [float(part) for part in line.strip().split(",")[2:]]
    first = stored[0]
    assert [first.open[0], first.high[0], first.low[0], first.close[0], first.volume[0]] == values


def test_the_hash_is_that_of_names_counts_and_columns() -> None:
    series = candles.Series(
        "AAPL",
        np.array([1, 2], dtype=np.int64),
        *(np.array([value, value + 1]) for value in (1.5, 2.5, 0.5, 2.0, 10.0)),
    )
    by_hand = b"AAPL\n2\n" + struct.pack("<2q", 1, 2)
    for value in (1.5, 2.5, 0.5, 2.0, 10.0):
        by_hand += struct.pack("<2d", value, value + 1)
    assert candles.data_hash([series]) == hashlib.sha256(by_hand).hexdigest()
    assert candles.data_hash([series, series]) == hashlib.sha256(by_hand * 2).hexdigest()


@pytest.mark.django_db
def test_a_range_takes_its_first_and_its_last_bar() -> None:
    bars = [
        Bar("X", datetime(2024, 1, day, tzinfo=UTC), *(Decimal(price) for price in (2, 3, 1, 2, 5)))
        for day in (1, 2, 3, 4, 5)
    ]
    market.store(bars, source="test")
    for start, end, days in (
        ("2024-01-02", "2024-01-04", [2, 3, 4]),
        ("2024-01-02", "2024-01-04T00:00:00Z", [2, 3, 4]),
        ("2024-01-01T00:00:00.000001Z", "2024-01-09", [2, 3, 4, 5]),
    ):
        (series,) = candles.stored(daily(symbol="X", start=start, end=end))
        found = [datetime.fromtimestamp(moment / 1e9, UTC).day for moment in series.time]
        assert found == days
    with pytest.raises(
        candles.NoCandles, match=r"2 candles of X .* 3 are the least: import them .manage.py import_candles"
    ):
        candles.stored(daily(symbol="X", start="2024-01-04", end="2024-01-05"))


@pytest.mark.django_db
def test_test_symbols_are_drawn_unless_they_are_stored() -> None:
    config = parse(changed())
    (drawn,) = candles.stored(config)
    assert len(drawn.time) == 2 * 24 * 60
    assert (np.diff(drawn.time) == 60_000_000_000).all()
    assert (drawn.low > 0).all()
    assert (drawn.low <= np.minimum(drawn.open, drawn.close)).all()
    assert (drawn.high >= np.maximum(drawn.open, drawn.close)).all()
    assert candles.data_hash(candles.stored(config)) == candles.data_hash([drawn])
    assert candles.data_hash(candles.stored(parse(changed(symbol="TEST2")))) != candles.data_hash([drawn])
    with pytest.raises(candles.NoCandles):
        candles.stored(parse(changed(symbol="NOPE")))


@pytest.mark.django_db
def test_more_than_a_run_may_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles, "MOST_BARS", 100)
    with pytest.raises(candles.TooManyCandles):
        candles.stored(parse(changed()))
    market.store(read_bars(BUNDLED), source="test")
    with pytest.raises(candles.TooManyCandles):
        candles.stored(daily())
    with pytest.raises(candles.TooManyCandles):
        candles.stored(parse(changed(start="1900-01-01", end="2200-01-01")))
