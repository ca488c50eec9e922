"""Limits that a venue counts per account or per address, kept by all processes together: token buckets in Postgres.

A venue counts in windows of its own, whose edges we do not know. A bucket that holds half of a window's limit and is
refilled with the other half over the window can never exceed that limit, wherever the edges are. What a venue says to
be used, and how long it wants to be left alone, is taken over by all processes.

The buckets live where the orders live. Redis is not asked, so that its loss changes nothing here; without Postgres no
order can be recorded either, and everything is denied.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from django.db import DatabaseError, connection

from trading.brokers.base import BrokerUnavailable

_TAKE = """
INSERT INTO broker_budgets AS held (scope, tokens, refilled_at)
VALUES (%(scope)s, %(capacity)s - %(amount)s, clock_timestamp())
ON CONFLICT (scope) DO UPDATE
SET tokens = LEAST(%(capacity)s, held.tokens + %(rate)s * EXTRACT(EPOCH FROM clock_timestamp() - held.refilled_at))
             - %(amount)s,
    refilled_at = clock_timestamp()
WHERE LEAST(%(capacity)s, held.tokens + %(rate)s * EXTRACT(EPOCH FROM clock_timestamp() - held.refilled_at))
      >= %(amount)s
  AND (held.blocked_until IS NULL OR held.blocked_until <= clock_timestamp())
RETURNING tokens
"""
_WAIT = """
SELECT GREATEST(
    EXTRACT(EPOCH FROM COALESCE(blocked_until, clock_timestamp()) - clock_timestamp()),
    (%(amount)s - tokens) / %(rate)s - EXTRACT(EPOCH FROM clock_timestamp() - refilled_at)
) FROM broker_budgets WHERE scope = %(scope)s
"""
_BLOCK = """
INSERT INTO broker_budgets AS held (scope, tokens, refilled_at, blocked_until)
VALUES (%(scope)s, %(capacity)s, clock_timestamp(), clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (scope) DO UPDATE SET blocked_until = GREATEST(held.blocked_until, EXCLUDED.blocked_until)
"""
_LOWER = "UPDATE broker_budgets SET tokens = LEAST(tokens, %(left)s) WHERE scope = %(scope)s"


@dataclass(frozen=True)
class Budget:
    """What a venue allows within ``scope``: ``limit`` in any ``seconds``."""

    scope: str
    limit: int
    seconds: float
    broker: str

    def take(
        self, amount: int, *, operation: str, patience: float = 2.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Use up ``amount``, waiting ``patience`` seconds at most; `BrokerUnavailable` says how long it takes."""
        values: dict[str, str | float] = {
            "scope": self.scope,
            "amount": amount,
            "capacity": self.limit / 2,
            "rate": self.limit / 2 / self.seconds,
        }
        while True:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_TAKE, values)
                    if cursor.fetchone() is not None:
                        return
                    cursor.execute(_WAIT, values)
                    row = cursor.fetchone()
            except DatabaseError:
                raise self._denied("Its limits cannot be read now.", operation, 5.0) from None
            wait = max(float(row[0]) if row else 0.0, 0.01)
            if wait > patience:
                raise self._denied(f"Its limit is reached; there is room again in {wait:.1f} s.", operation, wait)
            sleep(wait)
            patience -= wait

    def block(self, seconds: float) -> None:
        """Let nobody ask for so long: the venue has said so."""
        self._note(_BLOCK, {"scope": self.scope, "capacity": self.limit / 2, "seconds": seconds})

    def reported(self, used: int) -> None:
        """The venue counts ``used`` in its present window: others use the limit too, or a window began earlier."""
        self._note(_LOWER, {"scope": self.scope, "left": max(self.limit - used, 0)})

    @staticmethod
    def _note(statement: str, values: dict[str, str | float]) -> None:
        # It comes with an answer, which must not be lost; while this cannot be written, `take` denies.
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _denied(self, message: str, operation: str, wait: float) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"{self.broker} is not asked. {message}",
            broker=self.broker,
            operation=operation,
            code="throttled",
            retry_after=wait,
        )
