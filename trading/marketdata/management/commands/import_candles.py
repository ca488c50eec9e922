"""``manage.py import_candles FILE``: keep the candles of a file."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.marketdata import services
from trading.marketdata.files import CandleFileError, read_bars
from trading.marketdata.providers import Bar
from trading.marketdata.spacing import TIMEFRAMES, fault

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a day, like 2012-01-31") from None


def _spaced(bars: Iterator[Bar], timeframe: str) -> Iterator[Bar]:
    """``bars``, and after the last `CandleFileError` when those of a symbol are no bars of that length."""
    times: dict[str, list[int]] = {}
    for bar in bars:
        times.setdefault(bar.symbol, []).append((bar.time - EPOCH) // MICROSECOND * 1_000)
        yield bar
    for symbol, found in times.items():
        if wrong := fault(symbol, np.sort(np.array(found, dtype=np.int64)), timeframe):
            raise CandleFileError(f"{wrong} with --timeframe")


class Command(BaseCommand):
    """All of the file or nothing; bars that are there already stay as they are, unless they are to be replaced."""

    help = "Import candles from a CSV (plain or .gz) or Parquet file: symbol,time,open,high,low,close,volume."

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, whose bars and of what length they are, and where to stop."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--symbol", help="whose bars: all of a file without that column, else only these")
        parser.add_argument("--timeframe", choices=TIMEFRAMES, default=services.DAILY, help="the length of a bar")
        parser.add_argument("--until", type=_day, default=date.max, help="leave out bars after this day (YYYY-MM-DD)")
        parser.add_argument("--replace", action="store_true", help="correct the bars that are there already")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and say how many were new."""
        path: Path = options["file"]
        end = datetime.combine(options["until"], time.max, UTC)
        try:
            bars = (bar for bar in read_bars(path, symbol=options["symbol"]) if bar.time <= end)
            stored = services.store(
                _spaced(bars, options["timeframe"]),
                source=path.name[:32],
                interval=options["timeframe"],
                replace=options["replace"],
            )
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}. Check its path and permissions.") from None
        except CandleFileError as error:
            raise CommandError(
                f"{str(error).rstrip('.')}. Nothing was imported; correct the file and import it again."
            ) from None
        if options["symbol"] and not stored.received:
            raise CommandError(f"{path.name} has no candle of {options['symbol']}; nothing was imported.")
        others = "replaced what was there" if options["replace"] else "were there already and stay (--replace corrects)"
        there = stored.received - stored.new
        self.stdout.write(f"{stored.received} candles read, {stored.new} new{f'; {there} {others}' if there else ''}.")
