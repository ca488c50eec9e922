"""Compares a client's account at a venue with our books: orders, fills, positions, balances.

What the venue says of our orders and fills is booked. Whatever else differs becomes a `Difference`. A question that
was not answered is no evidence: nothing is found by it, and nothing is taken to be gone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar
from uuid import UUID

import structlog
from django.db.models import Case, DecimalField, F, Q, QuerySet, Sum, Value, When

from trading.brokers.base import AccountFill, Broker, BrokerError, BrokerRefused, OrderReport, has_answered
from trading.brokers.instruments import Instrument
from trading.brokers.lists import PartlyUnreadable
from trading.execution import books, changes, differences, explanations, outcomes, services
from trading.execution.differences import Found
from trading.execution.looks import STOPPED, Look, Outcome, told
from trading.execution.models import Adjustment, DifferenceKind, Fill, Order, Position, Reconciliation
from trading.execution.outcomes import Hold
from trading.execution.states import AT_VENUE, OrderState

T = TypeVar("T")
log = structlog.get_logger("quantum.reconciliation")

IN_FLIGHT: Final = timedelta(seconds=15)
"""An order sent less than this ago is its sender's."""
SHOWN_WITHIN: Final = timedelta(seconds=60)
"""A venue that does not show an order for longer than this has lost it, or never had it: a difference."""
OVERLAP: Final = timedelta(minutes=10)
"""Fills are asked for from so long before the last look, for venues that show them late."""
FIRST_LOOK: Final = timedelta(days=7)
CENT: Final = Decimal("0.01")


def reconcile(client_id: UUID, broker: Broker, *, hold: Hold, now: datetime) -> Outcome:
    """Compare one account, book what is missing, keep what differs. Must not be called in a transaction."""
    mark = Reconciliation.objects.filter(client_id=client_id, broker=broker.name).first()
    work = _Work(client_id, broker, hold, now, mark)
    for part in (work.orders, work.open_orders, work.fills, work.holdings, work.money, work.sums):
        if not work.look.is_away:
            work.attempt(part)
    return work.conclude()


class _Work:
    def __init__(self, client_id: UUID, broker: Broker, hold: Hold, now: datetime, mark: Reconciliation | None) -> None:
        self.client_id, self.broker, self.hold, self.now, self.mark = client_id, broker, hold, now, mark
        self.look = Look()
        self.opened_at = mark and mark.opened_at
        self._is_first = self.opened_at is None
        self.before = differences.standing(client_id, broker.name)
        self._instruments: dict[str, Instrument | None] = {}

    def attempt(self, part: Callable[[], Iterable[DifferenceKind]]) -> None:
        try:
            self.look.compared.update(part())
        except BrokerError as error:
            log.warning("reconciliation.not_answered", broker=self.broker.name, what=part.__name__, error=str(error))
            self.look.errors.append(f"{part.__name__}: {error}")
            self.look.is_away = not has_answered(error)
        except STOPPED:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the other parts can be compared
            self._failed(part.__name__, error)

    def _failed(self, what: str, error: Exception) -> None:
        log.exception("reconciliation.failed", client_id=str(self.client_id), broker=self.broker.name, what=what)
        self.look.errors.append(f"{what}: {told(error)}")
        self.look.has_failed = True

    def _own(self) -> QuerySet[Order]:
        return Order.objects.filter(client_id=self.client_id, broker=self.broker.name)

    def orders(self) -> Iterable[DifferenceKind]:
        """Each live order of ours is asked for by its id; what is due is cancelled."""
        is_answered = True
        for order in self._own().filter(state__in=AT_VENUE).order_by("id"):
            if order.state == OrderState.SENT and order.sent_at and self.now - order.sent_at < IN_FLIGHT:
                is_answered = False
                continue
            try:
                order = services.learn(order, self.broker, hold=self.hold)
                if order.is_live and changes.is_due_to_end(order, self.now):
                    order = changes.cancel_at_venue(order, self.broker, hold=self.hold)
            except BrokerError as error:
                if not has_answered(error):
                    raise
                self.look.errors.append(f"{order.client_order_id}: {error}")
                is_answered = False
                continue
            except STOPPED:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, the others can be asked for
                self._failed(order.client_order_id, error)
                is_answered = False
                continue
            is_lost = self.now - (order.sent_at or order.created_at) > SHOWN_WITHIN
            if order.state == OrderState.UNKNOWN and is_lost and not services.is_settling(order, self.broker):
                self._find(DifferenceKind.MISSING_ORDER, order.symbol, order.client_order_id, str(order), "not shown")
        return [DifferenceKind.MISSING_ORDER] if is_answered else []

    def open_orders(self) -> Iterable[DifferenceKind]:
        """Each order that is open there is one of ours that lives."""
        shown, is_whole = self._listed(self.broker.open_orders)
        ours = {row.client_order_id: row for row in self._own().filter(
            client_order_id__in=[one.client_order_id for one in shown if one.client_order_id]
        )}  # fmt: skip
        by_number = {row.broker_order_id: row for row in self._own().filter(
            broker_order_id__in=[one.broker_order_id for one in shown if one.broker_order_id]
        )}  # fmt: skip
        for one in shown:
            order = ours.get(one.client_order_id) or by_number.get(one.broker_order_id)
            if order is None:
                self._unknown_order(one)
                continue
            order = outcomes.record(order, one, hold=self.hold)
            if not order.is_live:
                again = self.broker.order(order.client_order_id, symbol=order.symbol)
                if again is not None and not again.is_final:
                    self._find(DifferenceKind.OPEN_ORDER, order.symbol, order.client_order_id, order.state, "open")
        return [DifferenceKind.UNKNOWN_ORDER, DifferenceKind.OPEN_ORDER] if is_whole else []

    def _listed(self, ask: Callable[[], Sequence[T]]) -> tuple[Sequence[T], bool]:
        """What a venue lists, and whether that is all: of rows that cannot be read nothing is known."""
        try:
            return ask(), True
        except PartlyUnreadable as error:
            self.look.errors.append(str(error))
            return error.readable, False

    def _unknown_order(self, one: OrderReport) -> None:
        said = {
            "client_order_id": one.client_order_id,
            "broker_order_id": one.broker_order_id,
            "side": str(one.side or ""),
            "quantity": str(one.quantity or 0),
            "limit_price": None if one.limit_price is None else str(one.limit_price),
        }
        theirs = f"{one.side} {one.quantity} {one.symbol} open"
        self._find(DifferenceKind.UNKNOWN_ORDER, one.symbol, one.broker_order_id[:64], "none", theirs, data=said)

    def fills(self) -> Iterable[DifferenceKind]:
        """Every execution since the last look is a fill of ours; what is missing is booked."""
        since = self._fills_since()
        try:
            shown, is_whole = self._shown(since)
        except BrokerError as error:
            earliest = error.context.get("earliest") if error.code == "out_of_reach" else None
            if earliest is None:
                raise
            since = datetime.fromisoformat(str(earliest))
            shown, is_whole = self._shown(since)
        known = {fill.execution_id: fill for fill in Fill.objects.filter(
            client_id=self.client_id, broker=self.broker.name,
            execution_id__in=[one.execution.execution_id for one in shown],
        )}  # fmt: skip
        for one in shown:
            if not books.is_booked(known.get(one.execution.execution_id), one.execution):
                self._missing_fill(one)
        return [DifferenceKind.UNKNOWN_FILL] if is_whole else []

    def _shown(self, since: datetime) -> tuple[Sequence[AccountFill], bool]:
        shown, is_whole = self._listed(lambda: self.broker.fills(since, symbols=self._symbols(since)))
        return sorted(shown, key=lambda one: one.execution.time), is_whole

    def _fills_since(self) -> datetime:
        if self.mark is not None:
            return self.mark.fills_since - OVERLAP
        first = self._own().filter(sent_at__isnull=False).order_by("id").values_list("sent_at", flat=True).first()
        return max(first or self.now, self.now - FIRST_LOOK) - OVERLAP

    def _symbols(self, since: datetime) -> list[str]:
        """Those that may have been traded since: of orders that live or lived then, and of what is held.

        Without those that the venue no longer lists: asking for them is refused, and for all the others with them.
        """
        lived = Q(state__in=AT_VENUE) | Q(finished_at__gte=since - timedelta(days=1))
        traded = set(self._own().filter(lived, sent_at__isnull=False).order_by().values_list("symbol", flat=True))
        held = Position.objects.filter(client_id=self.client_id).exclude(quantity=0)
        at_venue = Fill.objects.filter(client_id=self.client_id, broker=self.broker.name)
        traded |= set(at_venue.filter(symbol__in=held.values("symbol")).order_by().values_list("symbol", flat=True))
        return sorted(services.instruments(self.broker, traded))

    def _missing_fill(self, one: AccountFill) -> None:
        order = None
        if one.client_order_id:
            order = self._own().filter(client_order_id=one.client_order_id).first()
        if order is None and one.broker_order_id:
            order = self._own().filter(broker_order_id=one.broker_order_id).first()
        if order is not None:
            outcomes.record_fills(order, [one.execution], hold=self.hold)
            return
        part = one.execution
        said = {
            "client_order_id": one.client_order_id,
            "broker_order_id": one.broker_order_id,
            "side": str(one.side),
            "quantity": str(part.quantity),
            "price": str(part.price),
            "fee": str(part.fee),
            "fee_asset": part.fee_asset,
            "fee_quantity": str(part.fee_quantity),
            "fee_unvalued": str(part.fee_unvalued),
            "time": part.time.isoformat(),
        }
        theirs = f"{one.side} {part.quantity} {one.symbol} at {part.price}"
        self._find(DifferenceKind.UNKNOWN_FILL, one.symbol, part.execution_id[:64], "none", theirs, data=said)

    def holdings(self) -> Iterable[DifferenceKind]:
        """What the account holds is what our fills there, and what was explained, add up to; dust below a lot aside.

        A fill may come between the two looks, so that what differs is looked at twice.
        """
        differing = self._differing()
        if differing:
            self.fills()
            again = self._differing()
            differing = {symbol: pair for symbol, pair in again.items() if differing.get(symbol) == pair}
        for symbol, (ours, theirs) in sorted(differing.items()):
            if self._is_first and not self._own().filter(symbol=symbol, sent_at__isnull=False).exists():
                with self.hold():
                    explanations.adjust(
                        self.client_id, self.broker.name, symbol, theirs - ours, is_money=False,
                        by=differences.RECONCILIATION, reason="held before the first comparison", now=self.now,
                    )  # fmt: skip
            else:
                self._find(DifferenceKind.POSITION, symbol, symbol, _plain(ours), _plain(theirs), theirs - ours)
        self.opened_at = self.opened_at or self.now
        return [DifferenceKind.POSITION]

    def _differing(self) -> dict[str, tuple[Decimal, Decimal]]:
        theirs = {one.symbol: one.quantity for one in self.broker.positions()}
        ours = self._expected()
        under_way = self._own().filter(state__in=(OrderState.SENT, OrderState.UNKNOWN))
        self.look.left_out = set(under_way.order_by().values_list("symbol", flat=True))
        found = {}
        for symbol in {*theirs, *ours} - self.look.left_out:
            pair = ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))
            if pair[0] != pair[1] and abs(pair[0] - pair[1]) >= self._lot(symbol):
                found[symbol] = pair
        return found

    def _expected(self) -> dict[str, Decimal]:
        ours: dict[str, Decimal] = {}
        fills = Fill.objects.filter(client_id=self.client_id, broker=self.broker.name)
        kept = Adjustment.objects.filter(client_id=self.client_id, broker=self.broker.name, is_money=False)
        sums = (
            fills.order_by().values_list("symbol").annotate(total=Sum(F("quantity") - F("fee_quantity"))),
            kept.order_by().values_list("asset").annotate(total=Sum("quantity")),
        )
        for rows in sums:
            for symbol, total in rows:
                ours[symbol] = ours.get(symbol, Decimal(0)) + total
        return ours

    def _instrument(self, symbol: str) -> Instrument | None:
        if symbol not in self._instruments:
            try:
                self._instruments[symbol] = self.broker.instrument(symbol)
            except BrokerRefused:  # not traded there any more, or an asset without a pair
                self._instruments[symbol] = None
        return self._instruments[symbol]

    def _lot(self, symbol: str) -> Decimal:
        instrument = self._instrument(symbol)
        return Decimal(0) if instrument is None else instrument.lot

    def money(self) -> Iterable[DifferenceKind]:
        """The currency's balance is what was there before us and what our fills have moved.

        Only where each trade is settled at once, in that currency: futures pay as they move, options when they end.
        """
        fills = Fill.objects.filter(client_id=self.client_id, broker=self.broker.name)
        symbols = set(fills.order_by().values_list("symbol", flat=True).distinct())
        listed = [self._instrument(symbol) for symbol in symbols]
        currency = self.broker.currency
        if any(
            one is None or one.expiry is not None or one.multiplier != 1 or one.currency != currency for one in listed
        ):
            return []
        if self._own().filter(state__in=(OrderState.SENT, OrderState.UNKNOWN)).exists():
            return []
        before = self._moved(fills)
        theirs = self.broker.account().cash
        if self._moved(fills) != before:
            return []
        kept = Adjustment.objects.filter(client_id=self.client_id, broker=self.broker.name, is_money=True)
        opened = kept.aggregate(total=Sum("quantity"))["total"]
        if opened is None:
            with self.hold():
                explanations.adjust(
                    self.client_id, self.broker.name, currency, theirs - before, is_money=True,
                    by=differences.RECONCILIATION, reason="there at the first comparison", now=self.now,
                )  # fmt: skip
        elif abs(theirs - before - opened) > CENT:
            ours = before + opened
            self._find(DifferenceKind.BALANCE, "", currency, _plain(ours), _plain(theirs), theirs - ours)
        return [DifferenceKind.BALANCE]

    def _moved(self, fills: QuerySet[Fill]) -> Decimal:
        """What fills have brought in, less what they cost; a fee counts where it was taken in money."""
        fee = Case(
            When(Q(fee_asset__in=("", self.broker.currency)), then=F("fee")),
            default=Value(Decimal(0)),
            output_field=DecimalField(max_digits=28, decimal_places=8),
        )
        total = fills.aggregate(total=Sum(-F("quantity") * F("price") - fee, output_field=_WIDE))["total"]
        return Decimal(total or 0)

    def sums(self) -> Iterable[DifferenceKind]:
        """A position is the sum of its fills: the database sees to it, and this looks."""
        for one in books.mismatches(self.client_id):
            self._find(DifferenceKind.SUM, one.symbol, one.symbol, _plain(one.position), _plain(one.fills))
        return [DifferenceKind.SUM]

    def _find(
        self, kind: DifferenceKind, symbol: str, subject: str, ours: str, theirs: str,
        quantity: Decimal | None = None, *, data: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        self.look.found.append(Found(kind, symbol, subject, ours, theirs, quantity, dict(data or {})))

    def conclude(self) -> Outcome:
        look = self.look
        seen = {one.key for one in look.found}
        compared = [
            row for row in self.before
            if row.kind in look.compared and not (row.kind == DifferenceKind.POSITION and row.symbol in look.left_out)
        ]  # fmt: skip
        error = "; ".join(look.errors)[:300]
        with self.hold():
            self._mark(error)
            new = differences.report(self.client_id, self.broker.name, look.found, now=self.now)
            gone = differences.retire(compared, seen, now=self.now)
        unknown = list(self._own().filter(state__in=(OrderState.SENT, OrderState.UNKNOWN)))
        settling = sum(services.is_settling(order, self.broker) for order in unknown)
        standing = len(differences.standing(self.client_id, self.broker.name))
        return Outcome(len(new), standing, len(gone), len(unknown), error, settling, look.has_failed)

    def _mark(self, error: str) -> None:
        has_fills = DifferenceKind.UNKNOWN_FILL in self.look.compared
        fresh = {"tried_at": self.now, "error": error, "opened_at": self.opened_at}
        if not error:
            fresh["checked_at"] = self.now
        if has_fills:
            fresh["fills_since"] = self.now
        Reconciliation.objects.update_or_create(
            client_id=self.client_id,
            broker=self.broker.name,
            defaults=fresh,
            create_defaults={"fills_since": self._fills_since(), **fresh},
        )


_WIDE = DecimalField(max_digits=60, decimal_places=16)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
