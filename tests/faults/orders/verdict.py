"""The venue's ledger beside ours: what must be so after any drill, whatever was killed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from tests.faults.orders.desks import Booked, Desk

UNSURE = frozenset({"intended", "sent", "unknown"})
LIVE = frozenset({"intended", "sent", "unknown", "open", "partially_filled"})
NEVER_WENT = frozenset({"refused", "intended", "withdrawn", "not_booked"})
_ORDERS = """
SELECT o.client_order_id, o.state, o.reason, r.client_order_id IS NOT NULL
  FROM orders o LEFT JOIN risk_reservations r USING (client_order_id) WHERE o.broker = %s
"""
_FILLS = """
SELECT o.client_order_id, f.quantity, f.price, f.fee_quantity FROM trades f JOIN orders o ON o.id = f.order_id
 WHERE o.broker = %s
"""
_POSITIONS = """
SELECT count(*) FROM positions p WHERE p.quantity <>
       (SELECT coalesce(sum(f.quantity - f.fee_quantity), 0) FROM trades f
         WHERE f.client_id = p.client_id AND f.symbol = p.symbol)
"""
_REVIVED = """
SELECT o.client_order_id FROM order_differences d JOIN orders o ON o.client_order_id = d.subject
 WHERE d.kind = 'revived' AND d.ours = 'not_booked' AND o.broker = %s
"""
"""One that was refused in documented words, was not there when it was asked for, and is booked later is none of these:
the venue had said so. It is known, its fills count, and its symbol waits for a person."""


@dataclass
class Ours:
    """An order as our tables have it."""

    state: str
    reason: str
    is_reserved: bool
    fills: Counter[tuple[Decimal, Decimal]]


def read(database: "psycopg.Connection[Any]", broker: str) -> dict[str, Ours]:
    """All orders at a venue, by client order id."""
    found = {row[0]: Ours(row[1], row[2], row[3], Counter()) for row in database.execute(_ORDERS, [broker])}
    for own, quantity, price, _ in database.execute(_FILLS, [broker]):
        found[own].fills[quantity.normalize(), price.normalize()] += 1
    return found


def of(
    database: "psycopg.Connection[Any]", desk: Desk, books: Mapping[str, Booked]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Figures, and the client order ids with which something is wrong, by what it is."""
    ours = read(database, desk.name)
    unsure = [own for own, order in ours.items() if order.state in UNSURE]
    wrong: dict[str, list[str]] = {
        "orders booked twice": [own for own, booked in books.items() if booked.orders > 1],
        "orders that we do not know": [own for own, booked in books.items() if booked.orders and own not in ours],
        "orders that the venue has and we hold for never sent": [
            own for own in ours if ours[own].state in NEVER_WENT and own in books and books[own].orders
        ],
        "orders that the venue has and we hold for rejected": [
            own for own in ours if ours[own].state == "rejected" and own in books and books[own].orders
        ],
        "orders that the venue has and we are unsure of": [own for own in unsure if own in books and books[own].orders],
        "orders that the venue does not have and we are unsure of": [
            f"{own} {ours[own].state}: {ours[own].reason}" for own in unsure if not (own in books and books[own].orders)
        ],
        "orders that we hold for traded and the venue does not have": [
            own for own in ours if ours[own].fills and not (own in books and books[own].orders)
        ],
        "fills that are not the venue's": [
            own for own in ours if ours[own].fills != _traded(books.get(own)) and ours[own].state != "rejected"
        ],
        "reservations that are not of open orders": [
            own for own in ours if ours[own].is_reserved != (ours[own].state in LIVE)
        ],
        "orders sent twice to a venue that does not deduplicate": [
            own for own, booked in books.items() if booked.received > 1 and not desk.deduplicates
        ],
    }
    wrong["orders that were given up and were there"] = [row[0] for row in database.execute(_REVIVED, [desk.name])]
    row = database.execute(_POSITIONS).fetchone()
    assert row is not None
    wrong["positions that are not the sum of their fills"] = ["?"] * row[0]
    wrong["orders that were not let through"] = [
        f"{order.state}: {order.reason}"
        for order in ours.values()
        if order.state == "refused" or (order.state == "rejected" and not order.reason)  # the venue would say why
    ]
    figures = {
        "orders": len(ours),
        "states": dict(sorted(Counter(order.state for order in ours.values()).items())),
        "booked": sum(booked.orders for booked in books.values()),
        "trades": sum(len(booked.trades) for booked in books.values()),
        "received": sum(booked.received for booked in books.values()),
    }
    return figures, wrong


def _traded(booked: Booked | None) -> Counter[tuple[Decimal, Decimal]]:
    """What the venue has traded, as our fills have it."""
    return Counter((quantity.normalize(), price.normalize()) for quantity, price in (booked.trades if booked else ()))
