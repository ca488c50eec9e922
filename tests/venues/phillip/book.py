"""Accounts, orders, executions and cash on disk, and what trades against the market that the control port sets."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (client_id TEXT PRIMARY KEY, secret TEXT NOT NULL, cash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, client_id TEXT NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS markets (symbol TEXT PRIMARY KEY, bids TEXT NOT NULL, asks TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY AUTOINCREMENT, client_id TEXT NOT NULL,
  client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, type TEXT NOT NULL, force TEXT NOT NULL,
  quantity TEXT NOT NULL, limit_price TEXT, filled TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
  time TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL,
  client_id TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, time TEXT NOT NULL);
"""
OPEN = ("NEW", "PARTIALLY_FILLED")
FEE = Decimal("0.0008")
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Listed:
    """What is traded; a multiplier above 1 is a future's, which is not paid for."""

    exchange: str
    lot: Decimal
    tick: Decimal
    multiplier: Decimal = Decimal(1)
    expiry: str | None = None


LISTED = {
    "D05": Listed("SGX", Decimal(100), Decimal("0.01")),
    "O39": Listed("SGX", Decimal(100), Decimal("0.01")),
    "ESZ6": Listed("CME", Decimal(1), Decimal("0.25"), Decimal(50), "2026-12-18"),
}
MARKETS = {
    "D05": ([("43.17", "2000"), ("43.16", "90000")], [("43.19", "200"), ("43.21", "90000")]),
    "O39": ([("17.02", "90000")], [("17.03", "90000")]),
    "ESZ6": ([("6000.00", "500")], [("6000.25", "500")]),
}


class Book:
    """All of it inside one transaction of the ledger."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def seed(self) -> None:
        """The first account and the first markets."""
        if self._db.execute("SELECT 1 FROM accounts").fetchone() is None:
            self.add_account("test-client", "test-client-secret", "1000000.00")
            for symbol, (bids, asks) in MARKETS.items():
                self.set_market(symbol, bids, asks)

    def add_account(self, client_id: str, secret: str, cash: str) -> None:
        """An account, or new money for one."""
        self._db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", (client_id, secret, cash))

    def set_market(self, symbol: str, bids: Any, asks: Any) -> None:
        """Move the market; what rests and is met by it trades."""
        self._db.execute(
            "INSERT OR REPLACE INTO markets VALUES (?, ?, ?)", (symbol, json.dumps(bids), json.dumps(asks))
        )
        for row in self._db.execute(
            "SELECT id FROM orders WHERE symbol = ? AND status IN (?, ?) ORDER BY id", (symbol, *OPEN)
        ).fetchall():
            self._match(row["id"])

    def levels(self, symbol: str) -> list[list[tuple[Decimal, Decimal]]]:
        """Bids and asks, the best first."""
        row = self._db.execute("SELECT bids, asks FROM markets WHERE symbol = ?", (symbol,)).fetchone()
        return [[(Decimal(p), Decimal(q)) for p, q in json.loads(side)] for side in row]

    def place(self, client_id: str, fields: dict[str, Any]) -> sqlite3.Row:
        """Take an order, or keep it as rejected with a reason."""
        reason = self._refusal(client_id, fields)
        cursor = self._db.execute(
            "INSERT INTO orders (client_id, client_order_id, symbol, side, type, force, quantity, limit_price, filled,"
            " status, reason, time) VALUES (?,?,?,?,?,?,?,?,'0',?,?,?)",
            (client_id, fields["clientOrderId"], fields["symbol"], fields["side"], fields["orderType"],
             fields["timeInForce"], fields["quantity"], fields.get("limitPrice"), "REJECTED" if reason else "NEW",
             reason, _now()),
        )  # fmt: skip
        assert cursor.lastrowid is not None
        if not reason:
            self._match(cursor.lastrowid)
            row = self.row(cursor.lastrowid)
            if row["status"] in OPEN and row["force"] == "IOC":
                self._end(row["id"], "EXPIRED", "the rest could not be traded at once")
        return self.row(cursor.lastrowid)

    def _refusal(self, client_id: str, fields: dict[str, Any]) -> str:
        listed, quantity = LISTED.get(fields["symbol"]), Decimal(fields["quantity"])
        if listed is None:
            return "unknown symbol"
        if quantity <= 0 or quantity % listed.lot:
            return f"the quantity must be a multiple of {listed.lot}"
        price = fields.get("limitPrice")
        if price is not None and Decimal(price) % listed.tick:
            return f"the price must be a multiple of {listed.tick}"
        if listed.multiplier == 1:
            asks = self.levels(fields["symbol"])[1]
            worth = quantity * Decimal(price or (asks[0][0] if asks else 0))
            if fields["side"] == "BUY" and worth * (1 + FEE) > self.cash(client_id):
                return "insufficient funds"
            if (
                fields["side"] == "SELL"
                and quantity > self.positions(client_id).get(fields["symbol"], (Decimal(0),))[0]
            ):
                return "insufficient holdings"
        return ""

    def _match(self, order_id: int) -> None:
        row = self.row(order_id)
        listed, is_buyer = LISTED[row["symbol"]], row["side"] == "BUY"
        bids, asks = self.levels(row["symbol"])
        left, kept = Decimal(row["quantity"]) - Decimal(row["filled"]), []
        for price, depth in asks if is_buyer else bids:
            limit = row["limit_price"]
            crosses = limit is None or (price <= Decimal(limit) if is_buyer else price >= Decimal(limit))
            traded = min(left, depth) if crosses else Decimal(0)
            if traded > 0:
                fee = (traded * price * listed.multiplier * FEE).quantize(CENT, ROUND_HALF_UP)
                self._db.execute(
                    "INSERT INTO executions (order_id, client_id, quantity, price, fee, time) VALUES (?,?,?,?,?,?)",
                    (order_id, row["client_id"], str(traded), str(price), str(fee), _now()),
                )
                paid = traded * price * (1 if is_buyer else -1) if listed.multiplier == 1 else Decimal(0)
                cash = self.cash(row["client_id"]) - paid - fee
                self._db.execute("UPDATE accounts SET cash = ? WHERE client_id = ?", (str(cash), row["client_id"]))
                left -= traded
            if depth > traded:
                kept.append((str(price), str(depth - traded)))
        filled = Decimal(row["quantity"]) - left
        status = "FILLED" if left == 0 else "PARTIALLY_FILLED" if filled else row["status"]
        self._db.execute("UPDATE orders SET filled = ?, status = ? WHERE id = ?", (str(filled), status, order_id))
        column = "asks" if is_buyer else "bids"
        self._db.execute(f"UPDATE markets SET {column} = ? WHERE symbol = ?", (json.dumps(kept), row["symbol"]))

    def _end(self, order_id: int, status: str, reason: str) -> None:
        self._db.execute("UPDATE orders SET status = ?, reason = ? WHERE id = ?", (status, reason, order_id))

    def cancel(self, row: sqlite3.Row) -> sqlite3.Row:
        """Cancel an open order."""
        self._end(row["id"], "CANCELLED", "")
        return self.row(row["id"])

    def row(self, order_id: int) -> sqlite3.Row:
        """An order."""
        found: sqlite3.Row = self._db.execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
        return found

    def cash(self, client_id: str) -> Decimal:
        """What the ledger says."""
        return Decimal(self._db.execute("SELECT cash FROM accounts WHERE client_id = ?", (client_id,)).fetchone()[0])

    def positions(self, client_id: str) -> dict[str, tuple[Decimal, Decimal]]:
        """Quantity and average price by symbol."""
        rows = self._db.execute(
            "SELECT symbol, side, executions.quantity, price FROM executions JOIN orders ON orders.id = order_id"
            " WHERE orders.client_id = ? ORDER BY executions.id",
            (client_id,),
        )
        held: dict[str, tuple[Decimal, Decimal]] = {}
        for row in rows:
            quantity, cost = held.get(row["symbol"], (Decimal(0), Decimal(0)))
            signed = Decimal(row["quantity"]) * (1 if row["side"] == "BUY" else -1)
            after = quantity + signed
            if quantity * signed >= 0:
                cost = (abs(quantity) * cost + abs(signed) * Decimal(row["price"])) / abs(after)
            elif quantity * after < 0:
                cost = Decimal(row["price"])
            held[row["symbol"]] = (after, cost)
        return {symbol: pair for symbol, pair in held.items() if pair[0]}


def _now() -> str:
    return datetime.now(UTC).isoformat()
