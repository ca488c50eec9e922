"""What the mock venue trades and at what price: a function of the symbol and the time, and of nothing else.

Futures are ``ROOT-YYYYMM``, options on them ``ROOT-YYYYMM-C-STRIKE`` or ``-P-``; both end on the month's third Friday
at 21:00 UTC and are settled in cash. A future swings by 2 per cent around its root's price within a week; an option is
worth its Black-76 value.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from trading.brokers.instruments import Greeks, Instrument, OptionChain, OptionQuote, Quote, Right
from trading.brokers.quotes import last_trade
from trading.quant.black76 import Sensitivities, black76

RATE = 0.04
CARRY = 0.01
SWING = 0.02
DEPTH = Decimal(50)
"""Contracts at the best price, in each quarter of an hour; as much notional of anything else."""
SPOT_DEPTH = Decimal(1_000_000)
SPOT_LOT = Decimal("0.001")
SPOT_HALF_SPREAD = Decimal("0.0001")
STRIKES = 10
"""On either side of the future."""
MONTHS = 6
"""Listed ahead."""
CLOSE = time(21, tzinfo=UTC)
YEAR = timedelta(days=365)
SMALLEST = Decimal("1e-8")


@dataclass(frozen=True)
class Root:
    """An underlying with futures: ``price`` is the middle of its swing, ``step`` the distance of its strikes."""

    price: Decimal
    multiplier: Decimal
    tick: Decimal
    step: Decimal


ROOTS = {
    "IND": Root(Decimal(5000), Decimal(50), Decimal("0.25"), Decimal(50)),
    "ES": Root(Decimal(6000), Decimal(50), Decimal("0.25"), Decimal(25)),
    "NQ": Root(Decimal(21_000), Decimal(20), Decimal("0.25"), Decimal(100)),
    "YM": Root(Decimal(44_000), Decimal(5), Decimal(1), Decimal(250)),
    "CL": Root(Decimal(70), Decimal(1000), Decimal("0.01"), Decimal(1)),
    "GC": Root(Decimal(2600), Decimal(100), Decimal("0.1"), Decimal(25)),
}
_SYMBOL = re.compile(
    r"(?P<root>[A-Z]{1,6})-(?P<year>20\d\d)(?P<month>0[1-9]|1[0-2])(-(?P<right>[CP])-(?P<strike>\d+))?"
)


def expiry_of(year: int, month: int) -> date:
    """The third Friday."""
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def expiries(now: datetime) -> list[date]:
    """Those that are listed: of the months ahead, the nearest first, without any that has ended."""
    months = [divmod(now.year * 12 + now.month - 1 + ahead, 12) for ahead in range(MONTHS + 1)]
    days = [expiry_of(year, month + 1) for year, month in months]
    return [day for day in days if _left(day, now) > timedelta(0)][:MONTHS]


def instrument(symbol: str, now: datetime) -> Instrument | None:
    """The rules of ``symbol``; None when it is not listed at ``now``."""
    found = _SYMBOL.fullmatch(symbol)
    if found is None:
        if last_trade(symbol) is None:
            return None
        return Instrument(symbol, "USD", lot=SPOT_LOT, tick=SMALLEST, min_quantity=SPOT_LOT)
    root, expiry = ROOTS.get(found["root"]), expiry_of(int(found["year"]), int(found["month"]))
    if root is None or expiry not in expiries(now):
        return None
    future = Instrument(
        symbol,
        "USD",
        lot=Decimal(1),
        tick=root.tick,
        min_quantity=Decimal(1),
        multiplier=root.multiplier,
        underlying=found["root"],
        expiry=expiry,
    )
    if found["right"] is None:
        return future
    strike = Decimal(found["strike"])
    if strike % root.step or strike not in _strikes(root, _future_price(found["root"], root, expiry, now)):
        return None
    return _option(found["root"], root, expiry, strike, Right.CALL if found["right"] == "C" else Right.PUT)


def quote(found: Instrument, now: datetime) -> Quote:
    """The best prices of a listed instrument, with greeks for an option."""
    if found.expiry is None:
        return _spot(found.symbol, now)
    root = ROOTS[found.underlying]
    middle = _future_price(found.underlying, root, found.expiry, now)
    if found.strike is None:
        return Quote(found.symbol, middle - root.tick, middle + root.tick, middle, now, DEPTH, DEPTH)
    return _option_quote(found, root, middle, now)


def settlement(symbol: str, now: datetime) -> Decimal | None:
    """What one unit was worth at its end; None for what has not ended by ``now``."""
    found = _SYMBOL.fullmatch(symbol)
    root = ROOTS.get(found["root"]) if found else None
    if found is None or root is None:
        return None
    expiry = expiry_of(int(found["year"]), int(found["month"]))
    if _left(expiry, now) > timedelta(0):
        return None
    last = _future_price(found["root"], root, expiry, datetime.combine(expiry, CLOSE))
    if found["right"] is None:
        return last
    exercised = last - Decimal(found["strike"])
    return max(exercised if found["right"] == "C" else -exercised, Decimal(0))


def chain(name: str, expiry: date, now: datetime) -> OptionChain:
    """All options on the future of ``name`` that end at ``expiry``, which must be listed."""
    root = ROOTS[name]
    future = instrument(f"{name}-{expiry:%Y%m}", now)
    assert future is not None, "the expiry is listed"
    listed = [
        _option(name, root, expiry, strike, right)
        for strike in _strikes(root, _future_price(name, root, expiry, now))
        for right in (Right.CALL, Right.PUT)
    ]
    return OptionChain(name, expiry, quote(future, now), tuple(OptionQuote(row, quote(row, now)) for row in listed))


def _option(name: str, root: Root, expiry: date, strike: Decimal, right: Right) -> Instrument:
    return Instrument(
        f"{name}-{expiry:%Y%m}-{right.value[0].upper()}-{strike}",
        "USD",
        lot=Decimal(1),
        tick=root.tick,
        min_quantity=Decimal(1),
        multiplier=root.multiplier,
        underlying=name,
        expiry=expiry,
        strike=strike,
        right=right,
    )


def _strikes(root: Root, forward: Decimal) -> list[Decimal]:
    middle = (forward / root.step).to_integral_value(ROUND_HALF_EVEN)
    return [(middle + away) * root.step for away in range(-STRIKES, STRIKES + 1) if middle + away > 0]


def _left(expiry: date, now: datetime) -> timedelta:
    return datetime.combine(expiry, CLOSE) - now


def _future_price(name: str, root: Root, expiry: date, now: datetime) -> Decimal:
    """By the minute: a week's swing, whose phase is the root's own, and the cost of carrying it to its end."""
    weeks = now.replace(second=0, microsecond=0).timestamp() / 604_800
    phase = sum(map(ord, name))
    swing = 1 + SWING * math.sin(2 * math.pi * weeks + phase)
    carried = float(root.price) * swing * math.exp(CARRY * (_left(expiry, now) / YEAR))
    return _rounded(Decimal(carried), root.tick)


def _spot(symbol: str, now: datetime) -> Quote:
    trade = last_trade(symbol)
    assert trade is not None, "its instrument was found"
    away = trade.price * SPOT_HALF_SPREAD
    bid = max(_rounded(trade.price - away, SMALLEST, ROUND_FLOOR), SMALLEST)
    ask = _rounded(trade.price + away, SMALLEST, ROUND_CEILING)
    depth = _rounded(SPOT_DEPTH / trade.price, SPOT_LOT)
    return Quote(symbol, bid, ask, trade.price, now, depth, depth)


def _option_quote(found: Instrument, root: Root, forward: Decimal, now: datetime) -> Quote:
    assert found.strike is not None
    assert found.expiry is not None
    away = math.log(found.strike / forward)
    volatility = 0.18 - 0.1 * away + 0.5 * away * away  # a smile that is dearer below
    years = max(_left(found.expiry, now) / YEAR, 0.0)
    priced = black76(float(forward), float(found.strike), years, RATE, volatility, found.right is Right.CALL)
    value = Decimal(float(priced.value))
    half = max(value / 100, root.tick / 2)
    bid = _rounded(value - half, root.tick, ROUND_FLOOR)
    ask = max(_rounded(value + half, root.tick, ROUND_CEILING), root.tick)
    last = max(_rounded(value, root.tick), root.tick)
    return Quote(found.symbol, bid if bid > 0 else None, ask, last, now, DEPTH, DEPTH, _greeks(priced, volatility))


def _greeks(priced: Sensitivities, volatility: float) -> Greeks:
    """In the units that are quoted: vega and rho by the point, theta by the day."""
    figures = (priced.delta, priced.gamma, priced.vega / 100, priced.theta / 365, priced.rho / 100, volatility)
    return Greeks(*(_rounded(Decimal(float(figure)), SMALLEST) for figure in figures))


def _rounded(value: Decimal, step: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    return (value / step).to_integral_value(rounding) * step
