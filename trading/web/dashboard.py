"""The first page: what a client has, what it did lately, and what comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django_celery_beat.models import PeriodicTask

from trading.execution import differences, selectors
from trading.execution.models import PortfolioSnapshot
from trading.jobs import schedule
from trading.jobs.access import is_operator, visible
from trading.jobs.registry import registry
from trading.marketdata import selectors as market
from trading.risk.models import Guard
from trading.tenants import parameters
from trading.tenants.models import Client
from trading.web import chart, labels, news
from trading.web.access import PageRequest, chosen_client, page

ROWS = 8
LIMITS = ("QT_MAX_NOTIONAL_PER_TRADE", "QT_MAX_DAILY_LOSS", "QT_MAX_POSITION_PER_SYMBOL", "QT_MAX_GROSS_EXPOSURE")


@dataclass(frozen=True)
class Next:
    """A job of the schedule and when it is due (UTC)."""

    title: str
    job: str
    due: datetime


@page
def show(request: PageRequest) -> HttpResponse:
    """A client's dashboard; an operator who has not chosen a client gets the list of them."""
    client = chosen_client(request)
    if client is None:
        return render(request, "web/clients.html", {"clients": Client.objects.order_by("name")[:200]})
    curve = selectors.equity_curve(client.id)
    latest = curve[-1] if curve else None
    now = parameters.in_force(client.id)
    limit = now.decimal("QT_MAX_GROSS_EXPOSURE")
    runs = visible(request.user).filter(client_id=client.id)
    shown = {
        "limits": _limits(now),
        "positions": selectors.positions(client.id),
        "orders": selectors.orders(client.id, limit=ROWS),
        "fills": selectors.fills(client.id, limit=ROWS),
        "coming": coming(datetime.now(UTC)),
        "differences": differences.standing(client.id),
        "runs": list(runs.defer("args", "returned", "result").order_by("-id")[:ROWS]),
        "market_time": _market_time(),
        "guard": Guard.objects.first(),
    }
    seen = news.digest(_seen(latest, shown))
    if news.is_none(request, seen):
        return HttpResponse(status=204)
    context = {
        **shown,
        "client": client,
        "chart": chart.line([(snapshot.time, float(snapshot.equity)) for snapshot in curve]),
        "latest": latest,
        "change": latest.equity - curve[0].equity if latest else None,
        "gross_limit": limit if limit > 0 else None,
        "gross_share": _share(latest.gross_exposure, limit) if latest and limit > 0 else None,
        "recorded": settings.QT_MARKET_PROVIDER == "csv",
        "is_operator": is_operator(request.user),
        "poll": urlencode({**({"client": str(client.id)} if is_operator(request.user) else {}), "seen": seen}),
    }
    return render(request, f"web/dashboard{'_state' if news.asked(request) else ''}.html", context)


def _seen(latest: PortfolioSnapshot | None, shown: Mapping[str, Any]) -> list[Any]:
    """What of the page changes; not how long ago things were."""
    guard = shown["guard"]
    return [
        latest and latest.id,
        guard and [guard.halted, guard.kills, guard.reason],
        [[row.id, row.state, row.reason, row.average_price] for row in shown["orders"]],
        [[row.symbol, row.quantity, row.time] for row in shown["fills"]],
        [[row.id, row.state] for row in shown["runs"]],
        [[row.id, row.ours, row.theirs] for row in shown["differences"]],
        [[entry.job, entry.due] for entry in shown["coming"]],
        [shown["limits"], shown["market_time"], len(shown["positions"])],
    ]


def coming(now: datetime) -> list[Next]:
    """The entries of the schedule that are on, soonest first."""
    titles = {job.slug: job.title for job in registry}
    found = []
    for entry in PeriodicTask.objects.filter(enabled=True).select_related("interval", "crontab"):
        due = schedule.next_run(entry, now)
        if due is not None:
            found.append(Next(titles.get(entry.task, entry.name), entry.task, due))
    return sorted(found, key=lambda entry: entry.due)[:ROWS]


def _market_time() -> datetime | None:
    """When the newest bar of what the platform trades began: of its first symbols, each by the index."""
    found = [market.last_time(symbol) for symbol in settings.QUANTUM_TRADER_SYMBOLS[:ROWS]]
    return max((moment for moment in found if moment is not None), default=None)


def _share(value: Decimal, limit: Decimal) -> int:
    """``value`` as a percentage of ``limit``, at most 100."""
    return int(min(value / limit * 100, Decimal(100)))


def _limits(now: parameters.InForce) -> list[tuple[str, Decimal | None]]:
    """The limits that hold for the client, by name; None where one is not set."""
    values = [(labels.of_limit(name), now.decimal(name)) for name in LIMITS]
    return [(name, value if value > 0 else None) for name, value in values]
