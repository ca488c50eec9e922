"""The snapshot that limits are checked against: a client's book with what is reserved, and the limits' values."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from django.conf import settings

from trading.risk.limits import Book, Proposal
from trading.risk.state import State
from trading.tenants.parameters import InForce


def book_at(state: State, proposal: Proposal | None = None) -> Book:
    """The client's book with the orders under way, the circuit breaker's state and the time, and the newest price.

    Raises what the reading of a book that makes no sense raises.
    """
    book = state.book()
    prices = {row.symbol: row.worth for row in state.reserved} | dict(book.prices)
    deltas = {row.symbol: row.unit_delta for row in state.reserved if row.symbol not in book.prices}
    deltas |= book.unit_deltas
    if proposal is not None:
        prices[proposal.symbol] = proposal.worth
        deltas[proposal.symbol] = proposal.unit_delta
    return replace(
        book,
        reserved_buys={row.symbol: row.buys for row in state.reserved},
        reserved_sells={row.symbol: row.sells for row in state.reserved},
        prices=prices,
        unit_deltas=deltas,
        tripped_at=state.tripped_at,
        now=state.now,
    )


def values_in_force(now: InForce) -> Mapping[str, Any]:
    """The limits' values by the names of their settings; raises `ValueError` for a holiday that is no date."""
    holidays = frozenset(date.fromisoformat(day) for day in settings.QT_MARKET_HOLIDAYS)
    return {**now.values, "QT_MARKET_HOURS": now.sessions, "QT_MARKET_HOLIDAYS": holidays}
