"""Files of candles: CSV, plain or gzipped, with the columns symbol, time, open, high, low, close, volume."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from trading.marketdata.providers import Bar

COLUMNS = ("symbol", "time", "open", "high", "low", "close", "volume")
LARGEST_PRICE = Decimal(10) ** 12
LARGEST_VOLUME = Decimal(10) ** 20


class CandleFileError(ValueError):
    """A line of the file is not a candle; the message names the line and what is wrong."""


def read_bars(path: Path) -> Iterator[Bar]:
    """The bars of ``path`` in the order of its lines.

    Times are ISO 8601, UTC when they name no zone. Raises `CandleFileError` at the first line that is not a candle.
    """
    with _open(path) as text:
        reader = csv.DictReader(text, strict=True)
        try:
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise CandleFileError(
                    f"{path.name}: the first line lacks {', '.join(missing)}; needed: {','.join(COLUMNS)}"
                )
            for row in reader:
                yield _bar(row, f"{path.name}, line {reader.line_num}")
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CandleFileError(f"{path.name}, line {reader.line_num}: {error}") from None


def _open(path: Path) -> io.TextIOWrapper:
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115  # closed by the wrapper
    return io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")


def _bar(row: dict[str, str], where: str) -> Bar:
    symbol = (row["symbol"] or "").strip()
    if not symbol or len(symbol) > 32 or not symbol.isprintable():
        raise CandleFileError(f"{where}: the symbol {symbol!r} is not 1 to 32 printable characters")
    try:
        time = datetime.fromisoformat((row["time"] or "").strip())
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CandleFileError(f"{where}: {row['time']!r} is not an ISO 8601 time, like 2013-03-01") from None
    low, high, opened, close = (_number(row, name, where) for name in ("low", "high", "open", "close"))
    volume = _number(row, "volume", where)
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high < LARGEST_PRICE:
        raise CandleFileError(f"{where}: open {opened}, high {high}, low {low}, close {close} are not in order")
    if not 0 <= volume < LARGEST_VOLUME:
        raise CandleFileError(f"{where}: the volume {volume} is not between 0 and {LARGEST_VOLUME:.0e}")
    return Bar(symbol, time, opened, high, low, close, volume)


def _number(row: dict[str, str], name: str, where: str) -> Decimal:
    try:
        value = Decimal((row[name] or "").strip())
    except InvalidOperation:
        raise CandleFileError(f"{where}: {name} is {row[name]!r}, not a number") from None
    if not value.is_finite():
        raise CandleFileError(f"{where}: {name} is {value}, not a finite number")
    if -value.as_tuple().exponent > 8:  # type: ignore[operator]  # finite numbers have a whole exponent
        raise CandleFileError(f"{where}: {name} has more than 8 decimal places")
    return value
