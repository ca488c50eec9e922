"""Files of candles: CSV, plain or gzipped, and Parquet, with the columns symbol, time, open, high, low, close, volume.

Names of columns may be in capitals; ``date``, ``datetime`` and ``timestamp`` mean ``time``, other columns are left out.
"""

import csv
import gzip
import importlib
import io
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from trading.marketdata.providers import Bar

COLUMNS = ("symbol", "time", "open", "high", "low", "close", "volume")
TIMES = ("time", "timestamp", "datetime", "date")
LARGEST_PRICE = Decimal(10) ** 12
LARGEST_VOLUME = Decimal(10) ** 20
PLACES = Decimal("1e-8")
PARQUET = (".parquet", ".pq")
ROWS_AT_ONCE = 50_000

Row = Mapping[str, Any]


class CandleFileError(ValueError):
    """A line of the file is not a candle; the message names the line and what is wrong."""


def read_bars(path: Path, *, symbol: str | None = None) -> Iterator[Bar]:
    """The bars of ``path`` in the order of its lines.

    With ``symbol``, a file without that column holds its bars alone, and of another file only its bars are read. Times
    are ISO 8601, UTC when they name no zone, or whole seconds or milliseconds since 1970. Numbers of CSV have at most 8
    decimal places; the doubles of Parquet are rounded to them. Raises `CandleFileError` at the first line that is not a
    candle, or that has the symbol and time of a line before.
    """
    seen: dict[tuple[str, datetime], str] = {}
    rows = _parquet(path, symbol) if path.suffix.lower() in PARQUET else _csv(path, symbol)
    for where, row in rows:
        if symbol is not None and row.get("symbol", symbol) != symbol:
            continue
        bar = _bar({"symbol": symbol, **row} if symbol is not None else row, where)
        before = seen.setdefault((bar.symbol, bar.time), where)
        if before != where:
            at = f"{bar.time:%Y-%m-%d %H:%M}"
            raise CandleFileError(f"{where}: a second candle of {bar.symbol} at {at}; the first: {before}. Keep one.")
        yield bar


def _names(found: list[str], path: Path, symbol: str | None) -> dict[str, str]:
    """What each column that matters is called in the file."""
    lowered = {name.strip().lower(): name for name in reversed(found)}
    time = next((name for name in TIMES if name in lowered), None)
    named = {name: lowered[name] for name in COLUMNS if name in lowered}
    if time is not None:
        named["time"] = lowered[time]
    needed = [name for name in COLUMNS if name != "symbol" or symbol is None]
    missing = [name for name in needed if name not in named]
    if missing:
        hint = "; name it with --symbol" if missing == ["symbol"] else ""
        raise CandleFileError(
            f"{path.name}: the first line lacks {', '.join(missing)}; needed: {','.join(needed)}{hint}"
        )
    return named


def _csv(path: Path, symbol: str | None) -> Iterator[tuple[str, Row]]:
    with _open(path) as text:
        reader = csv.DictReader(text, strict=True)
        try:
            named = _names(list(reader.fieldnames or ()), path, symbol)
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                yield where, {name: (row[column] or "").strip() for name, column in named.items()}
        except UnicodeDecodeError:
            where = f"{path.name}, after line {reader.line_num}"
            raise CandleFileError(f"{where}: not text in UTF-8; CSV is needed, or another ending") from None
        except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CandleFileError(f"{path.name}, line {reader.line_num}: {error}") from None


def _open(path: Path) -> io.TextIOWrapper:
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115  # closed by the wrapper
    return io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")


def _parquet(path: Path, symbol: str | None) -> Iterator[tuple[str, Row]]:
    arrow = importlib.import_module("pyarrow")  # 50 MB, which only who has such a file should need
    files = importlib.import_module("pyarrow.parquet")
    with path.open("rb") as opened:
        try:
            file = files.ParquetFile(opened)
            named = _names(list(file.schema_arrow.names), path, symbol)
            number = 0
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(named.values()), use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", {name: row[column] for name, column in named.items()}
        except arrow.ArrowException as error:
            raise CandleFileError(f"{path.name}: {' '.join(str(error).split())}") from None


def _bar(row: Row, where: str) -> Bar:
    symbol = str(row["symbol"] or "").strip()
    if not symbol or len(symbol) > 32 or not symbol.isprintable():
        raise CandleFileError(f"{where}: the symbol {symbol!r} is not 1 to 32 printable characters")
    time = _time(row["time"], where)
    low, high, opened, close = (_number(row, name, where) for name in ("low", "high", "open", "close"))
    volume = _number(row, "volume", where)
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
        raise CandleFileError(f"{where}: open {opened}, high {high}, low {low}, close {close} are not in order")
    if high >= LARGEST_PRICE:
        raise CandleFileError(f"{where}: the high {high} is not below {LARGEST_PRICE:.0e}")
    if not 0 <= volume < LARGEST_VOLUME:
        raise CandleFileError(f"{where}: the volume {volume} is not between 0 and {LARGEST_VOLUME:.0e}")
    return Bar(symbol, time, opened, high, low, close, volume)


def _time(value: Any, where: str) -> datetime:
    try:
        if isinstance(value, datetime):
            time = value
        elif str(value).isdecimal() and len(str(value)) >= 9:
            seconds = int(value) if len(str(value)) <= 11 else int(value) / 1_000
            time = datetime.fromtimestamp(seconds, UTC)
        else:
            time = datetime.fromisoformat(str(value))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise CandleFileError(f"{where}: {value!r} is not an ISO 8601 time, like 2013-03-01") from None


def _number(row: Row, name: str, where: str) -> Decimal:
    given = row[name]
    try:
        value = Decimal(repr(given) if isinstance(given, float) else str(given))
    except InvalidOperation:
        raise CandleFileError(f"{where}: {name} is {given!r}, not a number") from None
    if not value.is_finite():
        raise CandleFileError(f"{where}: {name} is {value}, not a finite number")
    if isinstance(given, float) and abs(value) < LARGEST_VOLUME:
        return value.quantize(PLACES)
    if -value.as_tuple().exponent > 8:  # type: ignore[operator]  # finite numbers have a whole exponent
        raise CandleFileError(f"{where}: {name} has more than 8 decimal places")
    return value
