"""Prices: underlyings have the price that was set, options follow by Black (1976); bars are a function of time."""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from tests.venues.ibkr.contracts import Contract, Listing
from tests.venues.ibkr.wire import Value

YEAR = timedelta(days=365)
NO_FIGURES = (-1.0, -2.0, -1.0, -1.0, -2.0, -2.0, -2.0, -1.0)
"""What is said of an option that the model has nothing on."""
BAR_UNITS = {"sec": 1, "secs": 1, "min": 60, "mins": 60, "hour": 3600, "hours": 3600, "day": 86400}
SPANS = {"S": 1, "D": 86400, "W": 7 * 86400, "M": 30 * 86400, "Y": 365 * 86400}
MAX_BARS = 2000


@dataclass(frozen=True)
class Quote:
    """A bid, an ask and the last trade."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    size: int = 100


def to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """The nearest price that is allowed."""
    return (price / tick).quantize(Decimal(1), ROUND_HALF_UP) * tick


class Market:
    """What everything costs now."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._prices = {
            contract.con_id: contract.price for contract in listing.by_id.values() if not contract.is_option
        }

    def set_price(self, con_id: int, price: Decimal) -> list[int]:
        """Move an underlying; the ids of all whose price has changed by it."""
        self._prices[con_id] = price
        return [con_id, *(option.con_id for option in self._listing.options_of(con_id))]

    def quote(self, contract: Contract, now: datetime) -> Quote:
        """A spread of two ticks around the price, or around what the model says."""
        if contract.is_option:
            figures = self.figures(contract, now)
            middle = Decimal(str(max(figures[2], 0.0)))
        else:
            middle = self._prices[contract.con_id]
        last = max(to_tick(middle, contract.min_tick), contract.min_tick)
        return Quote(max(last - contract.min_tick, contract.min_tick), last + contract.min_tick, last)

    def figures(self, contract: Contract, now: datetime) -> tuple[float, ...]:
        """Volatility, delta, price, dividends, gamma, vega (a point), theta (a day), underlying: Black (1976)."""
        under = float(self._prices[contract.under_con_id])
        years = (_expiry(contract) - now) / YEAR
        if years <= 0:
            return NO_FIGURES
        strike, sigma = float(contract.strike), contract.volatility
        spread = sigma * math.sqrt(years)
        d1 = math.log(under / strike) / spread + spread / 2
        density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
        sign = 1 if contract.right == "C" else -1
        delta = sign * _normal(sign * d1)
        price = sign * (under * _normal(sign * d1) - strike * _normal(sign * (d1 - spread)))
        gamma = density / (under * spread)
        vega = under * density * math.sqrt(years) / 100
        theta = -under * density * sigma / (2 * math.sqrt(years)) / 365
        return (sigma, delta, price, 0.0, gamma, vega, theta, under)

    def bars(self, contract: Contract, end: datetime, span: str, size: str) -> list[list[Value]]:
        """Bars of ``size`` over ``span`` up to ``end``; a `ValueError` for what is no span or size."""
        seconds, whole = _seconds(size), _span(span)
        daily = seconds >= BAR_UNITS["day"]
        last = int(end.timestamp()) // seconds
        count = max(whole // seconds, 1)
        if count > MAX_BARS:
            raise ValueError(f"{count} bars are more than {MAX_BARS}")
        quote = self.quote(contract, end)
        rows: list[list[Value]] = []
        for number in range(last - count + 1, last + 1):
            opening, closing = self._wave(quote.last, number), self._wave(quote.last, number + 1)
            high, low = max(opening, closing) * Decimal("1.001"), min(opening, closing) * Decimal("0.999")
            time = datetime.fromtimestamp(number * seconds, UTC)
            stamp = f"{time:%Y%m%d}" if daily else f"{time:%Y%m%d %H:%M:%S} UTC"
            prices = [price.quantize(Decimal("0.0001")) for price in (opening, high, low, closing)]
            rows.append([stamp, *prices, 1000 + number % 97, prices[0], 10])
        return rows

    def _wave(self, price: Decimal, number: int) -> Decimal:
        return price * Decimal(str(round(1 + 0.01 * math.sin(number / 7) + 0.003 * math.sin(number * 1.7), 9)))


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _expiry(contract: Contract) -> datetime:
    day = datetime.strptime(contract.expiry, "%Y%m%d").replace(tzinfo=UTC)
    return day + timedelta(hours=20)


def _seconds(size: str) -> int:
    number, _, unit = size.partition(" ")
    if unit not in BAR_UNITS or not number.isdigit():
        raise ValueError(f"{size!r} is no size of a bar")
    return int(number) * BAR_UNITS[unit]


def _span(span: str) -> int:
    number, _, unit = span.partition(" ")
    if unit not in SPANS or not number.isdigit():
        raise ValueError(f"{span!r} is no duration")
    return int(number) * SPANS[unit]


@dataclass
class Pacing:
    """Rules on history: 60 requests in ten minutes (BID_ASK counts twice), none twice in 15 s, 6 of a kind in 2 s."""

    limit: int = 60
    window: float = 600.0
    identical: float = 15.0
    burst: int = 6
    burst_window: float = 2.0
    _times: deque[tuple[float, int]] = field(default_factory=deque)
    _asked: dict[tuple[str, ...], float] = field(default_factory=dict)
    _bursts: dict[tuple[str, ...], deque[float]] = field(default_factory=dict)

    def refuses(self, request: tuple[str, ...], kind: tuple[str, ...], now: float) -> bool:
        """Whether ``request`` breaks a rule at ``now``, in seconds; it counts if it does not."""
        while self._times and now - self._times[0][0] >= self.window:
            self._times.popleft()
        cost = 2 if "BID_ASK" in request else 1
        burst = self._bursts.setdefault(kind, deque())
        while burst and now - burst[0] >= self.burst_window:
            burst.popleft()
        if (
            sum(weight for _, weight in self._times) + cost > self.limit
            or now - self._asked.get(request, -math.inf) < self.identical
            or len(burst) >= self.burst
        ):
            return True
        self._times.append((now, cost))
        self._asked[request] = now
        burst.append(now)
        return False
