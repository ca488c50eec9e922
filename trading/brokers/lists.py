"""Lists of a venue with a row that cannot be read: an error that tells the others, and never just a shorter list."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from trading.brokers.base import GARBAGE, BrokerError, BrokerUnavailable

T = TypeVar("T")
ABOUT_A_ROW = (GARBAGE, "unknown_symbol")
"""What may be wrong with one row alone; any other error is the venue's, or the line's."""


class PartlyUnreadable(BrokerUnavailable):
    """Some rows of a list make no sense. ``readable``: what the others say; of the rest nothing is known."""

    def __init__(self, readable: tuple[Any, ...], bad: list[str], *, broker: str, operation: str) -> None:
        total = len(readable) + len(bad)
        message = f"{broker} lists {total}, of which {len(bad)} cannot be read: {', '.join(bad[:5])}."
        super().__init__(message, broker=broker, operation=operation, code=GARBAGE)
        self.readable = readable


def each(rows: Iterable[Any], read: Callable[[Any], T], *, key: str, broker: str, operation: str) -> tuple[T, ...]:
    """What ``read`` makes of every row; raises `PartlyUnreadable`, with the others, once all were tried.

    ``key``: the field by which a row is named in the message. ``read`` raises a `BrokerError` with a code of
    `ABOUT_A_ROW` for a row that makes no sense; any other is raised at once.
    """
    found: list[T] = []
    bad: list[str] = []
    for row in rows:
        try:
            found.append(read(row))
        except BrokerError as error:
            if error.code not in ABOUT_A_ROW:
                raise
            bad.append(str(row.get(key))[:64] if isinstance(row, Mapping) else "no row")
    if bad:
        raise PartlyUnreadable(tuple(found), bad, broker=broker, operation=operation)
    return tuple(found)
