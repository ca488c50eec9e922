"""Orders and executions as the wire tells them.

The library's own trades are not asked: it takes some errors for the end of an order that lives (321 and 105 after a
change), and keeps the first of an execution's two statements.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from trading.brokers.adapters.ibkr import symbols
from trading.brokers.base import AccountFill, Execution, OrderReport, OrderStatus, Side

FEE_PATIENCE_SECONDS = 60.0
"""An execution whose commission the venue has not told for so long counts without one."""
MEMORY_SECONDS = 2 * 86_400.0
ENDED = frozenset({"Filled", "Cancelled", "ApiCancelled"})
"""Not ``Inactive``: such an order may be woken, and it can be cancelled."""


@dataclass
class Fact:
    """One order, by its permanent number; ``order_id`` is 0 where only the list of completed orders has told of it."""

    perm_id: int
    ref: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None
    status: str
    order_id: int = 0
    client_id: int = -1
    refusal: str = ""
    """Why the venue does not work it, as it said."""
    told_at: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether it can trade no more."""
        return self.status in ENDED


@dataclass
class Part:
    """One execution in its last statement; ``stem`` is its id without the number of the statement."""

    stem: str
    statement: int
    perm_id: int
    ref: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    time: datetime
    first_seen: float
    told_at: float
    fee: Decimal | None = None
    fee_asset: str = ""


@dataclass
class Books:
    """All that was told of ``account``, or of any while that is empty. ``on_change`` is called after each thing."""

    account: str = ""
    on_change: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    facts: dict[int, Fact] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    shown_open: set[int] = field(default_factory=set)
    """The orders that were told since this was last emptied."""
    shown_ended: set[int] = field(default_factory=set)
    _fees: dict[str, tuple[Decimal, str]] = field(default_factory=dict)
    _newest: dict[str, int] = field(default_factory=dict)
    """By our id, the permanent number of the newest order under it."""
    _stems: dict[int, set[str]] = field(default_factory=dict)

    def open_order(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        """An order that is open, or has just ended."""
        if order.whatIf or not order.permId:
            return
        fact = self._fact(contract, order, state.status)
        if fact is None:
            return
        fact.order_id, fact.client_id = order_id, order.clientId
        self.shown_open.add(fact.perm_id)
        self.on_change()

    def completed_order(self, contract: Any, order: Any, state: Any) -> None:
        """An order that has ended: it is told without its order id."""
        fact = self._fact(contract, order, state.status)
        if fact is not None:
            self.shown_ended.add(fact.perm_id)
            self.on_change()

    def order_status(self, order_id: int, status: str, *values: Any) -> None:
        """How far an order has come; the sixth value is its permanent number."""
        perm_id = int(values[3]) if len(values) > 3 else 0
        fact = self.facts.get(perm_id)
        if fact is not None and not (fact.has_ended and status not in ENDED):
            fact.status = status
            self.on_change()

    def _fact(self, contract: Any, order: Any, status: str) -> Fact | None:
        if self.account and order.account != self.account:
            return None
        try:
            symbol = symbols.write(contract)
        except symbols.NoSymbol:
            symbol = contract.localSymbol
        limit = number(order.lmtPrice)
        quantity = number(order.totalQuantity)
        side = side_of(order.action)
        if quantity is None or side is None:
            return None
        known = self.facts.get(order.permId)
        if known is None:
            known = Fact(order.permId, order.orderRef, symbol, side, quantity, None, status)
            self.facts[order.permId] = known
            self._newest[known.ref] = max(known.perm_id, self._newest.get(known.ref, 0))
        known.told_at = self.clock()
        known.quantity = quantity
        known.limit_price = limit if "LMT" in order.orderType else None
        if not (known.has_ended and status not in ENDED):  # what has ended does not begin again: it was told late
            known.status = status
        return known

    def execution(self, request_id: int, contract: Any, execution: Any) -> None:
        """A part of an order that was traded; a later statement of the same replaces the earlier."""
        if self.account and execution.acctNumber != self.account:
            return
        stem, _, statement = execution.execId.rpartition(".")
        quantity, price, side = number(execution.shares), number(execution.price), side_of(execution.side)
        if not stem or not statement.isdigit() or quantity is None or price is None or side is None:
            return
        known = self.parts.get(stem)
        if known is not None and known.statement > int(statement):
            return
        try:
            symbol = symbols.write(contract)
        except symbols.NoSymbol:
            symbol = contract.localSymbol
        now = self.clock()
        first_seen = now if known is None else known.first_seen
        part = Part(stem, int(statement), execution.permId, execution.orderRef, symbol, side, quantity, price,
                    execution.time.astimezone(UTC), first_seen, now)  # fmt: skip
        if known is not None:
            part.fee, part.fee_asset = known.fee, known.fee_asset
        part.fee, part.fee_asset = self._fees.get(execution.execId, (part.fee, part.fee_asset))
        self.parts[stem] = part
        self._stems.setdefault(part.perm_id, set()).add(stem)
        self.on_change()

    def commission(self, report: Any) -> None:
        """What an execution cost, unless the venue only says that it does not know yet."""
        amount = number(report.commission)
        if amount is None:
            return
        stem, _, _ = report.execId.rpartition(".")
        self._fees[report.execId] = (amount, report.currency)
        part = self.parts.get(stem)
        if part is not None:
            part.fee, part.fee_asset = amount, report.currency
            self.on_change()

    def by_ref(self, ref: str) -> Fact | None:
        """The newest order under one of our ids."""
        return self.facts.get(self._newest.get(ref, 0))

    def parts_of(self, fact: Fact) -> list[Part]:
        """The executions of an order, oldest first."""
        return sorted((self.parts[stem] for stem in self._stems.get(fact.perm_id, ())), key=_when)

    def forget_what_is_long_over(self) -> None:
        """Let go of what has ended and was not told for two days: the venue lists those of the day alone."""
        before = self.clock() - MEMORY_SECONDS
        for fact in [fact for fact in self.facts.values() if fact.has_ended and fact.told_at < before]:
            if self._newest.get(fact.ref) == fact.perm_id:
                del self._newest[fact.ref]
            del self.facts[fact.perm_id]
        for part in [part for part in self.parts.values() if part.told_at < before and part.perm_id not in self.facts]:
            del self.parts[part.stem]
            self._stems[part.perm_id].discard(part.stem)
            if not self._stems[part.perm_id]:
                del self._stems[part.perm_id]
        stems = self.parts.keys()
        self._fees = {exec_id: fee for exec_id, fee in self._fees.items() if exec_id.rpartition(".")[0] in stems}

    def is_told_whole(self, fact: Fact) -> bool:
        """Whether the fees of all its executions are known, and of a filled order all executions."""
        parts = self.parts_of(fact)
        if not all(self._counts(part) for part in parts):
            return False
        return fact.status != "Filled" or sum(part.quantity for part in parts) >= fact.quantity

    def _counts(self, part: Part) -> bool:
        return part.fee is not None or self.clock() - part.first_seen > FEE_PATIENCE_SECONDS

    def report(self, fact: Fact) -> OrderReport:
        """An order for our callers. An execution is left out until its fee is known: it is counted once, with it."""
        executions = tuple(_execution(part) for part in self.parts_of(fact) if self._counts(part))
        return OrderReport(
            client_order_id=fact.ref,
            broker_order_id=str(fact.perm_id),
            status=_status(fact, executions),
            executions=executions,
            symbol=fact.symbol,
            side=fact.side,
            quantity=fact.quantity,
            limit_price=fact.limit_price,
            reason=fact.refusal,
        )

    def fills(self, since: datetime) -> Iterator[AccountFill]:
        """Everything traded from then on, oldest first."""
        for part in sorted(self.parts.values(), key=_when):
            if part.time >= since and self._counts(part):
                yield AccountFill(_execution(part), part.symbol, part.side, part.ref, str(part.perm_id))


def _when(part: Part) -> tuple[datetime, str]:
    return part.time, part.stem


def _execution(part: Part) -> Execution:
    return Execution(part.stem, part.quantity, part.price, part.fee or Decimal(0), part.time, part.fee_asset)


def _status(fact: Fact, executions: tuple[Execution, ...]) -> OrderStatus:
    if fact.status == "Filled":
        return OrderStatus.FILLED
    if fact.refusal and not executions and (fact.has_ended or fact.status == "Inactive"):
        return OrderStatus.REJECTED
    if fact.has_ended:
        return OrderStatus.CANCELLED
    return OrderStatus.PARTIALLY_FILLED if executions else OrderStatus.ACCEPTED


def side_of(text: str) -> Side | None:
    """``BUY`` and ``BOT``, ``SELL`` and ``SLD``."""
    return {"BUY": Side.BUY, "BOT": Side.BUY, "SELL": Side.SELL, "SLD": Side.SELL}.get(text)


def number(value: float | None) -> Decimal | None:
    """A number of the library's as it stood on the wire; None for what stands there for no value."""
    if value is None:
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    if not found.is_finite() or abs(found) >= Decimal("1e300"):
        return None
    return plain(found)


def plain(value: Decimal) -> Decimal:
    """Without zeros at the end, and without an exponent."""
    return Decimal(f"{value.normalize():f}")
