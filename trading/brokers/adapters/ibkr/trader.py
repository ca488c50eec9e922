"""Orders and the account over one connection: what is asked for by our ids, and what became of it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import structlog
from django.db import Error as NoDatabase

from trading.brokers.adapters.ibkr import codes, symbols
from trading.brokers.adapters.ibkr.books import Books, Fact, number
from trading.brokers.adapters.ibkr.contracts import Contracts, Found
from trading.brokers.adapters.ibkr.library import library
from trading.brokers.adapters.ibkr.link import Link, LinkDown, RequestFailed
from trading.brokers.adapters.ibkr.login import NAME
from trading.brokers.adapters.ibkr.store import Known, Lease, LeaseLost
from trading.brokers.base import (
    ALREADY_SENT,
    AccountFill,
    Balance,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    Holding,
    OrderReport,
    OrderStatus,
    OrderType,
    OutcomeUnknown,
    Ticket,
    TimeInForce,
)

log = structlog.get_logger("quantum.ibkr")
T = TypeVar("T")

VENUE_DAY = ZoneInfo("America/New_York")
SETTLE_SECONDS = 0.25
"""How long an order that may rest is watched after it was taken, for what trades at once."""
FEES_SECONDS = 2.0


@dataclass
class Trader:
    """``stored`` runs a function that uses the database, outside the event loop."""

    link: Link
    books: Books
    contracts: Contracts
    lease: Lease
    stored: Callable[[Callable[[], Any]], Awaitable[Any]]
    now: Callable[[], datetime]
    _errors: dict[int, tuple[int, str]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def notice(self) -> None:
        """Something was told; called by the books."""
        self._changed.set()

    def error(self, request_id: int, code: int, message: str) -> None:
        """Something that the venue says of an order."""
        if code != codes.ORDER_CANCELLED and not codes.is_notice(code) and request_id > 0:
            self._errors[request_id] = (code, message)
            self._changed.set()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            self._changed.clear()
            left = deadline - time.monotonic()
            if left <= 0 or not self.link.ready.is_set():
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, 0.1))
        return True

    async def place(self, ticket: Ticket, begin_by: float) -> OrderReport:
        """Send an order unless its id was ever claimed; raises as `Broker.place` does."""
        earlier = await self._what_became(ticket.client_order_id)
        if earlier is not None:
            return earlier
        try:
            found = await self.contracts.find(ticket.symbol)
        except BrokerRefused as refusal:
            return OrderReport.rejected(ticket, str(refusal))
        except (LinkDown, RequestFailed) as error:
            raise self._unavailable("place", "not_connected", f"the order was not sent: {error}") from error
        quantity = found.instrument.floor(ticket.quantity)
        if quantity <= 0:
            return OrderReport.rejected(ticket, f"the quantity must be at least {found.instrument.lot}")
        if found.instrument.symbol != ticket.symbol:
            return OrderReport.rejected(
                ticket, f"orders name the contract in full: {found.instrument.symbol}", quantity=quantity
            )
        order_id = await self._claim(ticket)
        if order_id is None:  # another call for the same order was quicker
            raise self._sent_before("this order was sent a moment ago")
        await self._send(ticket, found, quantity, order_id, begin_by)
        return await self._outcome(ticket, quantity, order_id)

    async def _what_became(self, client_order_id: str) -> OrderReport | None:
        """Of an order that was claimed, whatever is known; None when it never was. `OutcomeUnknown` when it is not."""
        try:
            known: Known | None = await self.stored(lambda: self.lease.known(client_order_id))
        except NoDatabase as error:
            raise self._unavailable("place", "no_database", "the order was not sent") from error
        if known is None and self.books.by_ref(client_order_id) is None:
            return None
        try:
            report = await self.order(client_order_id)
        except (BrokerError, LinkDown, RequestFailed) as error:
            raise self._sent_before(f"this order was sent before, and cannot be asked for: {error}") from error
        if report is None:
            raise self._sent_before("this order was sent before, and the venue does not show it")
        return report

    async def _claim(self, ticket: Ticket) -> int | None:
        try:
            at_least = int(self.link.ib.client.getReqId())
            claimed: int | None = await self.stored(lambda: self.lease.claim(ticket.client_order_id, at_least=at_least))
        except (LeaseLost, NoDatabase, ConnectionError) as error:
            raise self._unavailable("place", "no_lease", f"the order could not be written down: {error}") from error
        return claimed

    async def _send(self, ticket: Ticket, found: Found, quantity: Decimal, order_id: int, begin_by: float) -> None:
        order = library.Order(
            orderId=order_id,
            action=ticket.side.value.upper(),
            totalQuantity=float(quantity),
            orderType="LMT" if ticket.order_type is OrderType.LIMIT else "MKT",
            tif="IOC" if ticket.time_in_force is TimeInForce.IOC else "GTC",
            orderRef=ticket.client_order_id,
            account=self.link.account,
        )
        if ticket.limit_price is not None:
            order.lmtPrice = float(ticket.limit_price)
        reason = ""
        if time.time() > begin_by:
            reason = "too_late"
        elif not self.link.ready.is_set():
            reason = "not_connected"
        elif not self.link.take_order_slot():
            reason = "pacing"
        if not reason:
            self._errors.pop(order_id, None)
            self.link.ib.client.updateReqId(order_id + 1)
            try:
                self.link.ib.client.placeOrder(order_id, found.contract, order)
            except ConnectionError:
                reason = "not_connected"
        if reason:
            await self.stored(lambda: self.lease.unclaim(ticket.client_order_id))
            raise self._unavailable("place", reason, "the order was not sent", retry_after=1.0)

    async def _outcome(self, ticket: Ticket, quantity: Decimal, order_id: int) -> OrderReport:
        """Wait for what the venue says of an order that was sent."""
        ref = ticket.client_order_id

        def has_answer() -> bool:
            fact = self.books.by_ref(ref)
            return order_id in self._errors or (fact is not None and (fact.has_ended or self._may_rest(ticket)))

        await self._until(has_answer, self.link.credentials.request_seconds)
        if self._may_rest(ticket) and order_id not in self._errors:
            await self._until(lambda: self._has_ended(ref), SETTLE_SECONDS)
        error = self._errors.pop(order_id, None)
        fact = self.books.by_ref(ref)
        if fact is None or error is not None:
            fact = await self._look_for(ref)
        if error is not None and (fact is None or fact.status == "Inactive"):
            return await self._refused_by_venue(ticket, quantity, order_id, error, fact)
        if fact is None:
            raise self._unknown("place", "the venue has not answered, and does not show the order")
        return await self._whole(fact)

    def _may_rest(self, ticket: Ticket) -> bool:
        return ticket.time_in_force is TimeInForce.GTC

    def _has_ended(self, ref: str) -> bool:
        fact = self.books.by_ref(ref)
        return fact is not None and fact.has_ended

    async def _look_for(self, ref: str) -> Fact | None:
        """Ask for all orders; the one of that id. `OutcomeUnknown` when they are not told."""
        try:
            if not self.link.ready.is_set():
                await asyncio.wait_for(self.link.ready.wait(), self.link.credentials.request_seconds)
            await self.link.refresh()
        except (TimeoutError, LinkDown, RequestFailed) as error:
            raise self._unknown("place", f"the venue has not answered: {error}") from error
        return self.books.by_ref(ref)

    async def _refused_by_venue(
        self, ticket: Ticket, quantity: Decimal, order_id: int, error: tuple[int, str], fact: Fact | None
    ) -> OrderReport:
        code, message = error
        if code == codes.DUPLICATE_ORDER_ID:  # an order of another kind has that id: this one was not taken
            await self.stored(lambda: self.lease.unclaim(ticket.client_order_id))
            raise self._unavailable("place", str(code), message, retry_after=0.1)
        if fact is not None:  # it stands there asleep: what was refused must not wake up
            fact.refusal = f"{code}: {message}"
            self.link.note_sent()
            self.link.ib.client.cancelOrder(order_id)
            if not await self._until(lambda: fact.has_ended, self.link.credentials.request_seconds):
                raise self._unknown("place", f"the venue has refused it and still shows it: {message}")
            return self.books.report(fact)
        await self.stored(lambda: self.lease.refuse(ticket.client_order_id, f"{code}: {message}"))
        return OrderReport.rejected(ticket, f"{code}: {message}", quantity=quantity)

    async def _whole(self, fact: Fact) -> OrderReport:
        """The order's report, after a short wait for fees that are not known yet."""
        await self._until(lambda: self.books.is_told_whole(fact), FEES_SECONDS)
        return self.books.report(fact)

    async def order(self, client_order_id: str) -> OrderReport | None:
        """The order of that id, by the venue's lists of now."""
        await self.link.refresh()
        fact = self.books.by_ref(client_order_id)
        if fact is not None and (fact.has_ended or fact.perm_id in self.books.shown_open):
            return await self._whole(fact)
        known: Known | None = await self.stored(lambda: self.lease.known(client_order_id))
        if known is not None and not known.refusal and known.claimed_at < self._day_began():
            message = "the venue shows orders of the current day alone: look at the account's statement"
            raise self._refused("order", "out_of_reach", message)
        if fact is not None:
            raise self._unavailable("order", "not_shown", "the venue shows this order no more, and not how it ended")
        if any(part.ref == client_order_id for part in self.books.parts.values()):
            raise self._unavailable("order", "not_shown", "the venue shows executions of this order, but not the order")
        if known is None:
            return None
        if known.refusal:
            return OrderReport(client_order_id, "", OrderStatus.REJECTED, reason=known.refusal)
        return None

    async def cancel(self, client_order_id: str) -> OrderReport:
        """Cancel what is left of an order, and tell how it stands then."""
        try:
            await self.link.refresh()
        except (LinkDown, RequestFailed) as error:
            raise self._unavailable("cancel", "not_connected", f"nothing was cancelled: {error}") from error
        fact = self.books.by_ref(client_order_id)
        if fact is None:
            known: Known | None = await self.stored(lambda: self.lease.known(client_order_id))
            if known is not None and not known.refusal:
                raise self._unknown("cancel", "this order was sent, and the venue does not show it")
            raise self._refused("cancel", "unknown_order", f"There is no order {client_order_id}.")
        if fact.has_ended:
            return await self._whole(fact)
        if fact.client_id != self.link.credentials.client_id or fact.order_id <= 0:
            raise self._refused("cancel", "not_ours", "Only the connection that sent an order can cancel it.")
        self._errors.pop(fact.order_id, None)
        if not self.link.take_order_slot():
            raise self._unavailable("cancel", "pacing", "too much was sent in this second", retry_after=1.0)
        self.link.ib.client.cancelOrder(fact.order_id)
        await self._until(
            lambda: fact.has_ended or fact.order_id in self._errors, self.link.credentials.request_seconds
        )
        refusal = self._errors.pop(fact.order_id, None)
        if not fact.has_ended:
            try:
                await self.link.refresh()
            except (LinkDown, RequestFailed) as down:
                raise self._unknown("cancel", f"the venue has not answered: {down}") from down
        if fact.has_ended:
            return await self._whole(fact)
        if refusal is not None and refusal[0] not in codes.TOO_LATE_TO_CANCEL | codes.NOT_FOUND_TO_CANCEL:
            raise self._refused("cancel", str(refusal[0]), refusal[1])
        raise self._unknown("cancel", "the venue has not confirmed it, and shows the order as open")

    async def replace(self, client_order_id: str, ticket: Ticket, begin_by: float) -> OrderReport:
        """Cancel one order, and send another when that is confirmed."""
        try:
            await self.link.refresh()
        except (LinkDown, RequestFailed) as error:
            raise self._unavailable("replace", "not_connected", f"nothing was changed: {error}") from error
        fact = self.books.by_ref(client_order_id)
        was_over = fact is not None and fact.has_ended
        old = await self.cancel(client_order_id)
        if was_over or old.status is not OrderStatus.CANCELLED:
            return OrderReport.rejected(ticket, f"the order that it replaces had ended: {old.status.value}")
        return await self.place(ticket, begin_by)

    async def open_orders(self) -> tuple[OrderReport, ...]:
        """All that the venue shows as open."""
        await self.link.refresh()
        open_now = [self.books.facts[perm_id] for perm_id in sorted(self.books.shown_open)]
        return tuple([await self._whole(fact) for fact in open_now if not fact.has_ended])

    async def fills(self, since: datetime) -> tuple[AccountFill, ...]:
        """Everything traded since then, which must be today."""
        if since < self._day_began():
            earliest = self._day_began().isoformat()
            message = f"the venue tells executions of the current day alone, from {earliest} on"
            raise BrokerRefused(
                message, broker=NAME, operation="fills", code="out_of_reach", context={"earliest": earliest}
            )
        await self.link.refresh()
        await self._until(lambda: all(part.fee is not None for part in self.books.parts.values()), FEES_SECONDS)
        return tuple(self.books.fills(since))

    def _day_began(self) -> datetime:
        midnight = self.now().astimezone(VENUE_DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.astimezone(UTC)

    async def positions(self) -> tuple[Holding, ...]:
        """What the account holds of stocks, futures and options."""
        held = []
        for account, contract, quantity, cost in await self.link.ask_positions():
            amount = number(quantity)
            if account == self.link.account and amount:
                each, size = number(cost), Decimal(contract.multiplier or 1)
                try:
                    symbol = symbols.write(contract)
                except symbols.NoSymbol:
                    symbol = contract.localSymbol
                held.append(Holding(symbol, amount, None if each is None else each / size))
        return tuple(sorted(held, key=lambda row: row.symbol))

    async def balances(self) -> tuple[Balance, ...]:
        """The cash of the account."""
        rows = await self.link.ask_summary()
        found = [
            (currency, amount)
            for account, tag, value, currency in rows
            if account == self.link.account and tag == "TotalCashValue" and (amount := _money(value)) is not None
        ]
        if not found:
            raise self._failed("balances", "no_cash", "the venue told no cash of this account")
        return tuple(Balance(currency, amount) for currency, amount in found)

    def _failed(self, operation: str, code: str, message: str) -> BrokerError:
        return BrokerError(message, broker=NAME, operation=operation, code=code)

    def _refused(self, operation: str, code: str, message: str) -> BrokerRefused:
        return BrokerRefused(message, broker=NAME, operation=operation, code=code)

    def _unknown(self, operation: str, message: str) -> OutcomeUnknown:
        return OutcomeUnknown(message, broker=NAME, operation=operation, code="unknown")

    def _sent_before(self, message: str) -> OutcomeUnknown:
        return OutcomeUnknown(message, broker=NAME, operation="place", code=ALREADY_SENT)

    def _unavailable(
        self, operation: str, code: str, message: str, retry_after: float | None = None
    ) -> BrokerUnavailable:
        return BrokerUnavailable(message, broker=NAME, operation=operation, code=code, retry_after=retry_after)


def _money(text: str) -> Decimal | None:
    try:
        return number(Decimal(text))  # type: ignore[arg-type]  # a decimal is a number too
    except ArithmeticError:
        return None
