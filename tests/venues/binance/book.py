"""Accounts, orders and trades on disk, and what trades against the market that the control port sets."""

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from tests.venues.binance.rules import SYMBOLS, TICK_OF_MONEY, Symbol, check_filters, reject, shown

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (api_key TEXT PRIMARY KEY, secret TEXT NOT NULL, can_trade INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS balances (api_key TEXT, asset TEXT, free TEXT NOT NULL, locked TEXT NOT NULL,
  PRIMARY KEY (api_key, asset));
CREATE TABLE IF NOT EXISTS markets (symbol TEXT PRIMARY KEY, bids TEXT NOT NULL, asks TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (order_id INTEGER PRIMARY KEY AUTOINCREMENT, api_key TEXT NOT NULL,
  symbol TEXT NOT NULL, client_order_id TEXT NOT NULL, side TEXT NOT NULL, type TEXT NOT NULL, force TEXT NOT NULL,
  price TEXT NOT NULL, quantity TEXT NOT NULL, executed TEXT NOT NULL, value TEXT NOT NULL, status TEXT NOT NULL,
  time INTEGER NOT NULL, updated INTEGER NOT NULL, quote_quantity TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS orders_by_client_id ON orders (api_key, symbol, client_order_id);
CREATE TABLE IF NOT EXISTS trades (id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL, api_key TEXT,
  symbol TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, commission TEXT NOT NULL, asset TEXT NOT NULL,
  time INTEGER NOT NULL, is_buyer INTEGER NOT NULL, is_maker INTEGER NOT NULL);
"""
OPEN = ("NEW", "PARTIALLY_FILLED")
COMMISSION = Decimal("0.001")
LEVEL = tuple[Decimal, Decimal]
DEFAULT_MARKETS = {
    "BTCUSDT": ([("60000.00", "0.4"), ("59999.50", "900")], [("60000.01", "0.3"), ("60000.57", "900")]),
    "ETHUSDT": ([("3000.00", "5000")], [("3000.01", "5000")]),
    "SOLUSDT": ([("150.00", "90000")], [("150.01", "90000")]),
    "ETHBTC": ([("0.05000", "9000")], [("0.05001", "9000")]),
}
DEFAULT_BALANCES = {"USDT": "100000", "BTC": "2", "ETH": "0", "SOL": "0"}


@dataclass(frozen=True)
class NewOrder:
    """A valid request for an order; ``price`` None at the market."""

    symbol: Symbol
    client_order_id: str
    side: str
    type: str
    force: str
    price: Decimal | None
    quantity: Decimal
    quote_quantity: Decimal = Decimal(0)


class Book:
    """All of it inside one transaction of the ledger, at one time in milliseconds."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._db, self._now = connection, now

    def seed(self) -> None:
        """The first account and the first markets."""
        if self._db.execute("SELECT 1 FROM accounts").fetchone() is None:
            self.add_account("test-key", "test-secret", DEFAULT_BALANCES)
            for name, (bids, asks) in DEFAULT_MARKETS.items():
                self._db.execute("INSERT INTO markets VALUES (?, ?, ?)", (name, json.dumps(bids), json.dumps(asks)))

    def add_account(self, key: str, secret: str, balances: dict[str, str], *, can_trade: bool = True) -> None:
        """An account, or new money for one."""
        self._db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", (key, secret, int(can_trade)))
        for asset, free in balances.items():
            self._db.execute("INSERT OR REPLACE INTO balances VALUES (?, ?, ?, '0')", (key, asset, free))

    def levels(self, symbol: str) -> tuple[list[LEVEL], list[LEVEL]]:
        """Bids and asks, the best first."""
        row = self._db.execute("SELECT bids, asks FROM markets WHERE symbol = ?", (symbol,)).fetchone()
        bids, asks = ([(Decimal(p), Decimal(q)) for p, q in json.loads(side)] for side in row)
        return bids, asks

    def set_market(self, symbol: str, bids: list[list[str]], asks: list[list[str]]) -> None:
        """Move the market; what rests and is met by it trades."""
        self._db.execute(
            "INSERT OR REPLACE INTO markets VALUES (?, ?, ?)", (symbol, json.dumps(bids), json.dumps(asks))
        )
        rows = self._db.execute(
            "SELECT order_id FROM orders WHERE symbol = ? AND status IN (?, ?) ORDER BY order_id", (symbol, *OPEN)
        ).fetchall()
        for row in rows:
            self._match(row["order_id"], is_maker=True)

    def average(self, symbol: str) -> Decimal:
        """The weighted average price: here the middle of the best prices, or the one that there is."""
        bids, asks = self.levels(symbol)
        best = [side[0][0] for side in (bids, asks) if side]
        return (sum(best, Decimal(0)) / len(best)).quantize(TICK_OF_MONEY) if best else Decimal(0)

    def balance(self, key: str, asset: str) -> tuple[Decimal, Decimal]:
        """Free and locked."""
        row = self._db.execute("SELECT free, locked FROM balances WHERE api_key = ? AND asset = ?", (key, asset))
        found = row.fetchone()
        return (Decimal(found[0]), Decimal(found[1])) if found else (Decimal(0), Decimal(0))

    def _move(self, key: str, asset: str, free: Decimal, locked: Decimal = Decimal(0)) -> None:
        before = self.balance(key, asset)
        after = before[0] + free, before[1] + locked
        assert after[0] >= 0 and after[1] >= 0, (asset, after)
        self._db.execute(
            "INSERT OR REPLACE INTO balances VALUES (?, ?, ?, ?)", (key, asset, str(after[0]), str(after[1]))
        )

    def place(self, key: str, new: NewOrder, *, is_test: bool = False) -> sqlite3.Row | None:
        """Take an order; refuse by filters, ids, depth or balance. None for a test."""
        symbol = new.symbol
        check_filters(symbol, side=new.side, price=new.price, quantity=new.quantity, average=self.average(symbol.name))
        mine = self._db.execute(
            "SELECT * FROM orders WHERE api_key = ? AND symbol = ? AND status IN (?, ?)", (key, symbol.name, *OPEN)
        ).fetchall()
        if len(mine) >= symbol.max_orders:
            reject(-1013, "Filter failure: MAX_NUM_ORDERS")
        if any(row["client_order_id"] == new.client_order_id for row in mine):
            reject(-2010, "Duplicate order sent.")
        if symbol.max_position and new.side == "BUY":
            resting = sum((Decimal(row["quantity"]) - Decimal(row["executed"]) for row in mine if row["side"] == "BUY"),
                          Decimal(0))  # fmt: skip
            if sum(self.balance(key, symbol.base)) + resting + new.quantity > symbol.max_position:
                reject(-2010, "Filter failure: MAX_POSITION")
        asset, needed = self._needs(new)
        if self.balance(key, asset)[0] < needed:
            reject(-2010, "Account has insufficient balance for requested action.")
        if is_test:
            return None
        if new.price is not None:
            self._move(key, asset, -needed, needed)
        values = (key, symbol.name, new.client_order_id, new.side, new.type, new.force, str(new.price or 0),
                  str(new.quantity), "0", "0", "NEW", self._now, self._now, str(new.quote_quantity))  # fmt: skip
        cursor = self._db.execute(
            "INSERT INTO orders (api_key, symbol, client_order_id, side, type, force, price, quantity, executed, value,"
            " status, time, updated, quote_quantity) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            values,
        )
        assert cursor.lastrowid is not None
        self._match(cursor.lastrowid, is_maker=False)
        row = self.row(cursor.lastrowid)
        if row["status"] in OPEN and new.force != "GTC":
            self._end(row, "EXPIRED")
        return self.row(cursor.lastrowid)

    def _needs(self, new: NewOrder) -> tuple[str, Decimal]:
        if new.side == "SELL":
            return new.symbol.base, new.quantity
        if new.price is not None:
            return new.symbol.quote, new.quantity * new.price
        left, cost = new.quantity, Decimal(0)
        for price, depth in self.levels(new.symbol.name)[1]:
            cost += min(left, depth) * price
            left -= min(left, depth)
        return new.symbol.quote, cost

    def _match(self, order_id: int, *, is_maker: bool) -> None:
        """Trade what the other side of the market offers at the order's price or better, and use it up."""
        row = self.row(order_id)
        symbol, is_buyer = SYMBOLS[row["symbol"]], row["side"] == "BUY"
        limit = Decimal(row["price"])
        bids, asks = self.levels(symbol.name)
        offered, left = (asks if is_buyer else bids), Decimal(row["quantity"]) - Decimal(row["executed"])
        kept: list[LEVEL] = []
        for price, depth in offered:
            crosses = limit == 0 or (price <= limit if is_buyer else price >= limit)
            traded = min(left, depth) if crosses else Decimal(0)
            if traded > 0:
                self._trade(self.row(order_id), symbol, limit if is_maker else price, traded, is_maker=is_maker)
                left -= traded
            if depth > traded:
                kept.append((price, depth - traded))
        sides = (bids, kept) if is_buyer else (kept, asks)
        self._db.execute(
            "UPDATE markets SET bids = ?, asks = ? WHERE symbol = ?",
            (*(json.dumps([[str(p), str(q)] for p, q in side]) for side in sides), symbol.name),
        )

    def _trade(self, row: sqlite3.Row, symbol: Symbol, price: Decimal, quantity: Decimal, *, is_maker: bool) -> None:
        key, is_buyer, value = row["api_key"], row["side"] == "BUY", price * quantity
        is_limit = Decimal(row["price"]) > 0
        if is_buyer:
            held = Decimal(row["price"]) * quantity
            self._move(key, symbol.quote, *((held - value, -held) if is_limit else (-value,)))
            commission, asset = (quantity * COMMISSION).quantize(TICK_OF_MONEY, ROUND_DOWN), symbol.base
            self._move(key, asset, quantity - commission)
        else:
            self._move(key, symbol.base, *((Decimal(0), -quantity) if is_limit else (-quantity,)))
            commission, asset = (value * COMMISSION).quantize(TICK_OF_MONEY, ROUND_DOWN), symbol.quote
            self._move(key, asset, value - commission)
        self._db.execute(
            "INSERT INTO trades (order_id, api_key, symbol, price, quantity, commission, asset, time, is_buyer,"
            " is_maker) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                row["order_id"],
                key,
                symbol.name,
                str(price),
                str(quantity),
                str(commission),
                asset,
                self._now,
                int(is_buyer),
                int(is_maker),
            ),
        )
        executed = Decimal(row["executed"]) + quantity
        status = "FILLED" if executed == Decimal(row["quantity"]) else "PARTIALLY_FILLED"
        self._db.execute(
            "UPDATE orders SET executed = ?, value = ?, status = ?, updated = ? WHERE order_id = ?",
            (str(executed), str(Decimal(row["value"]) + value), status, self._now, row["order_id"]),
        )

    def _end(self, row: sqlite3.Row, status: str) -> None:
        self._db.execute(
            "UPDATE orders SET status = ?, updated = ? WHERE order_id = ?", (status, self._now, row["order_id"])
        )
        if Decimal(row["price"]) > 0:
            left, symbol = Decimal(row["quantity"]) - Decimal(row["executed"]), SYMBOLS[row["symbol"]]
            asset, held = (symbol.quote, left * Decimal(row["price"])) if row["side"] == "BUY" else (symbol.base, left)
            self._move(row["api_key"], asset, held, -held)

    def cancel(self, key: str, symbol: str, order_id: int | None, client_order_id: str | None) -> sqlite3.Row:
        """Cancel an open order."""
        row = self.find(key, symbol, order_id, client_order_id, only_open=True)
        if row is None:
            reject(-2011, "Unknown order sent.")
        self._end(row, "CANCELED")
        return self.row(row["order_id"])

    def row(self, order_id: int) -> sqlite3.Row:
        """An order."""
        found: sqlite3.Row = self._db.execute("SELECT * FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        return found

    def find(
        self, key: str, symbol: str, order_id: int | None, client_order_id: str | None, *, only_open: bool = False
    ) -> sqlite3.Row | None:
        """An order by either id; of several with one client id, an open one, else the newest."""
        rows: Iterator[sqlite3.Row] = self._db.execute(
            "SELECT * FROM orders WHERE api_key = ? AND symbol = ? AND (? IS NULL OR order_id = ?)"
            " AND (? IS NULL OR client_order_id = ?) AND (? = 0 OR status IN (?, ?)) ORDER BY order_id DESC",
            (key, symbol, order_id, order_id, client_order_id, client_order_id, int(only_open), *OPEN),
        )
        return next(rows, None)

    def traded(self, symbol: str, since: int) -> list[sqlite3.Row]:
        """Everybody's trades in a symbol from then on, oldest first."""
        return self._db.execute(
            "SELECT * FROM trades WHERE symbol = ? AND time >= ? ORDER BY id", (symbol, since)
        ).fetchall()

    def trades(self, order_id: int) -> list[sqlite3.Row]:
        """The trades of an order."""
        return self._db.execute("SELECT * FROM trades WHERE order_id = ? ORDER BY id", (order_id,)).fetchall()


def order_body(row: sqlite3.Row) -> dict[str, Any]:
    """An order as every answer has it."""
    return {
        "symbol": row["symbol"],
        "orderId": row["order_id"],
        "orderListId": -1,
        "clientOrderId": row["client_order_id"],
        "price": shown(Decimal(row["price"])),
        "origQty": shown(Decimal(row["quantity"])),
        "executedQty": shown(Decimal(row["executed"])),
        "origQuoteOrderQty": shown(Decimal(row["quote_quantity"])),
        "cummulativeQuoteQty": shown(Decimal(row["value"])),
        "status": row["status"],
        "timeInForce": row["force"] if row["type"] != "MARKET" else "GTC",
        "type": row["type"],
        "side": row["side"],
        "workingTime": row["time"],
        "selfTradePreventionMode": "NONE",
    }


def new_client_id() -> str:
    """An id for who gave none."""
    return uuid.uuid4().hex[:22]


def milliseconds(offset: int) -> int:
    """The venue's clock."""
    return time.time_ns() // 1_000_000 + offset
