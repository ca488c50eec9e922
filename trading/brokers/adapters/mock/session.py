"""A session with the mock venue: its orders are rows, so that every process finds them, also after a restart."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from trading.brokers.adapters.mock import market
from trading.brokers.base import (
    AccountFill,
    Balance,
    Broker,
    BrokerRefused,
    Capabilities,
    Credentials,
    Holding,
    OrderReport,
    OrderStatus,
    Side,
    Ticket,
    TimeInForce,
)
from trading.brokers.instruments import Instrument, OptionChain, Quote
from trading.brokers.models import MockOrder
from trading.brokers.simulated import BOOKING_HORIZON, OPEN, fill, report, rounded

CASH = Decimal(1_000_000)
FEE_PER_CONTRACT = Decimal("2.25")
SPOT_FEE = Decimal("0.0005")
RENEWAL = timedelta(minutes=15)
"""How often the depth of the book is there anew for what rests."""


class MockBroker(Broker):
    """One client's account: 1,000,000 USD to begin with, no margin calls."""

    name = "mock"
    currency = "USD"
    capabilities = Capabilities(
        deduplicates_client_ids=True,
        queries_by_client_id=True,
        replaces=True,
        option_chains=True,
        greeks=True,
        sells_short=True,
        booking_horizon=BOOKING_HORIZON,
    )
    lot = Decimal("0.001")

    def __init__(self, client_id: UUID, clock: Callable[[], datetime] = timezone.now) -> None:
        self._client_id, self._clock = client_id, clock

    def place(self, ticket: Ticket) -> OrderReport:
        """Take it, or answer with what became of it when it was taken before."""
        if connection.in_atomic_block:
            raise RuntimeError("an order must not be sent inside a transaction: its rollback would forget it")
        with transaction.atomic():
            self.hurry(ticket, "place", self._clock())
            return self._report(self._take(ticket))

    def _take(self, ticket: Ticket) -> MockOrder:
        now = self._clock()
        listed = market.instrument(ticket.symbol, now)
        quantity = ticket.quantity if listed is None else listed.floor(ticket.quantity)
        row, is_new = MockOrder.objects.get_or_create(
            client_id=self._client_id,
            client_order_id=ticket.client_order_id,
            defaults={
                "symbol": ticket.symbol,
                "side": ticket.side,
                "quantity": quantity,
                "limit_price": ticket.limit_price,
                "rests": ticket.time_in_force is TimeInForce.GTC and ticket.limit_price is not None,
                "status": OrderStatus.ACCEPTED,
                "received_at": now,
                "matched_at": now,
            },
        )
        if not is_new:
            return row
        if listed is None or quantity <= 0:
            row.status = OrderStatus.REJECTED
            row.reason = "it is not listed" if listed is None else f"the quantity is below the lot of {listed.lot}"
            row.save()
        else:
            self._match(row, listed, now)
        return row

    def _match(self, row: MockOrder, listed: Instrument, now: datetime) -> None:
        """Trade what the best price offers; what is left rests or is cancelled."""
        quoted, side = market.quote(listed, now), Side(row.side)
        price, depth = (quoted.ask, quoted.ask_quantity) if side is Side.BUY else (quoted.bid, quoted.bid_quantity)
        left = row.quantity - row.filled
        if (
            price is not None
            and depth is not None
            and (row.limit_price is None or side.sign * (row.limit_price - price) >= 0)
        ):
            left -= self._trade(row, listed, min(left, listed.floor(depth)), price, now)
        row.matched_at = now
        if left == 0:
            row.status = OrderStatus.FILLED
        elif not row.rests:
            row.status, row.reason = OrderStatus.CANCELLED, "the rest could not be traded at once"
        elif row.fills:
            row.status = OrderStatus.PARTIALLY_FILLED
        row.save()

    @staticmethod
    def _trade(row: MockOrder, listed: Instrument, quantity: Decimal, price: Decimal, now: datetime) -> Decimal:
        fee = quantity * FEE_PER_CONTRACT if listed.expiry else quantity * price * SPOT_FEE
        if quantity > 0:
            row.fills.append(fill(quantity, price, rounded(fee), now))
        return quantity

    def _settle(self) -> None:
        """Let what rests meet the market of now, when the book has been renewed; what is not listed any more ends."""
        now = self._clock()
        due = MockOrder.objects.filter(
            client_id=self._client_id, status__in=OPEN, matched_at__lte=now - RENEWAL
        ).order_by("id")
        with transaction.atomic():
            for row in due.select_for_update(skip_locked=True):
                listed = market.instrument(row.symbol, now)
                if listed is not None:
                    self._match(row, listed, now)
                else:
                    row.status, row.reason = OrderStatus.CANCELLED, "it has expired"
                    row.save()

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """Cancel what rests of it."""
        with transaction.atomic():
            return self._report(self._cancel(client_order_id, "cancel"))

    def _cancel(self, client_order_id: str, operation: str) -> MockOrder:
        row = (
            MockOrder.objects.select_for_update()
            .filter(client_id=self._client_id, client_order_id=client_order_id)
            .first()
        )
        if row is None:
            raise self._refused(operation, "unknown_order", f"There is no order {client_order_id}.")
        if row.status in OPEN:
            row.status = OrderStatus.CANCELLED
            row.save()
        return row

    def replace(self, client_order_id: str, ticket: Ticket) -> OrderReport:
        """Cancel and place together."""
        with transaction.atomic():
            old = MockOrder.objects.select_for_update().filter(
                client_id=self._client_id, client_order_id=client_order_id, status__in=OPEN
            )
            self.hurry(ticket, "replace", self._clock())
            if not old.exists():
                return OrderReport(
                    ticket.client_order_id, "", OrderStatus.REJECTED, reason="there is nothing left to replace"
                )
            self._cancel(client_order_id, "replace")
            return self._report(self._take(ticket))

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The order, if it was ever taken."""
        self._settle()
        row = MockOrder.objects.filter(client_id=self._client_id, client_order_id=client_order_id).first()
        return None if row is None else self._report(row)

    def open_orders(self) -> tuple[OrderReport, ...]:
        """What rests."""
        self._settle()
        rows = MockOrder.objects.filter(client_id=self._client_id, status__in=OPEN).order_by("id")
        return tuple(self._report(row) for row in rows)

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """Whatever their symbol."""
        self._settle()
        rows = MockOrder.objects.filter(client_id=self._client_id, matched_at__gte=since).order_by("id")
        found = [
            AccountFill(part, row.symbol, Side(row.side), row.client_order_id, f"mock-{row.id}")
            for row in rows
            for part in self._report(row).executions
            if part.time >= since
        ]
        return tuple(sorted(found, key=lambda fill: fill.execution.time))

    def positions(self) -> tuple[Holding, ...]:
        """The sums of what was traded; the cost is the average one of what opened the position."""
        self._settle()
        now = self._clock()
        held: dict[str, Decimal] = {}
        costs: dict[str, Decimal] = {}
        for symbol, signed, price in self._trades():
            before = held.get(symbol, Decimal(0))
            after = before + signed
            if before * signed >= 0:
                costs[symbol] = (abs(before) * costs.get(symbol, Decimal(0)) + abs(signed) * price) / abs(after)
            elif before * after < 0:
                costs[symbol] = price
            held[symbol] = after
        return tuple(
            Holding(symbol, quantity, costs[symbol].quantize(market.SMALLEST))
            for symbol, quantity in sorted(held.items())
            if quantity and market.settlement(symbol, now) is None
        )

    def _trades(self) -> list[tuple[str, Decimal, Decimal]]:
        rows = MockOrder.objects.filter(client_id=self._client_id).exclude(fills=[]).order_by("id")
        return [
            (row.symbol, Side(row.side).sign * Decimal(part["quantity"]), Decimal(part["price"]))
            for row in rows
            for part in row.fills
        ]

    def balances(self) -> tuple[Balance, ...]:
        """Cash after premiums, fees, what futures have won or lost so far, and what has expired was worth."""
        self._settle()
        now, cash = self._clock(), CASH
        held: dict[str, Decimal] = {}
        for symbol, signed, price in self._trades():
            root = market.ROOTS.get(symbol.split("-")[0])
            multiplier = root.multiplier if root and "-" in symbol else Decimal(1)
            cash -= signed * price * multiplier
            held[symbol] = held.get(symbol, Decimal(0)) + signed * multiplier
        cash += sum((units * self._settled(symbol, now) for symbol, units in held.items()), Decimal(0))
        rows = MockOrder.objects.filter(client_id=self._client_id).exclude(fills=[])
        fees = sum((Decimal(part["fee"]) for row in rows for part in row.fills), Decimal(0))
        return (Balance(self.currency, cash - fees),)

    @staticmethod
    def _settled(symbol: str, now: datetime) -> Decimal:
        """What has been paid for one unit that is held: a future's price, and what an option was worth at its end."""
        ended = market.settlement(symbol, now)
        listed = market.instrument(symbol, now) if ended is None else None
        if listed is not None and listed.expiry is not None and listed.strike is None:
            return market.quote(listed, now).last or Decimal(0)
        return ended or Decimal(0)

    def instrument(self, symbol: str) -> Instrument:
        """A future, an option, or what market data has a price of."""
        return self._listed(symbol, "instrument")

    def quote(self, symbol: str) -> Quote:
        """The prices of this minute."""
        return market.quote(self._listed(symbol, "quote"), self._clock())

    def chain(self, underlying: str, *, expiry: date | None = None) -> OptionChain:
        """Of a root such as ``IND``; the next expiry when none is named."""
        now = self._clock()
        listed = market.expiries(now)
        if underlying not in market.ROOTS:
            raise self._refused("chain", "unknown_symbol", f"There are no options on {underlying[:32]}.")
        if expiry is not None and expiry not in listed:
            raise self._refused("chain", "unknown_expiry", f"Options end on {', '.join(map(str, listed))}.")
        return market.chain(underlying, expiry or listed[0], now)

    def _listed(self, symbol: str, operation: str) -> Instrument:
        found = market.instrument(symbol, self._clock())
        if found is None:
            raise self._refused(operation, "unknown_symbol", f"{symbol[:32]} is not listed.")
        return found

    def _refused(self, operation: str, code: str, message: str) -> BrokerRefused:
        return BrokerRefused(message, broker=self.name, operation=operation, code=code)

    def _report(self, row: MockOrder) -> OrderReport:
        return report(row, self.name, self.currency)


class MockAdapter:
    """Opens sessions; it asks for no credentials."""

    name = "mock"
    is_simulated = True
    credentials = Credentials

    def open(self, client_id: UUID, credentials: Credentials) -> MockBroker:
        """A session."""
        return MockBroker(client_id)
