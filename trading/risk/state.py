"""What a review reads and writes, in few round trips: an account stays locked meanwhile."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from django.db import connection, transaction
from psycopg.rows import dict_row

from trading.core import dials
from trading.core.ids import uuid7
from trading.risk.limits import Breach, Proposal
from trading.risk.models import Guard, RiskAccount
from trading.tenants import parameters
from trading.tenants.models import Parameters

_ACCOUNT: Final = "SELECT tripped_at, trades_since FROM risk_accounts WHERE client_id = %(client)s"
_LOCK: Final = _ACCOUNT + " FOR NO KEY UPDATE"
# A statement of its own: it sees what the account's last holder has committed while this one waited for the lock.
_STATE: Final = """
    SELECT clock_timestamp() AS now, g.id, g.halted, g.kill_switch, g.reason, g.trades_since,
           coalesce((SELECT json_object_agg(name, value) FROM changed_settings), '{}') AS dials,
           r.symbols, r.quantities, r.prices, r.multipliers, r.unit_deltas, own.*
      FROM (SELECT 1) AS one
      LEFT JOIN risk_guard AS g ON g.id = 1
      LEFT JOIN LATERAL (
           SELECT array_agg(symbol ORDER BY id) AS symbols, array_agg(quantity ORDER BY id) AS quantities,
                  array_agg(price ORDER BY id) AS prices, array_agg(multiplier ORDER BY id) AS multipliers,
                  array_agg(unit_delta ORDER BY id) AS unit_deltas
             FROM risk_reservations WHERE client_id = %(client)s) AS r ON true
      LEFT JOIN LATERAL (
           SELECT version, max_order_size, max_daily_loss, max_position_per_symbol, max_gross_exposure, max_net_delta,
                  max_open_legs, max_spread_pct, breaker_losses, breaker_loss, market_hours, symbols AS own_symbols,
                  cash_buffer, min_notional, max_orders
             FROM client_parameters WHERE client_id = %(client)s ORDER BY version DESC LIMIT 1) AS own ON true
"""
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
class Reserved:
    """What an order under way may come to: signed ``quantity``, ``price`` of one unit of the underlying."""

    symbol: str
    quantity: Decimal
    price: Decimal
    multiplier: Decimal
    unit_delta: Decimal | None


@dataclass(frozen=True)
class State:
    """What holds for a client at the moment of a review. ``guard`` is None where its row is missing."""

    now: datetime
    guard: Guard | None
    tripped_at: datetime | None
    trades_since: datetime | None
    """Trades before do not count: the later of the platform's last reset and the client's own."""
    reserved: tuple[Reserved, ...]
    changed_dials: Mapping[str, Any]
    own: Parameters | None

    def in_force(self) -> parameters.InForce:
        """The client's parameters and the platform's; raises `ValueError` where they do not make sense."""
        return parameters.combined(dials.from_rows(self.changed_dials), self.own)


def locked(client_id: UUID) -> State:
    """The state, with the client's account locked until the transaction ends."""
    found = _read(client_id, _LOCK)
    if found is None:
        RiskAccount.objects.bulk_create([RiskAccount(client_id=client_id)], ignore_conflicts=True)
        found = _read(client_id, _LOCK)
    if found is None:
        raise LookupError(f"client {client_id} has no account for its risk, and none can be made")
    return found


def seen(client_id: UUID) -> State:
    """The state to be shown, as it is at this moment."""
    with transaction.atomic():
        return _read(client_id, _ACCOUNT) or locked(client_id)


def _read(client_id: UUID, first: LiteralString) -> State | None:
    account, state = _execute((first, _STATE), {"client": client_id})
    if not account:
        return None
    row = state[0]
    guard = None
    if row["id"] is not None:
        guard = Guard(**{name: row[name] for name in ("id", "halted", "kill_switch", "reason", "trades_since")})
    columns = [row[name] or () for name in ("symbols", "quantities", "prices", "multipliers", "unit_deltas")]
    return State(
        now=row["now"],
        guard=guard,
        tripped_at=account[0]["tripped_at"],
        trades_since=max(
            (at for at in (row["trades_since"], account[0]["trades_since"]) if at is not None), default=None
        ),
        reserved=tuple(Reserved(*values) for values in zip(*columns, strict=True)),
        changed_dials=row["dials"],
        own=None if row["version"] is None else _own(client_id, row),
    )


def _own(client_id: UUID, row: Mapping[str, Any]) -> Parameters:
    """The client's parameters among the columns of the state."""
    values = {name: row["own_symbols" if name == parameters.SYMBOLS else name] for name in parameters.NAMES}
    return Parameters(client_id=client_id, version=row["version"], **values)


def decide(client_id: UUID, order: str, proposal: Proposal, limit: str, breach: Breach | None) -> None:
    """Keep the answer, and, where there is no ``breach``, the room that the order takes."""
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
    _execute((_DECIDE,), values)


def _execute(statements: tuple[LiteralString, ...], values: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The rows of each statement, all sent at once and prepared by the server; in the open transaction."""
    together = connection.connection.pipeline() if len(statements) > 1 else nullcontext()
    with connection.wrap_database_errors:
        cursors = [psycopg.Cursor(connection.connection, row_factory=dict_row) for _ in statements]
        with together:
            for cursor, statement in zip(cursors, statements, strict=True):
                cursor.execute(statement, values, prepare=True)
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
