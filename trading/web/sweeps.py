"""Sweeps: the list with a form to start one, and one sweep as it goes and as it came out."""

import hashlib
import json

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode

from trading.backtests import selectors, services
from trading.backtests.candles import NoCandles, TooManyCandles
from trading.backtests.models import Kind
from trading.backtests.parsing import InvalidConfig
from trading.backtests.sweeps.config import parse
from trading.core import parsing
from trading.core.errors import ApiError
from trading.core.middleware import request_id
from trading.jobs.access import is_operator, may_change
from trading.jobs.chain import links
from trading.jobs.models import JobRun
from trading.jobs.states import LIVE, RETRYABLE, State
from trading.tenants.permissions import Permission, allows
from trading.web.access import PageRequest, page, page_for
from trading.web.backtests import PER_PAGE, left, seen_state
from trading.web.runs import uuid_or_none

EXAMPLE = {
    "config": {
        "symbol": "TEST",
        "timeframe": "1d",
        "start": "2015-01-01",
        "end": "2023-12-31",
        "strategy": {"name": "dual_sma"},
        "execution": {"fee_bps": 1, "slippage_bps": 2},
        "seed": 42,
    },
    "parameters": {"fast": {"from": 5, "to": 50, "step": 5}, "slow": {"from": 20, "to": 200, "step": 20}},
    "objective": "sharpe",
}


@page_for(GET=Permission.SEE_ACCOUNT, POST=Permission.RESEARCH)
def index(request: PageRequest) -> HttpResponse:
    """Newest first, a page at a time by the key of the last row; a configuration that is sent is submitted."""
    config, wrong = json.dumps(EXAMPLE, indent=2), ""
    if request.method == "POST":
        config = request.POST.get("config", "")
        try:
            return redirect("web:sweep", sweep_hash=_submit(request, config))
        except (InvalidConfig, NoCandles, TooManyCandles) as error:
            wrong = str(error)
        except ApiError as error:
            wrong = "; ".join(str(item["message"]) for item in error.extra.get("errors", [])) or str(error)
    rows = selectors.visible(request.user, Kind.SWEEP).select_related("client")
    before = uuid_or_none(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: PER_PAGE + 1])
    known = selectors.job_runs(found[:PER_PAGE])
    context = {
        "sweeps": [(run, selectors.summary(run, known.get(run.job_run_id or run.id))) for run in found[:PER_PAGE]],
        "older": urlencode({"before": str(found[PER_PAGE - 1].id)}) if len(found) > PER_PAGE else "",
        "first_page": before is None,
        "is_operator": is_operator(request.user),
        "may_submit": request.user.client_id is not None and allows(Permission.RESEARCH, request.user),
        "config": config,
        "wrong": wrong,
    }
    return render(request, "web/sweeps.html", context, status=422 if wrong else 200)


def _submit(request: PageRequest, text: str) -> str:
    if request.user.client_id is None:
        raise Http404("Sweeps belong to a client.")
    config = parse(parsing.parse(text.encode()))
    submitted = services.submit(
        config, client_id=request.user.client_id, by=request.user.get_username(), request_id=request_id(request)
    )
    if not submitted.started:
        messages.info(request, "This sweep has been submitted before: this is it.")
    return submitted.run.run_hash


@page
def show(request: PageRequest, sweep_hash: str) -> HttpResponse:
    """One sweep. Asked by the page itself, it answers with the part that changes, or 204 when nothing has."""
    run = selectors.newest(selectors.visible(request.user, Kind.SWEEP).select_related("client"), sweep_hash)
    if run is None:
        raise Http404("There is no such sweep.")
    job = JobRun.objects.filter(id=run.job_run_id).first() if run.job_run_id is not None else None
    state = selectors.status(run, job)
    seen = hashlib.sha256(json.dumps(seen_state(state, job)).encode()).hexdigest()[:16]
    if request.headers.get("HX-Request") and request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    can_change = job is not None and may_change(request.user, job)
    sealed, sheet, wrong = left(run, "heatmap.html")
    best = None if run.metrics is None else run.metrics["best"]
    context = {
        "run": run,
        "job": job,
        "state": state,
        "state_name": State(state).label,
        "title": f"Sweep of {run.backtest['strategy']['name']} on "
        + ", ".join(run.backtest.get("symbols") or [run.backtest["symbol"]]),
        "links": links(job, list(job.attempts.order_by("number"))) if job is not None else [],
        "poll": urlencode({"seen": seen}) if state in LIVE else "",
        "manifest": sealed,
        "sheet": sheet,
        "wrong": wrong,
        "config": json.dumps(run.config, indent=2),
        "trials": None if best is None else selectors.deflated(run),
        "best_config": "" if best is None else json.dumps(best["config"], indent=2),
        "may_submit": request.user.client_id is not None and allows(Permission.RESEARCH, request.user),
        "can_retry": can_change and state in RETRYABLE,
        "can_cancel": can_change and state in LIVE and job is not None and job.cancel_requested_at is None,
    }
    return render(request, f"web/sweep{'_state' if request.headers.get('HX-Request') else ''}.html", context)
