"""The paper venue: fills immediate-or-cancel market orders against the last close, with slippage, fees and real volume.

An order trades at the last close moved against it by ``QT_PAPER_SLIPPAGE_BPS``, takes at most
``QT_PAPER_PARTICIPATION`` of the last bar's volume, and pays ``QT_PAPER_FEE_BPS`` of what it trades. There is no
margin: no cash, no buy; no holding, no sell.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from trading.brokers.base import (
    AccountFill,
    Balance,
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    Capabilities,
    Credentials,
    Execution,
    Holding,
    OrderReport,
    OrderStatus,
    Side,
    Ticket,
    TimeInForce,
)
from trading.brokers.instruments import Instrument, Quote, floor_to
from trading.brokers.models import PaperAccount, PaperHolding, PaperOrder
from trading.brokers.quotes import LastTrade, last_trade

LOT = Decimal("0.001")
CENT = Decimal("0.00000001")
BPS = Decimal(10_000)


class PaperBroker(Broker):
    """One client's session. It keeps books of its own and answers only from those."""

    name = "paper"
    capabilities = Capabilities(deduplicates_client_ids=True, queries_by_client_id=True, rests_orders=False)
    lot = LOT

    def __init__(self, client_id: UUID) -> None:
        self._client_id = client_id

    @property
    def currency(self) -> str:  # type: ignore[override]  # the account says
        """The currency of the client's account."""
        return self._account(lock=False).currency

    def place(self, ticket: Ticket) -> OrderReport:
        """Take the order, or answer with what became of it when it was taken before."""
        if connection.in_atomic_block:
            raise RuntimeError("an order must not be sent inside a transaction: its rollback would forget it")
        with transaction.atomic():
            account = self._account(lock=True)
            known = PaperOrder.objects.filter(account=account, client_order_id=ticket.client_order_id).first()
            return _report(known or self._take(account, ticket))

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """The order as it is: nothing of it is ever left in a book."""
        report = self.order(client_order_id, symbol=symbol)
        if report is None:
            raise self._refused("cancel", "unknown_order", f"There is no order {client_order_id}.")
        return report

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The order, if it was ever taken."""
        known = PaperOrder.objects.filter(account_id=self._client_id, client_order_id=client_order_id).first()
        return None if known is None else _report(known)

    def open_orders(self) -> tuple[OrderReport, ...]:
        """None: every order ends as it is taken."""
        self._account(lock=False)
        return ()

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """The executions of the account, whatever their symbol."""
        self._account(lock=False)
        rows = PaperOrder.objects.filter(account_id=self._client_id, received_at__gte=since, filled_quantity__gt=0)
        return tuple(
            AccountFill(part, row.symbol, Side(row.side), row.client_order_id, f"paper-{row.id}")
            for row in rows.order_by("received_at", "id")
            for part in _report(row).executions
        )

    def positions(self) -> tuple[Holding, ...]:
        """What the account holds."""
        self._account(lock=False)
        rows = PaperHolding.objects.filter(account_id=self._client_id).exclude(quantity=0).order_by("symbol")
        return tuple(Holding(row.symbol, row.quantity) for row in rows)

    def balances(self) -> tuple[Balance, ...]:
        """The cash."""
        account = self._account(lock=False)
        return (Balance(account.currency, account.cash),)

    def instrument(self, symbol: str) -> Instrument:
        """The same rules for every symbol."""
        self._last(symbol, "instrument")
        return Instrument(symbol, self.currency, lot=LOT, tick=CENT, min_quantity=LOT)

    def quote(self, symbol: str) -> Quote:
        """The last close, moved by half the slippage to either side."""
        trade = self._last(symbol, "quote")
        slip = settings.QT_PAPER_SLIPPAGE_BPS / BPS
        bid, ask = ((trade.price * (1 + sign * slip)).quantize(CENT, ROUND_HALF_UP) for sign in (-1, 1))
        return Quote(symbol, bid, ask, trade.price, timezone.now())

    def _last(self, symbol: str, operation: str) -> LastTrade:
        trade = last_trade(symbol)
        if trade is None:
            raise self._refused(operation, "unknown_symbol", f"{symbol} is not traded here.")
        return trade

    def _refused(self, operation: str, code: str, message: str) -> BrokerRefused:
        return BrokerRefused(message, broker=self.name, operation=operation, code=code)

    def _account(self, *, lock: bool) -> PaperAccount:
        rows = PaperAccount.objects.select_for_update() if lock else PaperAccount.objects
        account = rows.filter(client_id=self._client_id).first()
        if account is None:
            raise BrokerUnavailable(
                "This client has no account at the paper venue: open one with open_paper_account.",
                broker=self.name,
                operation="session",
                code="no_account",
            )
        return account

    def _take(self, account: PaperAccount, ticket: Ticket) -> PaperOrder:
        order = PaperOrder(
            account=account,
            client_order_id=ticket.client_order_id,
            symbol=ticket.symbol,
            side=ticket.side,
            quantity=floor_to(ticket.quantity, LOT),
        )
        trade = last_trade(ticket.symbol)
        holding, _ = PaperHolding.objects.get_or_create(
            account=account, symbol=ticket.symbol, defaults={"quantity": Decimal(0)}
        )
        order.reason = _refusal(ticket, order.quantity, trade, holding)
        if order.reason or trade is None:
            order.status = OrderStatus.REJECTED
            order.save()
            return order
        _fill(order, account, holding, trade)
        order.save()
        return order


def _refusal(ticket: Ticket, quantity: Decimal, trade: LastTrade | None, holding: PaperHolding) -> str:
    if ticket.limit_price is not None or ticket.time_in_force is TimeInForce.GTC:
        return "the venue takes immediate-or-cancel market orders"
    if quantity <= 0:
        return f"the quantity must be a positive multiple of {LOT}"
    if trade is None:
        return f"{ticket.symbol} is not traded here"
    if ticket.side is Side.SELL and quantity > holding.quantity:
        return f"only {holding.quantity.normalize():f} {ticket.symbol} are held, and the venue does not lend"
    return ""


def _fill(order: PaperOrder, account: PaperAccount, holding: PaperHolding, trade: LastTrade) -> None:
    side = Side(order.side)
    slip = settings.QT_PAPER_SLIPPAGE_BPS / BPS
    price = (trade.price * (1 + side.sign * slip)).quantize(CENT, ROUND_HALF_UP)
    rate = settings.QT_PAPER_FEE_BPS / BPS
    quantity = min(order.quantity, (trade.volume * settings.QT_PAPER_PARTICIPATION).quantize(LOT, ROUND_DOWN))
    if side is Side.BUY:
        affordable = (account.cash / (price * (1 + rate))).quantize(LOT, ROUND_DOWN)
        quantity = min(quantity, affordable)
        if quantity > 0 and _worth(quantity, price) + _worth(quantity, price * rate) > account.cash:
            quantity -= LOT  # each rounds up, by half the smallest unit at most
    if quantity <= 0:
        order.status = OrderStatus.REJECTED
        order.reason = (
            "not enough cash" if side is Side.BUY and account.cash < price * LOT else "no volume to trade with"
        )
        return
    order.filled_quantity, order.price = quantity, price
    order.fee = _worth(quantity, price * rate)
    if quantity == order.quantity:
        order.status = OrderStatus.FILLED
    else:
        order.status = OrderStatus.CANCELLED
        order.reason = "filled in part; the rest was cancelled, as volume or cash had run out"
    account.cash -= side.sign * _worth(quantity, price) + order.fee
    account.save(update_fields=["cash"])
    holding.quantity += side.sign * quantity
    holding.save(update_fields=["quantity"])


def _worth(quantity: Decimal, each: Decimal) -> Decimal:
    return (quantity * each).quantize(CENT, ROUND_HALF_UP)


def _report(order: PaperOrder) -> OrderReport:
    executions: tuple[Execution, ...] = ()
    if order.filled_quantity > 0:
        executions = (
            Execution(f"paper-{order.id}-1", order.filled_quantity, order.price, order.fee, order.received_at),
        )
    return OrderReport(
        order.client_order_id,
        f"paper-{order.id}",
        OrderStatus(order.status),
        executions,
        order.reason,
        symbol=order.symbol,
        side=Side(order.side),
        quantity=order.quantity,
    )


class PaperAdapter:
    """Opens sessions."""

    name = "paper"
    is_simulated = True
    credentials = Credentials

    def open(self, client_id: UUID, credentials: Credentials) -> PaperBroker:
        """A session, without looking whether the account exists: its first use says so."""
        return PaperBroker(client_id)

    def enrol(self, client_id: UUID) -> None:
        """Give the client an account with ``QT_PAPER_CASH``, unless it has one."""
        PaperAccount.objects.get_or_create(client_id=client_id, defaults={"cash": settings.QT_PAPER_CASH})


ADAPTER = PaperAdapter()
