"""The venue's limits on requests for history."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from trading.brokers.adapters.ibkr.login import NAME
from trading.brokers.base import BrokerUnavailable


@dataclass
class HistoryPace:
    """Rules on history: 60 requests in ten minutes, none the same within 15 s, five of a contract in 2 s."""

    clock: Callable[[], float]
    _times: deque[float] = field(default_factory=deque)
    _asked: dict[tuple[str, ...], float] = field(default_factory=dict)
    _bursts: dict[str, deque[float]] = field(default_factory=dict)

    def take(self, symbol: str, request: tuple[str, ...]) -> None:
        """Count a request; `BrokerUnavailable` says how long to wait when it would break a rule."""
        now = self.clock()
        while self._times and now - self._times[0] >= 600:
            self._times.popleft()
        self._asked = {key: at for key, at in self._asked.items() if now - at < 15}
        burst = self._bursts.setdefault(symbol, deque(maxlen=5))
        waits = [
            600 - (now - self._times[0]) if len(self._times) >= 60 else 0.0,
            15 - (now - self._asked[request]) if request in self._asked else 0.0,
            2 - (now - burst[0]) if len(burst) == 5 else 0.0,
        ]
        if max(waits) > 0:
            message = "The venue's limit on requests for history is reached."
            raise BrokerUnavailable(
                message, broker=NAME, operation="bars", code="pacing", retry_after=math.ceil(max(waits))
            )
        self._times.append(now)
        self._asked[request] = now
        burst.append(now)
