"""A client's exposure and results as the review of an order wants them, read with the state of its risk."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, LiteralString, cast

from django.db import connection

from trading.brokers.registry import is_simulated
from trading.core.postgres.base import DatabaseWrapper
from trading.marketdata.services import DAILY
from trading.risk.limits import Book
from trading.risk.state import BookQuery

STALE_AFTER: Final = timedelta(days=7)
"""A candle that ended longer ago says nothing of today; a week with holidays of a market is shorter."""
RESULTS = 256
"""How many of the last fills that closed something are looked at for losses in a row: an order may have dozens."""

# What the condition on realised_pnl says is that of the index trades_closing: a fill that only opens costs its fee.
# Times are compared with what stays the same for a statement, so that an index finds them. A daily candle that began
# eight days ago ended `STALE_AFTER` ago.
_BOOK: Final = """
    SELECT p.symbols, p.quantities, p.prices, p.outdated, today.total AS realised, results.results
      FROM (SELECT array_agg(held.symbol) AS symbols, array_agg(held.quantity) AS quantities,
                   array_agg(last.close) AS prices,
                   array_agg(held.symbol) FILTER (WHERE last.time IS NULL
                       OR last.time < statement_timestamp() - interval '8 days') AS outdated
              FROM positions AS held
              LEFT JOIN LATERAL (
                   SELECT close, time FROM candles WHERE symbol = held.symbol AND "interval" = %(interval)s
                    ORDER BY time DESC LIMIT 1) AS last ON true
             WHERE held.client_id = %(client)s AND held.quantity <> 0) AS p,
           (SELECT coalesce(sum(realised_pnl), 0) AS total FROM trades
             WHERE client_id = %(client)s
               AND time >= greatest((SELECT since FROM state),
                                    date_trunc('day', statement_timestamp(), 'UTC'))) AS today,
           (SELECT array_agg(profit ORDER BY ended DESC, newest DESC) AS results
              FROM (SELECT sum(realised_pnl) AS profit, max(time) AS ended, max(id::text) AS newest
                      FROM (SELECT id, order_id, realised_pnl, time FROM trades
                             WHERE client_id = %(client)s AND NOT (realised_pnl = (fee * -1))
                               AND time >= coalesce((SELECT since FROM state), '-infinity')
                             ORDER BY time DESC, id DESC LIMIT %(results)s) AS closing
                     GROUP BY order_id) AS orders) AS results
"""

# Summed for each client by itself, which an index finds; joined, the trades of all times would be read.
_TRADED: Final = """
    SELECT coalesce(sum(t.trades), 0)::bigint AS trades, coalesce(sum(t.notional), 0) AS notional,
           coalesce(sum(t.realised_pnl), 0) AS realised_pnl, coalesce(sum(t.fees), 0) AS fees,
           coalesce(sum(t.losses), 0)::bigint AS losses
      FROM tenants_client AS c
     CROSS JOIN LATERAL (
           SELECT count(*) AS trades, sum(abs(quantity) * price) AS notional, sum(realised_pnl) AS realised_pnl,
                  sum(fee) AS fees,
                  count(*) FILTER (WHERE realised_pnl < 0 AND NOT (realised_pnl = (fee * -1))) AS losses
             FROM trades WHERE client_id = c.id AND time >= %(since)s) AS t
"""


def traded(since: datetime, *counted: datetime | None) -> dict[str, int | str]:
    """The trades of all clients since then, and since each of ``counted``: number, worth, realised profit, losses."""
    latest = max([since, *(at for at in counted if at is not None)])
    row = _one(_TRADED, {"since": latest})
    return {name: value if isinstance(value, int) else f"{value:.2f}" for name, value in row.items()}


def _book(row: Mapping[str, Any], *, moves_money: bool = False) -> Book:
    symbols = row["symbols"] or ()
    return Book(
        quantities=dict(zip(symbols, row["quantities"] or (), strict=True)),
        reserved_buys={},
        reserved_sells={},
        prices={symbol: price for symbol, price in zip(symbols, row["prices"] or (), strict=True) if price is not None},
        realised_today=Decimal(row["realised"]),
        results=tuple(row["results"] or ()),
        outdated=frozenset(row["outdated"] or ()) if moves_money else frozenset(),
    )


BOOK: Final = BookQuery(_BOOK, _book, {"interval": DAILY, "results": RESULTS})
"""What a client holds, at the newest closes, and its results of today and of the last orders that closed something."""
_MONEY: Final = BookQuery(_BOOK, partial(_book, moves_money=True), BOOK.values)


def book_for(broker: str) -> BookQuery:
    """`BOOK` as an order for the venue called ``broker`` is reviewed by: where money can move, an old close is told."""
    return BOOK if is_simulated(broker) else _MONEY


def _one(statement: LiteralString, values: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an aggregate, by a statement that the server prepares."""
    return cast("DatabaseWrapper", connection).run(statement, values)[0]
