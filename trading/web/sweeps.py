"""Sweeps: the list with a form to start one, and one sweep with what its best point may do."""

import json
from typing import Any

from django.http import HttpResponse

from trading.backtests import canonical, examples, selectors
from trading.backtests.models import Kind
from trading.backtests.sweeps.config import parse
from trading.tenants.permissions import Permission
from trading.web import promotion
from trading.web.access import PageRequest, page, page_for
from trading.web.research import Research, listed, shown, wanted

SWEEPS = Research(
    kind=Kind.SWEEP,
    name="sweep",
    parse=parse,
    example=examples.sweep,
    sheet="heatmap.html",
    repeated="This sweep has been submitted before: this is it.",
)


@page_for(GET=Permission.SEE_ACCOUNT, POST=Permission.RESEARCH)
def index(request: PageRequest) -> HttpResponse:
    """The list."""
    return listed(request, SWEEPS)


@page
def show(request: PageRequest, sweep_hash: str) -> HttpResponse:
    """One sweep; its best point is promoted as the run that tests it by itself."""
    sweep = wanted(request, Kind.SWEEP, sweep_hash)

    def more() -> dict[str, Any]:
        best = (sweep.metrics or {}).get("best")
        if best is None:
            return {}
        run_hash = canonical.digest(best["config"])
        rows = selectors.visible(request.user).filter(client_id=sweep.client_id).select_related("client")
        run = selectors.newest(rows, run_hash)
        finished = run is not None and run.manifest_hash != ""
        return {
            "trials": selectors.deflated(sweep),
            "best_run": run,
            "best_config": json.dumps(best["config"], indent=2),
            "verdict": promotion.verdict(request, run) if run is not None and finished else None,
        }

    return shown(request, SWEEPS, sweep, "Sweep of ", more)
