"""When a market is open: a weekly session in the market's own time, as ``America/New_York mon-fri 09:30-16:00``."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM: Final = re.compile(r"(\S{1,40}) ([a-z]{3})(?:-([a-z]{3}))? (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)


@dataclass(frozen=True)
class Hours:
    """A session of every week: ``days`` counts from Monday as 0; one that ends before it opens runs overnight."""

    text: str
    zone: ZoneInfo
    days: frozenset[int]
    opens: time
    closes: time

    def is_open(self, now: datetime, holidays: Collection[date] = ()) -> bool:
        """Whether ``now`` is from the opening up to, and without, the close, on no day of ``holidays``.

        An overnight session belongs to the day that it opens on.
        """
        here = now.astimezone(self.zone)
        clock = here.time()
        if self.opens < self.closes:
            return self._trades_on(here.date(), holidays) and self.opens <= clock < self.closes
        if clock >= self.opens:
            return self._trades_on(here.date(), holidays)
        return clock < self.closes and self._trades_on(here.date() - timedelta(days=1), holidays)

    def _trades_on(self, day: date, holidays: Collection[date]) -> bool:
        return day.weekday() in self.days and day not in holidays

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Hours:
    """``text`` as a session; raises `ValueError` that says what it should look like."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("must look like America/New_York mon-fri 09:30-16:00")
    zone, first, last, *clock = found.groups()
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(f"must name days as {', '.join(DAYS)}")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    days = frozenset((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    try:
        hours = [int(part) for part in clock]
        return Hours(text, ZoneInfo(zone), days, time(hours[0], hours[1]), time(hours[2], hours[3]))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a name that is a folder of zones
        raise ValueError("must name a time zone such as Europe/London, and times from 00:00 to 23:59") from None
