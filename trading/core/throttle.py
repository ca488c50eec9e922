"""How often somebody may ask: counters of a minute in Redis, shared by all web processes.

They keep load and guessers away; nothing is decided by them that Redis's loss could undo. While Redis cannot be reached
they let everything pass and say so in the log, and it is not asked again for some seconds, so that requests do not wait
for it. What must hold without Redis, the lock-out of logins, counts in the database: `trading.tenants.login`.
"""

import hashlib
import time
from functools import lru_cache
from typing import Final

import redis
import structlog
from django.conf import settings

log = structlog.get_logger("quantum.http")

WINDOW_SECONDS: Final = 60
TIMEOUT_SECONDS: Final = 0.25
AWAY_SECONDS: Final = 5.0

_away_until = 0.0


def wait_for(kind: str, whom: str, limit: int, *, now: float | None = None) -> int | None:
    """Count one request of ``whom``; None, or how many seconds are left of the minute in which ``limit`` are spent.

    Counted by the clock's minutes: across a border of two of them, twice the limit can pass within one. A ``limit`` of
    0 is none. ``now`` is Unix time.
    """
    global _away_until
    if limit <= 0 or time.monotonic() < _away_until:
        return None
    moment = time.time() if now is None else now
    window, passed = divmod(moment, WINDOW_SECONDS)
    key = f"rate:{kind}:{hashlib.sha256(whom.encode()).hexdigest()[:32]}:{int(window)}"
    try:
        with _server(settings.REDIS_URL).pipeline(transaction=False) as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, 2 * WINDOW_SECONDS)
            count = int(pipeline.execute()[0])
    except (redis.RedisError, OSError) as error:
        _away_until = time.monotonic() + AWAY_SECONDS
        log.warning("http.limits_away", error=str(error))
        return None
    return None if count <= limit else max(1, round(WINDOW_SECONDS - passed))


@lru_cache(maxsize=4)
def _server(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
