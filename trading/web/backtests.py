"""Backtests: the list with what was promoted of them, one run, and letting its strategy trade."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from trading.backtests import examples, manifest, promotions
from trading.backtests.models import Kind, Level
from trading.backtests.parsing import parse
from trading.tenants.permissions import Permission
from trading.web import promotion
from trading.web.access import PageRequest, page, page_for
from trading.web.research import Research, listed, shown, wanted

BACKTESTS = Research(
    kind=Kind.RUN,
    name="backtest",
    parse=parse,
    example=examples.backtest,
    sheet="tearsheet.html",
    repeated="This configuration has been submitted before: this is that run.",
)


@page_for(GET=Permission.SEE_ACCOUNT, POST=Permission.RESEARCH)
def index(request: PageRequest) -> HttpResponse:
    """The list, below the strategies that trade."""
    return listed(request, BACKTESTS, promotion.in_force(request))


@page
def show(request: PageRequest, run_hash: str) -> HttpResponse:
    """One run, and what the rule says of it."""
    run = wanted(request, Kind.RUN, run_hash)

    def more() -> dict[str, Any]:
        return {"verdict": promotion.verdict(request, run)}

    return shown(request, BACKTESTS, run, "", more)


@page_for(POST=Permission.PROMOTE)
def promote(request: PageRequest, run_hash: str) -> HttpResponse:
    """Let the run's strategy trade, if the rule still says yes."""
    run = wanted(request, Kind.RUN, run_hash)
    level = request.POST.get("level", "")
    if level not in Level.values:
        messages.error(request, "Say where it is to trade: on paper, or live.")
        return redirect("web:backtest", run_hash=run_hash)
    try:
        promotions.promote(run, Level(level), by=request.user.get_username())
    except promotions.NotPromotable as error:
        messages.error(request, str(error))
    except manifest.Tampered as error:
        messages.error(request, f"It cannot be promoted: what is stored is not what the run left: {error}.")
    else:
        name = run.config["strategy"]["name"]
        messages.success(request, f"{name} may trade {promotion.WHERE[Level(level)]}: the next cycle follows it.")
    return redirect("web:backtest", run_hash=run_hash)


@page_for(POST=Permission.PROMOTE)
def demote(request: PageRequest, promotion_id: UUID) -> HttpResponse:
    """Take a promotion back, with the reason that is given."""
    return promotion.demote(request, promotion_id)
