"""A broker in a process of its own: it keeps its own ledger, and loses answers after it has accepted.

``python -m tests.faults.venue SOCKET LEDGER SEED`` answers one JSON line with one JSON line. An order is known by its
client order id: sent again it is not booked again, and how often each was sent and booked is on record.
"""

import json
import random
import socket
import socketserver
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 5.0


class AnswerLost(ConnectionError):
    """No answer came: the order may have been booked or not."""


def submit(address: str, order_id: str) -> bool:
    """Send an order; whether it was new to the broker. Raises `AnswerLost`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(address)
            connection.sendall(json.dumps({"order_id": order_id}).encode() + b"\n")
            line = connection.makefile().readline()
    except OSError as error:
        raise AnswerLost(f"the broker cannot be reached: {error}") from error
    if not line:
        raise AnswerLost("the broker hung up without an answer")
    return bool(json.loads(line)["new"])


@dataclass(frozen=True)
class Booked:
    """One order in the broker's ledger."""

    order_id: str
    submitted: int
    accepted: int


class Ledger:
    """The broker's own record, in SQLite."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._rows = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._rows.execute("PRAGMA synchronous=OFF")  # this process is not among those that are killed
        self._rows.execute("CREATE TABLE IF NOT EXISTS sent (order_id TEXT NOT NULL, accepted INTEGER NOT NULL)")
        self._rows.execute("CREATE INDEX IF NOT EXISTS sent_by_id ON sent (order_id)")

    def receive(self, order_id: str, *, refuse: bool) -> bool:
        """Book an order unless it is known (or is to be refused); whether it was booked now."""
        with self._lock:
            known = self._rows.execute("SELECT 1 FROM sent WHERE order_id = ? AND accepted", [order_id]).fetchone()
            accepted = known is None and not refuse
            self._rows.execute("INSERT INTO sent VALUES (?, ?)", [order_id, accepted])
        return accepted

    def orders(self) -> list[Booked]:
        """All that was ever sent."""
        rows = self._rows.execute("SELECT order_id, count(*), sum(accepted) FROM sent GROUP BY order_id")
        return [Booked(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._rows.close()


def serve(address: str, ledger: Ledger, seed: int) -> None:
    """Answer for ever. One order in twenty is lost before it is booked, one answer in twelve after, some come late."""
    rng = random.Random(seed)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            if not line:
                return
            fate = rng.random()
            new = ledger.receive(json.loads(line)["order_id"], refuse=fate < 0.05)
            if fate < 0.05 or fate > 1 - 1 / 12:
                return
            if fate < 0.12:
                time.sleep(rng.uniform(0.2, 1.0))
            try:
                self.wfile.write(json.dumps({"new": new}).encode() + b"\n")
            except OSError:
                return  # the sender was killed meanwhile

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(address, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], Ledger(Path(sys.argv[2])), int(sys.argv[3]))
