"""The control port: one JSON object a line, answered by one. For whoever plays the venue's part by hand or in a test.

``{"do": "fault", "on": "place", "kind": "silent", "count": 1}``: see `tests.venues.ibkr.faults` for what there is.
Others: ``clear``, ``price`` (symbol, price), ``fill`` (perm_id, quantity, price), ``correct`` (exec_id, price),
``next_id`` (client_id, value), ``notice`` (code, message), ``lose_subscriptions``, ``drop``, ``freeze``, ``thaw``,
``linger`` (seconds), ``cancel`` (perm_id), ``manual`` (an order by hand: symbol, action, quantity, price), ``orders``,
``executions``, ``positions``, ``sessions``, ``depth`` (quantity that an order fills at most), ``reset``.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from tests.venues.ibkr.contracts import Query
from tests.venues.ibkr.exchange import Refused
from tests.venues.ibkr.gateway import Gateway
from tests.venues.ibkr.ledger import plain
from tests.venues.ibkr.records import Order

Command = dict[str, Any]


class Desk:
    """Carries out what the control port is told."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        while line := await reader.readline():
            try:
                answer: Any = {"ok": True, "answer": self._do(json.loads(line))}
            except (ValueError, KeyError, TypeError, Refused, StopIteration) as error:
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer, default=plain).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _do(self, command: Command) -> Any:
        name = str(command.pop("do"))
        actions: dict[str, Callable[..., Any]] = {
            "fault": self._gateway.faults.add,
            "clear": self._clear,
            "price": lambda symbol, price: self._gateway.set_price(symbol, Decimal(str(price))),
            "fill": self._fill,
            "correct": lambda exec_id, price: asdict(self._gateway.exchange.correct(exec_id, Decimal(str(price)))),
            "cancel": self._cancel,
            "manual": self._manual,
            "next_id": lambda client_id, value: self._gateway.ledger.set_next_order_id(client_id, value),
            "notice": lambda code, message="": self._gateway.notice(code, message),
            "lose_subscriptions": self._gateway.lose_subscriptions,
            "depth": self._depth,
            "reset": self._reset,
            "drop": self._gateway.drop_all,
            "freeze": lambda: self._freeze(True),
            "thaw": lambda: self._freeze(False),
            "linger": self._linger,
            "orders": lambda: [asdict(order) for order in self._gateway.ledger.orders()],
            "executions": lambda: [asdict(done) for done in self._gateway.ledger.executions()],
            "positions": lambda: self._gateway.ledger.positions(self._gateway.account),
            "sessions": lambda: sorted(self._gateway.sessions),
        }
        if name not in actions:
            raise ValueError(f"nothing is called {name!r}; there are: {', '.join(sorted(actions))}")
        return actions[name](**command)

    def _clear(self) -> None:
        self._gateway.faults.clear()
        self._gateway.exchange.resting.clear()
        self._gateway.exchange.caps.clear()
        self._gateway.silent.clear()
        self._gateway.is_frozen = False
        self._gateway.depth = None
        self._gateway.options.linger = 0.0

    def _depth(self, quantity: str | int | None) -> None:
        self._gateway.depth = None if quantity is None else Decimal(str(quantity))

    def _reset(self) -> None:
        """An empty ledger, and nothing that goes wrong; clients stay connected."""
        self._clear()
        self._gateway.ledger.forget()

    def _fill(self, perm_id: int, quantity: str | int, price: str | float | None = None) -> Any:
        order = self._gateway.ledger.by_perm_id(perm_id)
        contract = self._gateway.listing.by_id[order.con_id]
        quote = self._gateway.market.quote(contract, self._gateway.now())
        at = Decimal(str(price)) if price is not None else (quote.ask if order.sign > 0 else quote.bid)
        return asdict(self._gateway.exchange.fill(perm_id, Decimal(str(quantity)), at))

    def _cancel(self, perm_id: int) -> None:
        order = self._gateway.ledger.by_perm_id(perm_id)
        self._gateway.exchange.cancel(order.client_id, order.order_id)

    def _manual(self, symbol: str, action: str, quantity: int, price: str | float) -> int:
        """An order put in by hand: it has no order id of any client."""
        order = Order(
            client_id=0, order_id=0, con_id=0, exchange="SMART", action=action, quantity=Decimal(quantity),
            order_type="LMT", tif="DAY", account=self._gateway.account, order_ref="", limit_price=Decimal(str(price)),
        )  # fmt: skip
        self._gateway.ledger.set_next_order_id(0, 0)
        taken = self._gateway.exchange.place(order, Query(symbol=symbol, sec_type="STK"))
        self._gateway.changed(taken)
        self._gateway.exchange.work(taken)
        return taken.perm_id

    def _freeze(self, frozen: bool) -> None:
        self._gateway.is_frozen = frozen

    def _linger(self, seconds: float) -> None:
        self._gateway.options.linger = seconds


class Control:
    """The other end of the control port, for tests."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rwb")

    def do(self, name: str, **values: Any) -> Any:
        """Carry out a command; its answer. Raises `ValueError` when it was not understood."""
        self._file.write(json.dumps({"do": name, **values}, default=plain).encode() + b"\n")
        self._file.flush()
        answer = json.loads(self._file.readline())
        if not answer["ok"]:
            raise ValueError(answer["error"])
        return answer["answer"]

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()
