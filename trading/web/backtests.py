"""Backtests: the list with a form to submit one, and one run as it goes and as it came out."""

import hashlib
import json
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from trading.backtests import manifest, selectors, services, tearsheet
from trading.backtests.candles import NoCandles, TooManyCandles
from trading.backtests.models import Run
from trading.backtests.parsing import InvalidConfig, parse
from trading.core import parsing
from trading.core.errors import ApiError
from trading.core.middleware import request_id
from trading.jobs.access import is_operator, may_change
from trading.jobs.chain import links
from trading.jobs.models import JobRun
from trading.jobs.states import LIVE, RETRYABLE, State
from trading.tenants.permissions import Permission, allows
from trading.web.access import PageRequest, page, page_for
from trading.web.runs import uuid_or_none

PER_PAGE = 30
EXAMPLE = {
    "symbol": "TEST",
    "timeframe": "1d",
    "start": "2018-01-01",
    "end": "2023-12-31",
    "indicators": [{"name": "sma", "params": {"window": 20}}],
    "strategy": {"name": "dual_sma", "params": {"fast": 10, "slow": 40}},
    "risk": {"model": "fixed_fraction", "params": {"fraction": 0.9}},
    "execution": {"fee_bps": 1, "slippage_bps": 2, "borrow_cost_bps": 0},
    "validation": {"permutation": {"trials": 1000}, "bootstrap": {"trials": 1000}},
    "seed": 42,
}


@page_for(GET=Permission.SEE_ACCOUNT, POST=Permission.RESEARCH)
def index(request: PageRequest) -> HttpResponse:
    """Newest first, a page at a time by the key of the last row; a configuration that is sent is submitted."""
    config, wrong = json.dumps(EXAMPLE, indent=2), ""
    if request.method == "POST":
        config = request.POST.get("config", "")
        try:
            return redirect("web:backtest", run_hash=_submit(request, config))
        except (InvalidConfig, NoCandles, TooManyCandles) as error:
            wrong = str(error)
        except ApiError as error:
            wrong = "; ".join(str(item["message"]) for item in error.extra.get("errors", [])) or str(error)
    rows = selectors.visible(request.user).select_related("client")
    before = uuid_or_none(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: PER_PAGE + 1])
    known = selectors.job_runs(found[:PER_PAGE])
    context = {
        "runs": [(run, selectors.summary(run, known.get(run.job_run_id or run.id))) for run in found[:PER_PAGE]],
        "older": urlencode({"before": str(found[PER_PAGE - 1].id)}) if len(found) > PER_PAGE else "",
        "first_page": before is None,
        "is_operator": is_operator(request.user),
        "may_submit": request.user.client_id is not None and allows(Permission.RESEARCH, request.user),
        "config": config,
        "wrong": wrong,
    }
    return render(request, "web/backtests.html", context, status=422 if wrong else 200)


def _submit(request: PageRequest, text: str) -> str:
    if request.user.client_id is None:
        raise Http404("Backtests belong to a client.")
    config = parse(parsing.parse(text.encode()))
    submitted = services.submit(
        config, client_id=request.user.client_id, by=request.user.get_username(), request_id=request_id(request)
    )
    if not submitted.started:
        messages.info(request, "This configuration has been submitted before: this is that run.")
    return submitted.run.run_hash


@page
def show(request: PageRequest, run_hash: str) -> HttpResponse:
    """One run. Asked by the page itself, it answers with the part that changes, or 204 when nothing has."""
    run = selectors.newest(selectors.visible(request.user).select_related("client"), run_hash)
    if run is None:
        raise Http404("There is no such backtest.")
    job = JobRun.objects.filter(id=run.job_run_id).first() if run.job_run_id is not None else None
    state = selectors.status(run, job)
    seen = hashlib.sha256(json.dumps(seen_state(state, job)).encode()).hexdigest()[:16]
    if request.headers.get("HX-Request") and request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    can_change = job is not None and may_change(request.user, job)
    sealed, sheet, wrong = left(run, "tearsheet.html")
    symbols = ", ".join(run.config.get("symbols") or [run.config["symbol"]])
    context = {
        "run": run,
        "job": job,
        "state": state,
        "state_name": State(state).label,
        "title": f"{run.config['strategy']['name']} on {symbols}",
        "links": links(job, list(job.attempts.order_by("number"))) if job is not None else [],
        "poll": urlencode({"seen": seen}) if state in LIVE else "",
        "manifest": sealed,
        "sheet": sheet,
        "wrong": wrong,
        "config": json.dumps(run.config, indent=2),
        "can_retry": can_change and state in RETRYABLE,
        "can_cancel": can_change and state in LIVE and job is not None and job.cancel_requested_at is None,
    }
    return render(request, f"web/backtest{'_state' if request.headers.get('HX-Request') else ''}.html", context)


def seen_state(state: str, job: JobRun | None) -> list[Any]:
    """What a page shows of a run that changes: another of it is another page."""
    if job is None:
        return [state]
    return [state, job.fence, job.progress_done, job.progress_note, str(job.cancel_requested_at)]


def left(run: Run, name: str) -> tuple[manifest.Manifest | None, SafeString, str]:
    """The manifest, the sections of the page of that name among the artifacts, and what is wrong with them."""
    nothing = SafeString("")
    try:
        sealed = selectors.manifest_of(run)
        entry = None if sealed is None else sealed.entry(name)
        if entry is None:
            return sealed, nothing, ""
        with services.store().open(run.client_id, run.id, entry) as file:
            # The platform's own page, escaped where it was made, and its bytes are those that were sealed.
            return sealed, mark_safe(tearsheet.sections_of(file.read())), ""  # noqa: S308
    except manifest.Tampered as error:
        return None, nothing, f"What is stored is not what the run left: {error}"
