"""Parity: what a promoted strategy's account and its backtest filled, side by side, and why they differ."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from trading.backtests import parity, selectors
from trading.backtests.models import Promotion
from trading.jobs.access import is_operator
from trading.web.access import PageRequest, page
from trading.web.runs import uuid_or_none

MOST_PROMOTIONS = 20
MOST_PAIRS = 200


@page
def show(request: PageRequest) -> HttpResponse:
    """The promotion that is asked for, else the newest in force; the newest decisions first."""
    rows = selectors.visible_promotions(request.user).select_related("client").filter(demoted_at__isnull=True)
    known = list(rows.order_by("-promoted_at", "-id")[:MOST_PROMOTIONS])
    shown = known[0] if known else None
    if "promotion" in request.GET:
        asked = uuid_or_none(request.GET["promotion"])
        shown = next((one for one in known if one.id == asked), None)
        if shown is None:
            raise Http404("There is no such promotion in force.")
    found, wrong = _report(shown)
    pairs = () if found is None else found.pairs
    context = {
        "promotions": known,
        "promotion": shown,
        "is_pruned": shown is not None and selectors.newest(selectors.visible(request.user), shown.run_hash) is None,
        "report": found,
        "pairs": [(pair, pair.causes) for pair in reversed(pairs[-MOST_PAIRS:])],
        "left_out": max(len(pairs) - MOST_PAIRS, 0),
        "wrong": wrong,
        "is_operator": is_operator(request.user),
    }
    return render(request, "web/parity.html", context)


def _report(promotion: Promotion | None) -> tuple[parity.Report | None, str]:
    """The comparison, or why there is none."""
    if promotion is None:
        return None, ""
    try:
        return parity.report(promotion, now=timezone.now()), ""
    except (LookupError, ValueError) as error:  # its candles or its strategy are not there any more
        return None, str(error)
