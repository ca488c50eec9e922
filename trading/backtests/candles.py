"""The candles of a run, read in one go, and their hash."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, LiteralString, cast

import numpy as np
import numpy.typing as npt
import psycopg
from django.db import connection

from trading.backtests.config import RunConfig
from trading.core.postgres.base import DatabaseWrapper
from trading.marketdata.files import read_bars
from trading.marketdata.spacing import TIMEFRAMES, fault

MOST_BARS: Final = 5_000_000
"""Of all symbols of a run together."""
FEWEST: Final = 3
"""Of each symbol: two returns are the least that have a deviation."""
SYNTHETIC: Final = "TEST"
"""Symbols that begin with this are drawn rather than read, unless candles of theirs are stored."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_COLUMNS: Final = ("open", "high", "low", "close", "volume")
# A candle as the database sends it: microseconds since 2000, then the columns, all big-endian.
_ROW: Final = np.dtype([("time", ">i8"), *((name, ">f8") for name in _COLUMNS)])

Floats = npt.NDArray[np.float64]


class NoCandles(LookupError):
    """There is nothing to test on; the message says what to do."""


class TooManyCandles(ValueError):
    """The configuration asks for more than one run may hold."""


class Misspaced(ValueError):
    """The candles are no bars of the configuration's timeframe, by which its figures would be annualised."""


@dataclass(frozen=True)
class Series:
    """The bars of one symbol, oldest first: ``time`` in int64 nanoseconds since 1970 UTC, the rest in float64."""

    symbol: str
    time: npt.NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def data_hash(found: Sequence[Series]) -> str:
    """The SHA-256 of the candles: for each symbol its name, how many there are, and each column in little-endian."""
    digest = hashlib.sha256()
    for series in found:
        digest.update(f"{series.symbol}\n{len(series.time)}\n".encode())
        digest.update(series.time.astype("<i8").tobytes())
        for name in _COLUMNS:
            digest.update(getattr(series, name).astype("<f8").tobytes())
    return digest.hexdigest()


def stored(config: RunConfig) -> list[Series]:
    """The candles of the platform that ``config`` asks for, by symbol.

    Raises `NoCandles`, `TooManyCandles` and `Misspaced`.
    """
    found = []
    remaining = MOST_BARS
    for symbol in config.traded:
        series = _read(symbol, config, limit=remaining + 1)
        if not len(series.time) and symbol.startswith(SYNTHETIC):
            series = synthetic(symbol, config)
        found.append(_enough(series, config))
        remaining -= len(series.time)
        if remaining < 0:
            raise TooManyCandles(f"a run holds at most {MOST_BARS} bars of all its symbols; shorten it")
    return found


def from_file(config: RunConfig, path: Path) -> list[Series]:
    """As `stored`, from a file of candles.

    Raises also ``ValueError`` when the file is none, or has two candles of one symbol and time.
    """
    wanted = set(config.traded)
    rows: dict[str, list[tuple[int, float, float, float, float, float]]] = {symbol: [] for symbol in config.traded}
    for bar in read_bars(path, symbol=config.symbol):
        if bar.symbol in wanted and config.since <= bar.time < config.until:
            values = (float(bar.open), float(bar.high), float(bar.low), float(bar.close), float(bar.volume))
            rows[bar.symbol].append((_nanoseconds(bar.time), *values))
    return [_enough(_series(symbol, rows[symbol]), config) for symbol in config.traded]


def _series(symbol: str, rows: Iterable[tuple[int, float, float, float, float, float]]) -> Series:
    ordered = sorted(rows)
    time = np.array([row[0] for row in ordered], dtype=np.int64)
    if (np.diff(time) == 0).any():
        raise ValueError(f"the file has two candles of {symbol} at one time; keep one of them")
    columns = np.array([row[1:] for row in ordered], dtype=np.float64).reshape(-1, len(_COLUMNS))
    return Series(symbol, time, *(np.ascontiguousarray(columns[:, index]) for index in range(len(_COLUMNS))))


def _enough(series: Series, config: RunConfig) -> Series:
    if len(series.time) < FEWEST:
        raise NoCandles(
            f"there are {len(series.time)} candles of {series.symbol} at {config.timeframe} from {config.start} to"
            f" {config.end}, and {FEWEST} are the least: import them (manage.py import_candles FILE) or choose other"
            " dates"
        )
    if wrong := fault(series.symbol, series.time, config.timeframe):
        raise Misspaced(f"{wrong[0].upper()}{wrong[1:]}")
    return series


def _read(symbol: str, config: RunConfig, *, limit: int) -> Series:
    statement: LiteralString = (
        "SELECT string_agg(timestamptz_send(time) || float8send(open::float8)"
        " || float8send(high::float8) || float8send(low::float8) || float8send(close::float8)"
        " || float8send(volume::float8), ''::bytea) FROM (SELECT time, open, high, low, close, volume FROM candles"
        " WHERE symbol = %s AND interval = %s AND time >= %s AND time < %s ORDER BY time LIMIT %s) ordered"
    )
    backend = cast("DatabaseWrapper", connection)
    with backend.in_scope(), backend.wrap_database_errors, psycopg.Cursor(backend.connection) as cursor:
        cursor.execute(statement, (symbol, config.timeframe, config.since, config.until, limit), binary=True)
        found = cursor.fetchone()
    rows = np.frombuffer(b"" if found is None or found[0] is None else found[0], dtype=_ROW)
    rows = rows[np.argsort(rows["time"], kind="stable")]  # they come in order, which SQL does not promise
    time = rows["time"].astype(np.int64) * 1_000 + _nanoseconds(POSTGRES_EPOCH)
    return Series(symbol, time, *(rows[name].astype(np.float64) for name in _COLUMNS))


def synthetic(symbol: str, config: RunConfig) -> Series:
    """A geometric random walk, the same on every machine: its seed is the symbol, the timeframe and the beginning."""
    step = TIMEFRAMES[config.timeframe]
    count = int((config.until - config.since + step - timedelta(microseconds=1)) / step)
    if count > MOST_BARS:
        raise TooManyCandles(f"{symbol} would have {count} bars, a run holds at most {MOST_BARS}; shorten it")
    seed = hashlib.sha256(f"{symbol}\n{config.timeframe}\n{config.since.isoformat()}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(seed[:8], "big")))
    volatility = 0.2 * float(np.sqrt(step / timedelta(days=365)))
    shocks = rng.normal(size=(count, 4))
    close = np.maximum(np.round(100 * np.exp(np.cumsum(volatility * shocks[:, 0])), 4), 1e-4)
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.round(np.maximum(opened, close) * (1 + volatility * np.abs(shocks[:, 1])), 4)
    low = np.maximum(np.round(np.minimum(opened, close) / (1 + volatility * np.abs(shocks[:, 2])), 4), 1e-4)
    volume = np.round(1e6 * np.exp(0.3 * shocks[:, 3]))
    nanoseconds = step // timedelta(microseconds=1) * 1_000
    time = _nanoseconds(config.since) + nanoseconds * np.arange(count, dtype=np.int64)
    return Series(symbol, time, opened, high, low, close, volume)


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000
