"""The limits, one module each, found by being there.

A module declares ``LIMIT``, the name that configures it, and ``check``. A limit that is configured in
``RISK_LIMITS`` but has no module refuses every order, and so does one that raises.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from trading.brokers.base import Side


@dataclass(frozen=True)
class Proposal:
    """An order before its review. ``price`` is what it is expected to trade at, ``previous_price`` the close before."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    previous_price: Decimal

    @property
    def notional(self) -> Decimal:
        """What it is worth, in the account's currency."""
        return self.quantity * self.price

    @property
    def signed_quantity(self) -> Decimal:
        """Negative for a sell."""
        return self.side.sign * self.quantity


@dataclass(frozen=True)
class Book:
    """A client's exposure at the moment of a review.

    ``quantities``: signed, by symbol, as filled. ``reserved``: signed, by symbol, of orders under way: what they buy
    and, apart, what they sell. ``prices``: marks by symbol. ``realised_today``: profit less losses and fees since
    midnight UTC.
    """

    quantities: Mapping[str, Decimal]
    reserved_buys: Mapping[str, Decimal]
    reserved_sells: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    realised_today: Decimal

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
        return {*self.quantities, *self.reserved_buys, *self.reserved_sells}


@dataclass(frozen=True)
class Breach:
    """Why an order is refused: the limit's value, the order's, and a sentence."""

    limit_value: str
    order_value: str
    message: str


Check = Callable[[Proposal, Book, Decimal], Breach | None]


@lru_cache(maxsize=1)
def modules() -> dict[str, Check]:
    """The check of each limit that has a module, by the name that configures it."""
    found: dict[str, Check] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found[module.LIMIT] = module.check
    return found
