"""Reading positions, exposure and equity."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import F, Max, OuterRef, QuerySet, Subquery, Sum

from trading.brokers import registry
from trading.execution.models import Difference, Fill, Order, PortfolioSnapshot, Position
from trading.execution.states import AT_VENUE
from trading.marketdata import selectors as market


def positions(client_id: UUID) -> QuerySet[Position]:
    """What the client holds, by symbol."""
    return Position.objects.filter(client_id=client_id).exclude(quantity=0).order_by("symbol")


@dataclass(frozen=True)
class Marked:
    """A position at the newest close of its symbol; None where no close is known."""

    position: Position
    price: Decimal | None

    @property
    def value(self) -> Decimal | None:
        """Negative when short."""
        return None if self.price is None else self.position.quantity * self.price

    @property
    def unrealised_pnl(self) -> Decimal | None:
        """What closing it at that price would earn, without fees."""
        return None if self.price is None else self.position.quantity * (self.price - self.position.average_cost)


def marked(client_id: UUID) -> list[Marked]:
    """What the client holds, by symbol, at the newest closes."""
    found = []
    for position in positions(client_id):
        quote = market.quote(position.symbol)
        found.append(Marked(position, None if quote is None else quote.price))
    return found


def held_at(client_id: UUID, broker: str) -> dict[str, Decimal]:
    """What the client's fills at ``broker`` add up to, by symbol; nothing that is not held."""
    fills = Fill.objects.filter(client_id=client_id, broker=broker).order_by()
    rows = fills.values_list("symbol").annotate(total=Sum(F("quantity") - F("fee_quantity")))
    return {symbol: total for symbol, total in rows if total}


def without_money(client_id: UUID, *, since: datetime) -> set[str]:
    """The symbols in whose books fills of simulated venues count: what they hold still, or earned since then."""
    simulated = [name for name in registry.names() if registry.is_simulated(name)]
    fills = Fill.objects.filter(client_id=client_id, broker__in=simulated).order_by()
    units = Sum(F("quantity") - F("fee_quantity"))
    rows = fills.values_list("symbol").annotate(total=units, newest=Max("time"))
    return {symbol for symbol, total, newest in rows if total or newest >= since}


def left_alone(client_id: UUID, broker: str) -> frozenset[str]:
    """The symbols in which nothing new may be planned: an order is under way, or the venue and we differ."""
    differing = Difference.objects.filter(client_id=client_id, broker=broker, resolved_at__isnull=True).exclude(
        symbol=""
    )
    return unsettled_symbols(client_id) | frozenset(differing.order_by().values_list("symbol", flat=True))


def unsettled_symbols(client_id: UUID) -> frozenset[str]:
    """The symbols with an order that the venue has, or may have, and of which something may still come."""
    sent = Order.objects.filter(client_id=client_id, state__in=AT_VENUE)
    return frozenset(sent.order_by().values_list("symbol", flat=True))


def orders(client_id: UUID, *, limit: int = 20) -> Sequence[Order]:
    """The client's newest orders."""
    return list(Order.objects.filter(client_id=client_id).order_by("-id")[:limit])


def fills(client_id: UUID, *, limit: int = 20) -> Sequence[Fill]:
    """The client's newest fills."""
    return list(Fill.objects.filter(client_id=client_id).order_by("-id")[:limit])


def equity_curve(client_id: UUID, *, limit: int = 500) -> Sequence[PortfolioSnapshot]:
    """The client's snapshots, oldest first, at most the last ``limit``."""
    newest = PortfolioSnapshot.objects.filter(client_id=client_id).order_by("-time", "-id")[:limit]
    return list(reversed(newest))


def gross_exposure(client_id: UUID | None = None) -> Decimal:
    """The size of all positions as the last snapshots show it: of one client, or of all."""
    snapshots = PortfolioSnapshot.objects.all()
    if client_id is not None:
        snapshots = snapshots.filter(client_id=client_id)
    newest = snapshots.filter(client_id=OuterRef("client_id")).order_by("-time").values("id")[:1]
    clients = snapshots.values("client_id").annotate(latest=Max("time"), newest=Subquery(newest))
    ids = [row["newest"] for row in clients.order_by("client_id")]
    total = PortfolioSnapshot.objects.filter(id__in=ids).aggregate(total=Sum("gross_exposure"))["total"]
    return total or Decimal(0)
