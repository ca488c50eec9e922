"""What a review reads and writes, each in one message: an account stays locked meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, LiteralString, cast
from uuid import UUID

from django.db import transaction

from trading.core import dials
from trading.core.ids import uuid7
from trading.core.postgres.base import DatabaseWrapper
from trading.risk.limits import Book, Breach, Proposal
from trading.risk.models import Guard, RiskAccount
from trading.tenants import parameters
from trading.tenants.models import Parameters

_LOCK: Final = "SELECT 1 FROM risk_accounts WHERE client_id = %(client)s FOR NO KEY UPDATE"
# One statement reads the state and the book, so that both are of one moment. It is not the one that locks, though it
# goes to the server with it: this one sees what the account's last holder has committed while that one waited.
_STATE: Final = """
    WITH state AS MATERIALIZED (
        SELECT clock_timestamp() AS now, account.tripped_at, greatest(g.trades_since, account.trades_since) AS since,
               g.id AS guard_id, g.halted, g.kill_switch, g.reason, g.trades_since,
               (SELECT json_object_agg(name, value) FROM changed_settings) AS dials
          FROM risk_accounts AS account
          LEFT JOIN risk_guard AS g ON g.id = 1
         WHERE account.client_id = %(client)s),
    reserved AS (
        SELECT array_agg(symbol) AS reserved_symbols, array_agg(buys) AS reserved_buys,
               array_agg(sells) AS reserved_sells, array_agg(worth) AS reserved_worths,
               array_agg(unit_delta) AS reserved_deltas
          FROM (SELECT symbol, coalesce(sum(quantity) FILTER (WHERE quantity > 0), 0) AS buys,
                       coalesce(sum(quantity) FILTER (WHERE quantity < 0), 0) AS sells,
                       (array_agg(price * multiplier ORDER BY id DESC))[1] AS worth,
                       (array_agg(unit_delta ORDER BY id DESC))[1] AS unit_delta
                  FROM risk_reservations WHERE client_id = %(client)s GROUP BY symbol) AS of_symbol),
    own AS (
        SELECT version, max_order_size, max_daily_loss, max_position_per_symbol, max_gross_exposure, max_net_delta,
               max_open_legs, max_spread_pct, breaker_losses, breaker_loss, market_hours, symbols AS own_symbols,
               cash_buffer, min_notional, max_orders
          FROM client_parameters WHERE client_id = %(client)s ORDER BY version DESC LIMIT 1)
    SELECT * FROM state CROSS JOIN reserved LEFT JOIN own ON true LEFT JOIN ("""
_AS_BOOK: Final = ") AS book ON true"
_DECIDE: Final = """
    WITH decision AS (
        INSERT INTO risk_decisions (id, client_id, client_order_id, symbol, side, quantity, price, approved, "limit",
                                    limit_value, order_value, message, created_at)
        VALUES (%(decision)s, %(client)s, %(order)s, %(symbol)s, %(side)s, %(quantity)s, %(price)s, %(approved)s,
                %(limit)s, %(limit_value)s, %(order_value)s, %(message)s, clock_timestamp()))
    INSERT INTO risk_reservations (id, client_id, client_order_id, symbol, quantity, price, multiplier, unit_delta,
                                   is_autonomous, created_at)
    SELECT %(reservation)s, %(client)s, %(order)s, %(symbol)s, %(signed)s, %(price)s, %(multiplier)s, %(unit_delta)s,
           %(is_autonomous)s, clock_timestamp()
     WHERE %(approved)s
"""


@dataclass(frozen=True)
class BookQuery:
    """How a client's book is read: what it holds, and its results.

    ``statement`` gives one row; it may use ``%(client)s``, its own ``values``, and ``state.since``, from when on trades
    count (null: always). ``read`` makes the book of that row, and may raise.
    """

    statement: LiteralString
    read: Callable[[Mapping[str, Any]], Book]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reserved:
    """What the orders under way in one symbol may come to: signed quantities, and the newest order's worth of one."""

    symbol: str
    buys: Decimal
    sells: Decimal
    worth: Decimal
    unit_delta: Decimal | None


@dataclass(frozen=True)
class State:
    """What holds for a client at the moment of a review. ``guard`` is None where its row is missing."""

    now: datetime
    guard: Guard | None
    tripped_at: datetime | None
    reserved: tuple[Reserved, ...]
    changed_dials: Mapping[str, Any]
    own: Parameters | None
    book: Callable[[], Book]
    """Without what is reserved; trades before the platform's last reset, or the client's own, do not count."""

    def in_force(self) -> parameters.InForce:
        """The client's parameters and the platform's; raises `ValueError` where they do not make sense."""
        return parameters.combined(dials.from_rows(self.changed_dials), self.own)


def locked(client_id: UUID, book: BookQuery) -> State:
    """The state, with the client's account locked until the transaction ends."""
    statements, values = (_LOCK, _reading(book)), {**book.values, "client": client_id}
    account, found = _backend().run_together(statements, values)
    if not account:  # one that somebody has made since would be found, and is not locked
        RiskAccount.objects.bulk_create([RiskAccount(client_id=client_id)], ignore_conflicts=True)
        account, found = _backend().run_together(statements, values)
    if not account:
        raise LookupError(f"client {client_id} has no account for its risk, and none can be made")
    return _state(client_id, book, found[0])


def seen(client_id: UUID, book: BookQuery) -> State:
    """The state to be shown, as it is at this moment."""
    with transaction.atomic():
        found = _backend().run(_reading(book), {**book.values, "client": client_id})
        return _state(client_id, book, found[0]) if found else locked(client_id, book)


def _reading(book: BookQuery) -> LiteralString:
    return _STATE + book.statement + _AS_BOOK


def _state(client_id: UUID, book: BookQuery, row: Mapping[str, Any]) -> State:
    guard = None
    if row["guard_id"] is not None:
        names = ("halted", "kill_switch", "reason", "trades_since")
        guard = Guard(id=row["guard_id"], **{name: row[name] for name in names})
    columns = [row[f"reserved_{name}"] or () for name in ("symbols", "buys", "sells", "worths", "deltas")]
    return State(
        now=row["now"],
        guard=guard,
        tripped_at=row["tripped_at"],
        reserved=tuple(Reserved(*values) for values in zip(*columns, strict=True)),
        changed_dials=row["dials"] or {},
        own=None if row["version"] is None else _own(client_id, row),
        book=partial(book.read, row),
    )


def _own(client_id: UUID, row: Mapping[str, Any]) -> Parameters:
    """The client's parameters among the columns of the state."""
    values = {name: row["own_symbols" if name == parameters.SYMBOLS else name] for name in parameters.NAMES}
    return Parameters(client_id=client_id, version=row["version"], **values)


def decide(client_id: UUID, order: str, proposal: Proposal, limit: str, breach: Breach | None) -> None:
    """Keep the answer, and, where there is no ``breach``, the room that the order takes.

    It goes to the server with the next statement of the transaction, or with its commit.
    """
    values = {
        "decision": uuid7(),
        "reservation": uuid7(),
        "client": client_id,
        "order": order,
        "symbol": proposal.symbol,
        "side": str(proposal.side),
        "quantity": proposal.quantity,
        "signed": proposal.signed_quantity,
        "price": proposal.price,
        "multiplier": proposal.multiplier,
        "unit_delta": proposal.unit_delta,
        "is_autonomous": proposal.is_autonomous,
        "approved": breach is None,
        "limit": limit[:64],
        "limit_value": breach.limit_value[:64] if breach else "",
        "order_value": breach.order_value[:64] if breach else "",
        "message": breach.message[:300] if breach else "",
    }
    _backend().leave(_DECIDE, values)


def _backend() -> DatabaseWrapper:
    return cast("DatabaseWrapper", transaction.get_connection())
