"""The gateway: who is connected, what they are told, and what goes wrong on purpose."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.venues.ibkr import messages
from tests.venues.ibkr.contracts import Listing, Query
from tests.venues.ibkr.exchange import Exchange, Refused
from tests.venues.ibkr.faults import Fault, Faults
from tests.venues.ibkr.ledger import Ledger
from tests.venues.ibkr.market import Market, Pacing
from tests.venues.ibkr.records import Execution, Order
from tests.venues.ibkr.session import Session
from tests.venues.ibkr.wire import frame

SILENT = ("silent", "drop", "garbage", "wrong_id", "refuse_booked")
"""Faults of an order that is booked although its client is not told so."""
TAGS = ("NetLiquidation", "TotalCashValue", "AvailableFunds", "BuyingPower", "GrossPositionValue", "SettledCash")


@dataclass
class Options:
    """How the gateway behaves."""

    accounts: tuple[str, ...] = ("DU1234567",)
    version: int = messages.MAX_VERSION
    linger: float = 0.0
    """Seconds that a client id stays in use after its connection broke without a goodbye."""
    max_rate: int = 50
    """Messages a second; more end the connection."""
    pacing: Pacing = field(default_factory=Pacing)


class Gateway:
    """One login's gateway. All its state that matters is in the ledger."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime], options: Options | None = None) -> None:
        self.ledger = ledger
        self.now = clock
        self.options = options or Options()
        self.listing = Listing()
        self.market = Market(self.listing)
        self.faults = Faults()
        self.exchange = Exchange(self.listing, self.market, ledger, self, clock)
        self.sessions: dict[int, Session] = {}
        self.lingering: dict[int, float] = {}
        self.is_frozen = False
        self.depth: Decimal | None = None
        """The most that an order may fill by itself; None: all of it."""
        self.silent: set[int] = set()
        """Orders of which nothing is told unless somebody asks."""
        self._effects: dict[int, Fault] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def account(self) -> str:
        """The account that orders without one go to."""
        return self.options.accounts[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        session = Session(self, reader, writer)
        try:
            await session.run()
        finally:
            if session.client_id is not None and self.sessions.get(session.client_id) is session:
                del self.sessions[session.client_id]
                if not session.said_goodbye and self.options.linger:
                    until = asyncio.get_running_loop().time() + self.options.linger
                    self.lingering[session.client_id] = until
            writer.close()

    def is_taken(self, client_id: int) -> bool:
        """Whether a client id is in use, or was until a moment ago."""
        return client_id in self.sessions or self.lingering.get(client_id, 0.0) > asyncio.get_running_loop().time()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something after a while, unless the gateway has ended by then."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def place(self, session: Session, order: Order, query: Query) -> None:
        """Take, change or refuse an order, with whatever fault waits for it."""
        known = self.ledger.order(order.client_id, order.order_id)
        is_change = known is not None and known.is_live
        fault = self.faults.take("modify" if is_change else "place")
        kind = "" if fault is None else fault.kind
        values = {} if fault is None else fault.values
        order.account = order.account or self.account
        try:
            if order.account not in self.options.accounts:
                raise Refused(321, "Error validating request.-'bK' : cause - Invalid account code")
            if kind in ("reject", "error"):
                raise Refused(int(values.get("code", 201)), str(values.get("message", "Order rejected - reason:no")))
            if kind == "ignore":
                return
            if kind == "lose":
                session.drop()
                return
            if kind == "late":
                self.later(float(values.get("seconds", 1.0)), lambda: self._book(order, query, is_silent=True))
                return
            if order.what_if:
                self._try_out(session, order, query)
                return
            if kind == "slow":
                self.later(float(values.get("seconds", 0.5)), lambda: self._book(order, query, is_silent=False))
                return
            self._book(order, query, is_silent=kind in SILENT, fault=fault)
            self._answer_wrongly(session, order, kind, values)
        except Refused as refusal:
            session.error(order.order_id, refusal.code, refusal.message)

    def _answer_wrongly(self, session: Session, order: Order, kind: str, values: dict[str, Any]) -> None:
        """Say what is not so of an order that was booked in silence."""
        if kind == "drop":
            session.drop()
        elif kind == "garbage":
            session.send(frame("5", "x", "not", "an", "order"))
            session.send(frame("99999", "?"))
        elif kind == "wrong_id":
            contract = self.listing.by_id[order.con_id]
            other = replace(order, order_id=order.order_id + 500, perm_id=order.perm_id + 500, order_ref="another")
            session.send(messages.open_order(other, contract, version=session.version))
            session.send(messages.order_status(other))
        elif kind == "refuse_booked":
            session.error(order.order_id, int(values.get("code", 201)), "Order rejected - reason:no")

    def _try_out(self, session: Session, order: Order, query: Query) -> None:
        contract = self.exchange.contract_for(query)
        order.con_id, order.status = contract.con_id, "PreSubmitted"
        order.limit_price = order.limit_price or self.market.quote(contract, self.now()).ask
        session.send(messages.open_order(order, contract, version=session.version))

    def _book(self, order: Order, query: Query, *, is_silent: bool, fault: Fault | None = None) -> None:
        kind = "" if fault is None else fault.kind
        cap = Decimal(str(fault.values["quantity"])) if fault is not None and kind == "partial" else self.depth
        taken = self.exchange.place(order, query, hold=kind == "rest", cap=cap)
        if is_silent:
            self.silent.add(taken.perm_id)
        if fault is not None:
            self._effects[taken.perm_id] = fault
        self.changed(taken)
        if self.silent.isdisjoint({taken.perm_id}):
            self.later(0.005, lambda: self.exchange.work(taken))
        else:
            self.exchange.work(taken)

    def cancel(self, session: Session, order_id: int) -> None:
        """Cancel an order of the session's client."""
        fault = self.faults.take("cancel")
        try:
            if fault is not None and fault.kind == "error":
                raise Refused(int(fault.values["code"]), str(fault.values.get("message", "the cancel failed")))
            if fault is not None and fault.kind == "ignore":
                return
            known = self.ledger.order(session.client_id or 0, order_id)
            if fault is not None and known is not None:
                self.silent.add(known.perm_id)
            self.exchange.cancel(session.client_id or 0, order_id)
        except Refused as refusal:
            session.error(order_id, refusal.code, refusal.message)

    def changed(self, order: Order) -> None:
        """Tell the order's client how it stands."""
        session = self._audience(order)
        if session is not None:
            contract = self.listing.by_id[order.con_id]
            session.send(messages.open_order(order, contract, version=session.version))
            session.send(messages.order_status(order))

    def cancelled(self, order: Order) -> None:
        """Tell the order's client why it is over."""
        session = self._audience(order)
        if session is not None:
            session.error(order.order_id, 202, f"Order Canceled - reason:{order.reason}")

    def executed(self, done: Execution, order: Order) -> None:
        """Tell the order's client of an execution, then of its commission."""
        for other in self.sessions.values():
            other.tell_position(order.account, order.con_id)
        fault = self._effects.get(order.perm_id)
        kind = "" if fault is None else fault.kind
        session = self._audience(order)
        if session is None:
            return
        contract = self.listing.by_id[order.con_id]
        for _ in range(2 if kind == "duplicate_execution" else 1):
            session.send(messages.execution(-1, done, order, contract, version=session.version))
        known = messages.commission(done.exec_id, done.commission, "USD")
        if kind == "late_commission" and fault is not None:
            session.send(messages.commission(done.exec_id, None, "USD"))
            self.later(float(fault.values.get("seconds", 0.2)), lambda: session.send(known))
        elif kind != "no_commission":
            session.send(known)
        if kind == "correct" and fault is not None:
            del self._effects[order.perm_id]
            price = Decimal(str(fault.values["price"]))
            self.later(float(fault.values.get("seconds", 0.05)), lambda: self.exchange.correct(done.exec_id, price))

    def _audience(self, order: Order) -> Session | None:
        return None if order.perm_id in self.silent else self.sessions.get(order.client_id)

    def set_price(self, symbol: str, price: Decimal) -> None:
        """Move an underlying by its local symbol (a stock's ticker, a future's month), and all that depends on it."""
        moved = [c for c in self.listing.by_id.values() if c.local_symbol == symbol and not c.is_option]
        if not moved:
            raise ValueError(f"{symbol} is no underlying here")
        changed = set(self.market.set_price(moved[0].con_id, price))
        for session in list(self.sessions.values()):
            session.tick(changed)
        self.exchange.work_all()

    def figures_of(self, account: str) -> list[tuple[str, str, str]]:
        """An account's figures, as tag, value and currency."""
        cash = self.ledger.cash(account)
        worth = Decimal(0)
        for con_id, quantity, cost in self.ledger.positions(account):
            contract = self.listing.by_id[con_id]
            price = self.market.quote(contract, self.now()).last
            value = quantity * price * contract.size
            worth += value - quantity * cost if contract.sec_type == "FUT" else value
        values = (cash + worth, cash, cash, cash * 4, worth, cash)
        return [(tag, f"{value:.2f}", "USD") for tag, value in zip(TAGS, values, strict=True)]

    def notice(self, code: int, message: str, request_id: int = -1) -> None:
        """Tell every client of a state of the connection, such as 1100."""
        for session in list(self.sessions.values()):
            session.error(request_id, code, message)

    def lose_subscriptions(self) -> None:
        """Forget what clients subscribed to, as 1101 says."""
        for session in self.sessions.values():
            session.subscriptions.clear()

    def drop_all(self) -> None:
        """Break every connection."""
        for session in list(self.sessions.values()):
            session.drop()
