"""The matching of orders against the market's prices, and the books that it keeps."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from tests.venues.ibkr.contracts import Contract, Listing, Query
from tests.venues.ibkr.ledger import Ledger
from tests.venues.ibkr.market import Market
from tests.venues.ibkr.records import Execution, Order

ORDER_TYPES = ("MKT", "LMT", "STP", "STP LMT")
COMMISSION = {"STK": Decimal("0.005"), "OPT": Decimal("0.65"), "FUT": Decimal("2.25"), "FOP": Decimal("1.42")}
MIN_COMMISSION = {"STK": Decimal("1.00")}
LEVERAGE = 4


class Refused(Exception):
    """An order, a change or a cancel that is not taken."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Listener(Protocol):
    """Who is told what happens to orders."""

    def changed(self, order: Order) -> None:
        """The order stands differently now."""

    def executed(self, done: Execution, order: Order) -> None:
        """A part of the order was traded."""

    def cancelled(self, order: Order) -> None:
        """The order was cancelled."""


class Exchange:
    """Takes orders, fills them, keeps positions and cash."""

    def __init__(
        self, listing: Listing, market: Market, ledger: Ledger, listener: Listener, clock: Callable[[], datetime]
    ) -> None:
        self._listing = listing
        self._market = market
        self._ledger = ledger
        self._listener = listener
        self._now = clock
        self.resting: set[int] = set()
        """Orders that are kept from trading."""
        self.caps: dict[int, Decimal] = {}
        """The most that an order may fill by itself."""

    def contract_for(self, query: Query) -> Contract:
        """The one contract that a request means; refused with 200 when there is none or more than one."""
        found = self._listing.find(query)
        if len(found) != 1:
            which = "No security definition has been found for the request"
            if found:
                which = "The contract description specified for " + query.symbol + " is ambiguous"
            raise Refused(200, which)
        return found[0]

    def place(self, order: Order, query: Query, *, hold: bool = False, cap: Decimal | None = None) -> Order:
        """Take a new order or change the one that lives under its id; raises `Refused`."""
        contract = self.contract_for(query)
        order.con_id = contract.con_id
        self._check(order, contract)
        known = self._ledger.order(order.client_id, order.order_id)
        if known is not None and known.is_live:
            return self._change(known, order, contract)
        if order.order_id < self._ledger.next_order_id(order.client_id):
            raise Refused(103, "Duplicate order id")
        order.created_at = order.changed_at = self._now()
        order.status = "PreSubmitted" if order.parent_id or not order.transmit else "Submitted"
        with self._ledger.change():
            self._ledger.save(order)
            self._ledger.set_next_order_id(order.client_id, order.order_id + 1)
        if order.parent_id and order.transmit:
            self._release_family(order)
        if hold:
            self.resting.add(order.perm_id)
        if cap is not None:
            self.caps[order.perm_id] = cap
        return self._ledger.by_perm_id(order.perm_id)

    def _release_family(self, child: Order) -> None:
        """The last child of a bracket sends on what waited for it."""
        for other in self._ledger.orders(live=True):
            is_parent = other.order_id == child.parent_id
            if other.client_id == child.client_id and (is_parent or other.parent_id == child.parent_id):
                other.transmit = True
                other.status = "Submitted" if is_parent else other.status
                self._save(other)
                self._listener.changed(other)
        parent = self._ledger.order(child.client_id, child.parent_id)
        if parent is not None:
            self.work(parent)

    def _check(self, order: Order, contract: Contract) -> None:
        if order.action not in ("BUY", "SELL") or order.order_type not in ORDER_TYPES:
            raise Refused(387, "Unsupported order type for this exchange and security type.")
        if order.quantity <= 0:
            raise Refused(321, "Error validating request.-'bK' : cause - The size value cannot be zero")
        if order.quantity % 1:
            raise Refused(10243, "Fractional-sized order cannot be placed via API")
        for price in (order.limit_price, order.stop_price):
            if price and price % contract.min_tick:
                raise Refused(110, "The price does not conform to the minimum price variation for this contract.")
        price = order.limit_price or self._market.quote(contract, self._now()).ask
        if not contract.is_option and contract.sec_type == "STK" and order.sign > 0:
            power = self._ledger.cash(order.account) * LEVERAGE
            if price * order.quantity > power:
                raise Refused(201, "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED "
                                   f"POSITION YOUR BUYING POWER OF {power:.2f} IS NOT SUFFICIENT")  # fmt: skip

    def _change(self, known: Order, order: Order, contract: Contract) -> Order:
        if (known.con_id, known.action) != (contract.con_id, order.action):
            raise Refused(105, "Order being modified does not match original order.")
        if order.quantity < known.filled:
            raise Refused(104, "Can't modify a filled order.")
        changed = replace(
            known, quantity=order.quantity, order_type=order.order_type, limit_price=order.limit_price,
            stop_price=order.stop_price, tif=order.tif, transmit=order.transmit, changed_at=self._now(),
        )  # fmt: skip
        with self._ledger.change():
            self._ledger.save(changed)
        return changed

    def work(self, order: Order) -> None:
        """Trade what an order that has been taken can trade now, and end it if it may not wait."""
        order = self._ledger.by_perm_id(order.perm_id)
        if not order.is_live or not order.transmit or order.perm_id in self.resting:
            return
        if order.parent_id:
            parent = self._ledger.order(order.client_id, order.parent_id)
            if parent is not None and parent.status != "Filled":
                return
        contract = self._listing.by_id[order.con_id]
        price = self._price_for(order, contract)
        left = order.quantity - order.filled
        quantity = min(left, self.caps.get(order.perm_id, left))
        if price is not None and quantity > 0:
            self.fill(order.perm_id, quantity, price)
            self.caps[order.perm_id] = Decimal(0)
            if quantity == left:
                del self.caps[order.perm_id]
        order = self._ledger.by_perm_id(order.perm_id)
        if order.is_live and order.tif in ("IOC", "FOK"):
            self._end(order, "the rest could not be traded at once")

    def _price_for(self, order: Order, contract: Contract) -> Decimal | None:
        quote = self._market.quote(contract, self._now())
        price = quote.ask if order.sign > 0 else quote.bid
        if order.order_type.startswith("STP"):
            if order.stop_price is None or (quote.last - order.stop_price) * order.sign < 0:
                return None
            if order.order_type == "STP":
                return price
        if order.order_type == "MKT":
            return price
        limit = order.limit_price
        return price if limit is not None and (limit - price) * order.sign >= 0 else None

    def fill(self, perm_id: int, quantity: Decimal, price: Decimal) -> Execution:
        """Trade ``quantity`` of an order at ``price``, and write it in every book at once."""
        order = self._ledger.by_perm_id(perm_id)
        contract = self._listing.by_id[order.con_id]
        quantity = min(quantity, order.quantity - order.filled)
        filled = order.filled + quantity
        average = ((order.average_price * order.filled + price * quantity) / filled).quantize(Decimal("1e-8"))
        number = len(self._ledger.executions(perm_id)) + 1
        done = Execution(
            f"0000e0d5.{perm_id:08x}.{number:02d}.01", perm_id, quantity, price, filled, average,
            self._now().replace(microsecond=0), _commission(contract, quantity),
        )  # fmt: skip
        order.filled, order.average_price, order.last_price = filled, average, price
        order.status = "Filled" if filled == order.quantity else "Submitted"
        order.changed_at = self._now()
        with self._ledger.change():
            self._ledger.add(done)
            self._ledger.save(order)
            self._move(order, contract, quantity, price, done.commission)
        self._listener.executed(done, order)
        self._listener.changed(order)
        if order.status == "Filled":
            self._after_fill(order)
        return done

    def _move(self, order: Order, contract: Contract, quantity: Decimal, price: Decimal, commission: Decimal) -> None:
        held, cost = self._ledger.position(order.account, contract.con_id)
        signed, each = order.sign * quantity, price * contract.size
        total = held + signed
        if held == 0 or (held > 0) == (signed > 0):
            cost = (abs(held) * cost + abs(signed) * each + commission) / abs(total)
        elif abs(signed) > abs(held):
            cost = each
        self._ledger.set_position(order.account, contract.con_id, total, cost.quantize(Decimal("1e-6"), ROUND_HALF_UP))
        paid = Decimal(0) if contract.sec_type == "FUT" else signed * each
        self._ledger.set_cash(order.account, self._ledger.cash(order.account) - paid - commission)

    def _after_fill(self, order: Order) -> None:
        for other in self._ledger.orders(live=True):
            if other.client_id == order.client_id and other.parent_id and other.parent_id == order.parent_id:
                self._end(other, "its sibling was filled")
            elif other.client_id == order.client_id and other.parent_id == order.order_id:
                other.status = "Submitted"
                self._save(other)
                self._listener.changed(other)
                self.work(other)

    def correct(self, exec_id: str, price: Decimal) -> Execution:
        """State an execution anew at another price, as an exchange does: under the next number after the last dot."""
        wrong = next(done for done in self._ledger.executions() if done.exec_id == exec_id)
        stem, _, number = exec_id.rpartition(".")
        right = replace(wrong, exec_id=f"{stem}.{int(number) + 1:02d}", price=price, average_price=price)
        order = self._ledger.by_perm_id(wrong.perm_id)
        contract = self._listing.by_id[order.con_id]
        with self._ledger.change():
            self._ledger.add(right)
            difference = (price - wrong.price) * wrong.quantity * contract.size * order.sign
            if contract.sec_type != "FUT":
                self._ledger.set_cash(order.account, self._ledger.cash(order.account) - difference)
        self._listener.executed(right, order)
        return right

    def cancel(self, client_id: int, order_id: int) -> Order:
        """End a live order of that client; raises `Refused` when there is none."""
        order = self._ledger.order(client_id, order_id)
        if order is None:
            raise Refused(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        if not order.is_live:
            raise Refused(
                10148, f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            )
        return self._end(order, "")

    def cancel_all(self) -> None:
        """End every live order, whoever sent it."""
        for order in self._ledger.orders(live=True):
            self._end(order, "")

    def _end(self, order: Order, reason: str) -> Order:
        order.status, order.reason = "Cancelled", reason
        self._save(order)
        self._listener.changed(order)
        self._listener.cancelled(order)
        for other in self._ledger.orders(live=True):
            if other.client_id == order.client_id and other.parent_id == order.order_id:
                self._end(other, "its parent was cancelled")
        return order

    def _save(self, order: Order) -> None:
        order.changed_at = self._now()
        with self._ledger.change():
            self._ledger.save(order)

    def work_all(self) -> None:
        """Try every live order against the prices of now."""
        for order in self._ledger.orders(live=True):
            self.work(order)


def _commission(contract: Contract, quantity: Decimal) -> Decimal:
    amount = COMMISSION[contract.sec_type] * quantity
    return max(amount, MIN_COMMISSION.get(contract.sec_type, Decimal(0))).quantize(Decimal("0.0001"))
