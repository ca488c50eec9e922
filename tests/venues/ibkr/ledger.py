"""What the gateway has on disk: orders, executions, positions, cash and each client's next order id."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.venues.ibkr.records import LIVE, Execution, Order

CASH = Decimal(1_000_000)
SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    perm_id INTEGER PRIMARY KEY, client_id INTEGER, order_id INTEGER, order_ref TEXT, status TEXT, body TEXT
);
CREATE INDEX IF NOT EXISTS orders_by_client ON orders (client_id, order_id);
CREATE TABLE IF NOT EXISTS executions (
    exec_id TEXT PRIMARY KEY, perm_id INTEGER, quantity TEXT, price TEXT, cumulative TEXT, average_price TEXT,
    time TEXT, commission TEXT
);
CREATE TABLE IF NOT EXISTS positions (account TEXT, con_id INTEGER, quantity TEXT, cost TEXT,
    PRIMARY KEY (account, con_id));
CREATE TABLE IF NOT EXISTS clients (client_id INTEGER PRIMARY KEY, next_id INTEGER);
CREATE TABLE IF NOT EXISTS cash (account TEXT PRIMARY KEY, amount TEXT);
"""


class Ledger:
    """The file. Each change is on disk before anybody is told of it."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def forget(self) -> None:
        """Delete all but what no number may be used twice for: orders' own numbers and clients' next ones go on."""
        with self.change():
            (last,) = self._db.execute("SELECT coalesce(max(perm_id), 0) FROM orders").fetchone()
            self._db.execute("INSERT OR REPLACE INTO clients VALUES (-1, ?)", (max(last, self.next_order_id(-1)),))
            for table in ("orders", "executions", "positions", "cash"):
                self._db.execute(f"DELETE FROM {table}")

    @contextmanager
    def change(self) -> Iterator[None]:
        """All or nothing of what is written inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def save(self, order: Order) -> None:
        """Keep an order, a new one under the next number of all."""
        if not order.perm_id:
            (last,) = self._db.execute("SELECT coalesce(max(perm_id), 0) FROM orders").fetchone()
            order.perm_id = max(last, self.next_order_id(-1), 1_700_000_000) + 1
        row = (order.perm_id, order.client_id, order.order_id, order.order_ref, order.status, _dump(order))
        self._db.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?)", row)

    def orders(self, *, live: bool | None = None) -> list[Order]:
        """Orders from the oldest on: all, those that live, or those that are over."""
        names = ", ".join(f"'{status}'" for status in LIVE)
        where = "" if live is None else f"WHERE status {'IN' if live else 'NOT IN'} ({names})"
        return [_load(body) for (body,) in self._db.execute(f"SELECT body FROM orders {where} ORDER BY perm_id")]

    def order(self, client_id: int, order_id: int) -> Order | None:
        """The newest order of a client under that id."""
        row = self._db.execute(
            "SELECT body FROM orders WHERE client_id = ? AND order_id = ? ORDER BY perm_id DESC LIMIT 1",
            (client_id, order_id),
        ).fetchone()
        return _load(row[0]) if row else None

    def by_perm_id(self, perm_id: int) -> Order:
        """The order of that number."""
        (body,) = self._db.execute("SELECT body FROM orders WHERE perm_id = ?", (perm_id,)).fetchone()
        return _load(body)

    def add(self, done: Execution) -> None:
        """Keep an execution."""
        row = (done.exec_id, done.perm_id, str(done.quantity), str(done.price), str(done.cumulative),
               str(done.average_price), done.time.isoformat(), str(done.commission))  # fmt: skip
        self._db.execute("INSERT INTO executions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def executions(self, perm_id: int | None = None) -> list[Execution]:
        """All executions, or those of one order, from the oldest on."""
        where, values = ("WHERE perm_id = ?", (perm_id,)) if perm_id is not None else ("", ())
        found = self._db.execute(f"SELECT * FROM executions {where} ORDER BY rowid", values)
        return [
            Execution(
                exec_id, perm, Decimal(quantity), Decimal(price), Decimal(total), Decimal(average),
                datetime.fromisoformat(time), Decimal(commission),
            )
            for exec_id, perm, quantity, price, total, average, time, commission in found
        ]  # fmt: skip

    def next_order_id(self, client_id: int) -> int:
        """The id that a client's next order may have."""
        row = self._db.execute("SELECT next_id FROM clients WHERE client_id = ?", (client_id,)).fetchone()
        return int(row[0]) if row else 1

    def set_next_order_id(self, client_id: int, next_id: int) -> None:
        """Put a client's next id on or back."""
        self._db.execute("INSERT OR REPLACE INTO clients VALUES (?, ?)", (client_id, next_id))

    def position(self, account: str, con_id: int) -> tuple[Decimal, Decimal]:
        """What is held of a contract and the average cost of one, its multiplier included."""
        row = self._db.execute(
            "SELECT quantity, cost FROM positions WHERE account = ? AND con_id = ?", (account, con_id)
        ).fetchone()
        return (Decimal(row[0]), Decimal(row[1])) if row else (Decimal(0), Decimal(0))

    def positions(self, account: str) -> list[tuple[int, Decimal, Decimal]]:
        """All that is held, with its average cost."""
        rows = self._db.execute(
            "SELECT con_id, quantity, cost FROM positions WHERE account = ? ORDER BY con_id", (account,)
        )
        return [(con_id, Decimal(quantity), Decimal(cost)) for con_id, quantity, cost in rows if Decimal(quantity)]

    def set_position(self, account: str, con_id: int, quantity: Decimal, cost: Decimal) -> None:
        """Keep what is held."""
        row = (account, con_id, str(quantity), str(cost))
        self._db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)", row)

    def cash(self, account: str) -> Decimal:
        """The cash of an account."""
        row = self._db.execute("SELECT amount FROM cash WHERE account = ?", (account,)).fetchone()
        return Decimal(row[0]) if row else CASH

    def set_cash(self, account: str, amount: Decimal) -> None:
        """Keep the cash of an account."""
        self._db.execute("INSERT OR REPLACE INTO cash VALUES (?, ?)", (account, str(amount)))


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value)} is not kept")


def _dump(order: Order) -> str:
    return json.dumps(asdict(order), default=plain)


def _load(body: str) -> Order:
    values = json.loads(body)
    for name in ("quantity", "limit_price", "stop_price", "filled", "average_price", "last_price"):
        values[name] = None if values[name] is None else Decimal(values[name])
    for name in ("created_at", "changed_at"):
        values[name] = datetime.fromisoformat(values[name])
        if values[name].tzinfo is None:
            values[name] = values[name].replace(tzinfo=UTC)
    return Order(**values)
