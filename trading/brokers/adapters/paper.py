"""The paper venue: fills orders against market data with a spread, slippage, fees, real volume and latency.

An order meets the market ``QT_PAPER_LATENCY_MS`` after it was taken, at the last close, half of ``QT_PAPER_SPREAD_BPS``
and ``QT_PAPER_SLIPPAGE_BPS`` away from it, but never beyond its limit. It takes at most ``QT_PAPER_PARTICIPATION`` of a
bar's volume; what is left is cancelled, or rests and meets each later bar. It pays ``QT_PAPER_FEE_BPS`` of what it
trades. There is no margin: no cash, no buy; no holding, no sell. What rests holds no cash, and ends when it cannot be
paid for.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
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
from trading.brokers.simulated import BOOKING_HORIZON, OPEN, SMALLEST, fill, report, rounded

LOT = Decimal("0.001")
BPS = Decimal(10_000)


class PaperBroker(Broker):
    """One client's session. It keeps books of its own and answers only from those."""

    name = "paper"
    capabilities = Capabilities(
        deduplicates_client_ids=True, queries_by_client_id=True, replaces=True, booking_horizon=BOOKING_HORIZON
    )
    lot = LOT

    def __init__(self, client_id: UUID, clock: Callable[[], datetime] = timezone.now) -> None:
        self._client_id, self._clock = client_id, clock

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
            self.hurry(ticket, "place", self._clock())
            return self._report(self._find(ticket.client_order_id) or self._take(account, ticket))

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """Cancel what rests of it."""
        with transaction.atomic():
            self._meet_market(self._account(lock=True))
            row = self._find(client_order_id)
            if row is None:
                raise self._refused("cancel", "unknown_order", f"There is no order {client_order_id}.")
            _cancel(row, "")
            return self._report(row)

    def replace(self, client_order_id: str, ticket: Ticket) -> OrderReport:
        """Cancel and place together."""
        with transaction.atomic():
            account = self._account(lock=True)
            self.hurry(ticket, "replace", self._clock())
            self._meet_market(account)
            old = self._find(client_order_id)
            if old is None or old.status not in OPEN:
                reason = "there is nothing left to replace"
                return OrderReport(ticket.client_order_id, "", OrderStatus.REJECTED, reason=reason)
            _cancel(old, "replaced")
            return self._report(self._take(account, ticket))

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The order, if it was ever taken."""
        self._settle()
        known = self._find(client_order_id)
        return None if known is None else self._report(known)

    def open_orders(self) -> tuple[OrderReport, ...]:
        """What rests, and what has not met the market yet."""
        self._settle()
        rows = PaperOrder.objects.filter(account_id=self._client_id, status__in=OPEN).order_by("id")
        return tuple(self._report(row) for row in rows)

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """The executions of the account, whatever their symbol."""
        self._settle()
        rows = PaperOrder.objects.filter(account_id=self._client_id, met_at__gte=since, filled_quantity__gt=0)
        found = [
            AccountFill(part, row.symbol, Side(row.side), row.client_order_id, f"paper-{row.id}")
            for row in rows.order_by("id")
            for part in self._report(row).executions
            if part.time >= since
        ]
        return tuple(sorted(found, key=lambda one: one.execution.time))

    def positions(self) -> tuple[Holding, ...]:
        """What the account holds."""
        self._settle()
        rows = PaperHolding.objects.filter(account_id=self._client_id).exclude(quantity=0).order_by("symbol")
        return tuple(Holding(row.symbol, row.quantity) for row in rows)

    def balances(self) -> tuple[Balance, ...]:
        """The cash."""
        self._settle()
        account = self._account(lock=False)
        return (Balance(account.currency, account.cash),)

    def instrument(self, symbol: str) -> Instrument:
        """The same rules for every symbol."""
        self._last(symbol, "instrument")
        return Instrument(symbol, self.currency, lot=LOT, tick=SMALLEST, min_quantity=LOT)

    def quote(self, symbol: str) -> Quote:
        """The last close, with half of the spread on either side."""
        trade = self._last(symbol, "quote")
        half = settings.QT_PAPER_SPREAD_BPS / 2 / BPS
        bid, ask = (rounded(trade.price * (1 + sign * half)) for sign in (-1, 1))
        depth = (trade.volume * settings.QT_PAPER_PARTICIPATION).quantize(LOT, ROUND_DOWN)
        return Quote(symbol, bid, ask, trade.price, self._clock(), depth, depth)

    def _last(self, symbol: str, operation: str) -> LastTrade:
        trade = last_trade(symbol)
        if trade is None:
            raise self._refused(operation, "unknown_symbol", f"{symbol[:32]} is not traded here.")
        return trade

    def _refused(self, operation: str, code: str, message: str) -> BrokerRefused:
        return BrokerRefused(message, broker=self.name, operation=operation, code=code)

    def _report(self, row: PaperOrder) -> OrderReport:
        return report(row, self.name, row.account.currency)

    def _find(self, client_order_id: str) -> PaperOrder | None:
        rows = PaperOrder.objects.select_related("account")
        return rows.filter(account_id=self._client_id, client_order_id=client_order_id).first()

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

    def _settle(self) -> None:
        """Let what is open meet the market of now, before the books are shown."""
        account = self._account(lock=False)
        if not PaperOrder.objects.filter(account=account, status__in=OPEN).exists():
            return
        with transaction.atomic():
            self._meet_market(self._account(lock=True))

    def _meet_market(self, account: PaperAccount) -> None:
        for row in PaperOrder.objects.filter(account=account, status__in=OPEN).order_by("id"):
            self._meet(row, account)

    def _take(self, account: PaperAccount, ticket: Ticket) -> PaperOrder:
        now = self._clock()
        order = PaperOrder(
            account=account,
            client_order_id=ticket.client_order_id,
            symbol=ticket.symbol,
            side=ticket.side,
            quantity=floor_to(ticket.quantity, LOT),
            limit_price=ticket.limit_price,
            rests=ticket.time_in_force is TimeInForce.GTC,
            status=OrderStatus.ACCEPTED,
            received_at=now,
            due_at=now + timedelta(milliseconds=settings.QT_PAPER_LATENCY_MS),
        )
        order.reason = _refusal(order, self._holding(account, ticket.symbol))
        if order.reason:
            order.status = OrderStatus.REJECTED
        order.save()
        if not order.reason:
            self._meet(order, account)
        return order

    @staticmethod
    def _holding(account: PaperAccount, symbol: str) -> PaperHolding:
        holding, _ = PaperHolding.objects.get_or_create(
            account=account, symbol=symbol, defaults={"quantity": Decimal(0)}
        )
        return holding

    def _meet(self, order: PaperOrder, account: PaperAccount) -> None:
        """Trade once against a bar that is new to it; ends what does not rest, and what cannot be paid for."""
        now, trade = self._clock(), last_trade(order.symbol)
        if now < order.due_at or trade is None:
            return
        if order.met_at is not None and (trade.time is None or order.met_bar is None or trade.time <= order.met_bar):
            return
        order.met_at, order.met_bar = now, trade.time
        price = _price(order, trade)
        shortage = (
            "" if price is None else _trade(order, account, self._holding(account, order.symbol), trade, price, now)
        )
        if order.filled_quantity == order.quantity:
            order.status = OrderStatus.FILLED
        elif shortage or not order.rests:
            _end(order, shortage)
        elif order.filled_quantity > 0:
            order.status = OrderStatus.PARTIALLY_FILLED
        order.save()


def _refusal(order: PaperOrder, holding: PaperHolding) -> str:
    if order.quantity <= 0:
        return f"the quantity must be a positive multiple of {LOT}"
    if last_trade(order.symbol) is None:
        return f"{order.symbol} is not traded here"
    if order.side == Side.SELL and order.quantity > holding.quantity:
        return f"only {holding.quantity.normalize():f} {order.symbol} are held, and the venue does not lend"
    return ""


def _price(order: PaperOrder, trade: LastTrade) -> Decimal | None:
    """What it trades at: across the spread and slipped, but not beyond its limit; None when the limit is not met."""
    sign = Side(order.side).sign
    half = settings.QT_PAPER_SPREAD_BPS / 2 / BPS
    touch = rounded(trade.price * (1 + sign * half))
    slipped = rounded(trade.price * (1 + sign * (half + settings.QT_PAPER_SLIPPAGE_BPS / BPS)))
    if order.limit_price is None:
        return slipped
    if sign * (order.limit_price - touch) < 0:
        return None
    return min(slipped, order.limit_price) if sign > 0 else max(slipped, order.limit_price)


def _trade(
    order: PaperOrder, account: PaperAccount, holding: PaperHolding, trade: LastTrade, price: Decimal, now: datetime
) -> str:
    """Book what volume, cash and holding allow; why nothing more will come, when cash or the holding has run out."""
    side, rate = Side(order.side), settings.QT_PAPER_FEE_BPS / BPS
    volume = (trade.volume * settings.QT_PAPER_PARTICIPATION).quantize(LOT, ROUND_DOWN)
    wanted = quantity = min(order.quantity - order.filled_quantity, volume)
    if side is Side.BUY:
        quantity = min(quantity, (account.cash / (price * (1 + rate))).quantize(LOT, ROUND_DOWN))
        if quantity > 0 and rounded(quantity * price) + rounded(quantity * price * rate) > account.cash:
            quantity -= LOT  # each rounds up, by half the smallest unit at most
    else:
        quantity = min(quantity, holding.quantity)
    if quantity > 0:
        _book(order, account, holding, quantity, price, now)
    if quantity < wanted:
        return "not enough cash" if side is Side.BUY else "it is not held any more"
    return ""


def _book(
    order: PaperOrder, account: PaperAccount, holding: PaperHolding, quantity: Decimal, price: Decimal, now: datetime
) -> None:
    sign, fee = Side(order.side).sign, rounded(quantity * price * settings.QT_PAPER_FEE_BPS / BPS)
    value = order.price * order.filled_quantity + price * quantity
    order.filled_quantity += quantity
    order.price, order.fee = rounded(value / order.filled_quantity), order.fee + fee
    order.fills.append(fill(quantity, price, fee, now))
    account.cash -= sign * rounded(quantity * price) + fee
    account.save(update_fields=["cash"])
    holding.quantity += sign * quantity
    holding.save(update_fields=["quantity"])


def _end(order: PaperOrder, shortage: str) -> None:
    """What is left is cancelled; a market order of which nothing could be traded was not taken at all."""
    if order.filled_quantity > 0:
        order.status = OrderStatus.CANCELLED
        order.reason = f"filled in part; the rest was cancelled: {shortage or 'no more volume to trade with'}"
    elif order.limit_price is None:
        order.status, order.reason = OrderStatus.REJECTED, shortage or "no volume to trade with"
    else:
        order.status, order.reason = OrderStatus.CANCELLED, shortage or "it could not be traded at once"


def _cancel(order: PaperOrder, reason: str) -> None:
    if order.status in OPEN:
        order.status, order.reason = OrderStatus.CANCELLED, reason
        order.save(update_fields=["status", "reason"])


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
