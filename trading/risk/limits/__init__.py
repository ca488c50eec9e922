"""The limits, one module each, found by being there: pure functions of an order and a snapshot of its client's book.

A module declares ``LIMIT``, the setting that configures it, and ``check(proposal, book, value)``. It may declare
``ALSO``, further settings whose values follow as arguments; ``use(book, *values)``, how much of the limit is used now;
and ``trips(book, *values)``, whether what it guards against has happened, to be remembered until an operator resets it.
A limit that is configured in ``RISK_LIMITS`` but has no module refuses every order, and so does one that raises.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from trading.brokers.base import Side


@dataclass(frozen=True)
class Proposal:
    """An order before its review. ``price`` is what it is expected to trade at, ``previous_price`` the close before.

    ``multiplier``: units of the underlying in one. ``delta``: per unit of the underlying (1 for what is no option),
    None where it is not known; ``underlying_price``: None for what is its own underlying. ``bid`` and ``ask``: the best
    prices now. ``is_autonomous``: no person approved it, and money can move. Raises `ValueError` for what is no order.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    previous_price: Decimal
    multiplier: Decimal = Decimal(1)
    delta: Decimal | None = Decimal(1)
    underlying_price: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    is_autonomous: bool = True

    def __post_init__(self) -> None:
        numbers = (self.quantity, self.price, self.previous_price, self.multiplier, self.delta, self.underlying_price)
        if not all(number is None or number.is_finite() for number in (*numbers, self.bid, self.ask)):
            raise ValueError("an order's numbers are finite")
        if self.quantity <= 0 or self.multiplier <= 0:
            raise ValueError("an order has a positive quantity and multiplier")

    @property
    def worth(self) -> Decimal:
        """What one is worth, in the account's currency."""
        return self.price * self.multiplier

    @property
    def notional(self) -> Decimal:
        """What it is worth, in the account's currency."""
        return self.quantity * self.worth

    @property
    def signed_quantity(self) -> Decimal:
        """Negative for a sell."""
        return self.side.sign * self.quantity

    @property
    def unit_delta(self) -> Decimal | None:
        """What one, held long, adds to the net delta in the account's currency; None where its delta is not known."""
        if self.delta is None:
            return None
        return self.delta * self.multiplier * (self.price if self.underlying_price is None else self.underlying_price)

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.symbol}"


@dataclass(frozen=True)
class Book:
    """A client's exposure at the moment of a review.

    ``quantities``: signed, by symbol, as filled. ``reserved_buys``, ``reserved_sells``: signed, by symbol, of orders
    under way. ``prices``: what one is worth, by symbol. ``realised_today``: profit less losses and fees since midnight
    UTC. ``unit_deltas``: what one adds to the net delta, by symbol, None where it is not known; a symbol that is not in
    it is its own underlying. ``results``: the profit of each order that closed something, newest first. ``tripped_at``:
    when the circuit breaker opened, if it is open. ``now``: aware; None refuses what depends on it. ``outdated``: held
    symbols of which the price, if there is one, is too old for money to move by it.
    """

    quantities: Mapping[str, Decimal]
    reserved_buys: Mapping[str, Decimal]
    reserved_sells: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    realised_today: Decimal
    unit_deltas: Mapping[str, Decimal | None] = field(default_factory=dict)
    results: tuple[Decimal, ...] = ()
    tripped_at: datetime | None = None
    now: datetime | None = None
    outdated: frozenset[str] = frozenset()

    def projected(self, symbol: str, extra: Decimal = Decimal(0)) -> Decimal:
        """The largest size, in currency, that a position may come to when ``extra`` and what is under way are filled.

        Buys and sells under way may be filled or not, so the worse of the two is taken.
        """
        held = self.quantities.get(symbol, Decimal(0))
        up = held + self.reserved_buys.get(symbol, Decimal(0)) + max(extra, Decimal(0))
        down = held + self.reserved_sells.get(symbol, Decimal(0)) + min(extra, Decimal(0))
        return max(abs(up), abs(down)) * self.prices[symbol]

    def is_closed_by(self, proposal: Proposal) -> bool:
        """Whether the order only makes a position smaller, also after what is under way, and never turns it over."""
        held = self.quantities.get(proposal.symbol, Decimal(0))
        if proposal.signed_quantity < 0:
            return held + self.reserved_sells.get(proposal.symbol, Decimal(0)) >= proposal.quantity
        return -held - self.reserved_buys.get(proposal.symbol, Decimal(0)) >= proposal.quantity

    def symbols(self) -> set[str]:
        """All that it has an interest in."""
        both = (self.quantities, self.reserved_buys, self.reserved_sells)
        return {symbol for part in both for symbol, quantity in part.items() if quantity}

    def delta_of(self, symbol: str) -> Decimal:
        """What one of ``symbol`` adds to the net delta; raises `DeltaUnknown`."""
        found = self.unit_deltas[symbol] if symbol in self.unit_deltas else self.prices.get(symbol)
        if found is None:
            raise DeltaUnknown(symbol)
        return found

    def net_delta(self) -> tuple[Decimal, Decimal]:
        """The least and the greatest net delta, in currency, that what is held and under way may come to.

        Raises `DeltaUnknown`.
        """
        least = greatest = Decimal(0)
        for symbol in self.symbols():
            delta = self.delta_of(symbol)
            held = self.quantities.get(symbol, Decimal(0)) * delta
            least, greatest = least + held, greatest + held
            for way in (self.reserved_buys, self.reserved_sells):
                moved = way.get(symbol, Decimal(0)) * delta
                least, greatest = least + min(moved, Decimal(0)), greatest + max(moved, Decimal(0))
        return least, greatest


class DeltaUnknown(LookupError):
    """What is held or under way has no greeks now, or stale ones, or no price."""

    def __init__(self, symbol: str) -> None:
        super().__init__(f"the delta of {symbol} is not known")
        self.symbol = symbol


@dataclass(frozen=True)
class Breach:
    """Why an order is refused: the limit's value, the order's, and a sentence."""

    limit_value: str
    order_value: str
    message: str


def outdated(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """The refusal of an order that adds to a position where others cannot be valued now; what closes one passes.

    For limits that look at all of them. The order's own symbol is worth what the order is.
    """
    old = sorted(book.outdated - {proposal.symbol})
    if not old or book.is_closed_by(proposal):
        return None
    message = (
        f"held and not valued by a candle that ended in the last 7 days: {', '.join(old[:5])}; run market-refresh, or"
        " manage.py import_candles FILE; an order that makes a position smaller passes"
    )
    return Breach(f"{limit}", "unknown", message)


Check = Callable[..., Breach | None]


@dataclass(frozen=True)
class Limit:
    """A module of this package: ``settings`` are the names whose values its functions take after the book.

    ``meaning``: what it says of itself in its first line.
    """

    settings: tuple[str, ...]
    check: Check
    use: Callable[..., Decimal | int] | None = None
    trips: Callable[..., bool] | None = None
    meaning: str = ""


@lru_cache(maxsize=1)
def modules() -> Mapping[str, Limit]:
    """Each limit that has a module, by the name that configures it."""
    found: dict[str, Limit] = {}
    for info in pkgutil.iter_modules(__path__):
        module: Any = importlib.import_module(f"{__name__}.{info.name}")
        also: tuple[str, ...] = getattr(module, "ALSO", ())
        found[module.LIMIT] = Limit(
            (module.LIMIT, *also),
            module.check,
            getattr(module, "use", None),
            getattr(module, "trips", None),
            (module.__doc__ or "").partition("\n")[0],
        )
    return found
