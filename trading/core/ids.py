"""Identifiers that sort by the time of their creation, so that the newest rows sit together in an index."""

import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then 74 random bits.

    Of those that one process makes, each is greater than the one before, also within a millisecond: the random part
    then grows by a random step (the RFC's section 6.2, method 2).
    """
    global _last
    milliseconds = time.time_ns() // 1_000_000
    with _lock:
        _last = payload = max(milliseconds << 74 | secrets.randbits(74), _last + 1 + secrets.randbits(32))
    value = (payload >> 74) << 80
    value |= 0x7 << 76 | (payload >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | payload & (2**62 - 1)
    return UUID(int=value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def uuid7_at(moment: datetime) -> UUID:
    """A version 7 UUID of a given time: of two, that of the later microsecond is the greater (the RFC's method 3).

    The 12 bits after the milliseconds are the fraction of one, the last 62 are random.
    """
    milliseconds, rest = divmod((moment - _EPOCH) // timedelta(microseconds=1), 1000)
    value = milliseconds << 80 | 0x7 << 76 | (rest * 4096 // 1000) << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value)


def first_uuid7_at(moment: datetime) -> UUID:
    """The smallest id that a row created in the millisecond of ``moment`` or later can have."""
    return UUID(int=max((moment - _EPOCH) // timedelta(milliseconds=1), 0) << 80)
