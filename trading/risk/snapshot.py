"""The snapshot that limits are checked against: a client's book with what is reserved, and the limits' values."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from django.conf import settings

from trading.risk.limits import Book, Proposal
from trading.risk.state import State
from trading.tenants.parameters import InForce


def book_at(state: State, book: Book, proposal: Proposal | None = None) -> Book:
    """``book`` with the orders under way, the circuit breaker's state and the time, and the newest price."""
    ways: tuple[dict[str, Decimal], dict[str, Decimal]] = ({}, {})
    for row in state.reserved:
        way = ways[0 if row.quantity > 0 else 1]
        way[row.symbol] = way.get(row.symbol, Decimal(0)) + row.quantity
    prices = {row.symbol: row.price * row.multiplier for row in state.reserved} | dict(book.prices)
    deltas = {row.symbol: row.unit_delta for row in state.reserved if row.symbol not in book.prices}
    deltas |= book.unit_deltas
    if proposal is not None:
        prices[proposal.symbol] = proposal.worth
        deltas[proposal.symbol] = proposal.unit_delta
    return replace(
        book,
        reserved_buys=ways[0],
        reserved_sells=ways[1],
        prices=prices,
        unit_deltas=deltas,
        tripped_at=state.tripped_at,
        now=state.now,
    )


def values_in_force(now: InForce) -> Mapping[str, Any]:
    """The limits' values by the names of their settings; raises `ValueError` for a holiday that is no date."""
    holidays = frozenset(date.fromisoformat(day) for day in settings.QT_MARKET_HOLIDAYS)
    return {**now.values, "QT_MARKET_HOURS": now.sessions, "QT_MARKET_HOLIDAYS": holidays}
