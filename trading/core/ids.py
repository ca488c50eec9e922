"""Identifiers that sort by the time of their creation, so that the newest rows sit together in an index."""

import secrets
import threading
import time
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
