"""What the pages of backtests and of sweeps share: the list with a form, and one of them as it goes and came out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from trading.backtests import manifest, selectors, services, tearsheet
from trading.backtests.candles import Misspaced, NoCandles, TooManyCandles
from trading.backtests.config import RunConfig
from trading.backtests.models import Kind, Run
from trading.backtests.parsing import InvalidConfig
from trading.backtests.sweeps.config import SweepConfig
from trading.core import parsing
from trading.core.errors import ApiError
from trading.core.middleware import request_id
from trading.jobs.access import is_operator, may_change
from trading.jobs.chain import links
from trading.jobs.models import JobRun
from trading.jobs.states import LIVE, RETRYABLE, State
from trading.tenants.permissions import Permission, allows
from trading.web import news
from trading.web.access import PageRequest
from trading.web.runs import uuid_or_none

PER_PAGE = 30


@dataclass(frozen=True)
class Research:
    """A kind of research. ``name``: of its page's route and of its template; those of the list have an s more.

    ``sheet``: the artifact that its page shows. ``repeated``: said when a configuration was submitted before.
    """

    kind: Kind
    name: str
    parse: Callable[[Mapping[str, Any]], RunConfig | SweepConfig]
    example: Callable[[], Mapping[str, Any]]
    sheet: str
    repeated: str


def listed(request: PageRequest, what: Research, more: Mapping[str, Any] | None = None) -> HttpResponse:
    """Newest first, a page at a time by the key of the last row; a configuration that is sent is submitted."""
    config, wrong = "", ""
    if request.method == "POST":
        config = request.POST.get("config", "")
        try:
            return redirect(f"web:{what.name}", _submit(request, what, config))
        except (InvalidConfig, Misspaced, NoCandles, TooManyCandles) as error:
            wrong = str(error)
        except ApiError as error:
            wrong = "; ".join(str(item["message"]) for item in error.extra.get("errors", [])) or str(error)
    else:
        config = json.dumps(what.example(), indent=2)
    rows = selectors.visible(request.user, what.kind).select_related("client")
    before = uuid_or_none(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: PER_PAGE + 1])
    known = selectors.job_runs(found[:PER_PAGE])
    context = {
        "rows": [(run, selectors.summary(run, known.get(run.job_run_id or run.id))) for run in found[:PER_PAGE]],
        "older": urlencode({"before": str(found[PER_PAGE - 1].id)}) if len(found) > PER_PAGE else "",
        "first_page": before is None,
        "is_operator": is_operator(request.user),
        "may_submit": _may_submit(request),
        "config": config,
        "wrong": wrong,
        **(more or {}),
    }
    return render(request, f"web/{what.name}s.html", context, status=422 if wrong else 200)


def _submit(request: PageRequest, what: Research, text: str) -> str:
    if request.user.client_id is None:
        raise Http404("Backtests and sweeps belong to a client.")
    config = what.parse(parsing.parse(text.encode()))
    submitted = services.submit(
        config, client_id=request.user.client_id, by=request.user.get_username(), request_id=request_id(request)
    )
    if not submitted.started:
        messages.info(request, what.repeated)
    return submitted.run.run_hash


def _may_submit(request: PageRequest) -> bool:
    return request.user.client_id is not None and allows(Permission.RESEARCH, request.user)


def wanted(request: PageRequest, kind: Kind, run_hash: str) -> Run:
    """The newest run or sweep of that hash that the user may see; raises `Http404`."""
    run = selectors.newest(selectors.visible(request.user, kind).select_related("client"), run_hash)
    if run is None:
        raise Http404(f"There is no such {'sweep' if kind == Kind.SWEEP else 'backtest'}.")
    return run


def shown(
    request: PageRequest, what: Research, run: Run, title: str, more: Callable[[], Mapping[str, Any]]
) -> HttpResponse:
    """One of them. Asked by the page itself, it answers with the part that changes, or 204 when nothing has.

    ``more``: what the page shows beside, asked for once it has finished; may raise `manifest.Tampered`.
    """
    job = JobRun.objects.filter(id=run.job_run_id).first() if run.job_run_id is not None else None
    state = selectors.status(run, job)
    seen = news.digest(_seen(state, job))
    if news.is_none(request, seen):
        return HttpResponse(status=204)
    can_change = job is not None and may_change(request.user, job)
    sealed, sheet, wrong = _left(run, what.sheet)
    beside: Mapping[str, Any] = {}
    if sealed is not None:
        try:
            beside = more()
        except manifest.Tampered as error:
            wrong = _changed(error)
    context = {
        "run": run,
        "job": job,
        "here": f"web:{what.name}",
        "all": f"web:{what.name}s",
        "state": state,
        "state_name": State(state).label,
        "title": f"{title}{run.backtest['strategy']['name']} on "
        + ", ".join(run.backtest.get("symbols") or [run.backtest["symbol"]]),
        "links": links(job, list(job.attempts.order_by("number"))) if job is not None else [],
        "poll": urlencode({"seen": seen}) if state in LIVE else "",
        "manifest": sealed,
        "sheet": sheet,
        "wrong": wrong,
        "config": json.dumps(run.config, indent=2),
        "may_submit": _may_submit(request),
        "can_retry": can_change and state in RETRYABLE,
        "can_cancel": can_change and state in LIVE and job is not None and job.cancel_requested_at is None,
        **beside,
    }
    return render(request, f"web/research{'_state' if news.asked(request) else ''}.html", context)


def _seen(state: str, job: JobRun | None) -> list[Any]:
    """What a page shows of a run that changes: another of it is another page."""
    if job is None:
        return [state]
    return [state, job.fence, job.progress_done, job.progress_note, str(job.cancel_requested_at)]


def _left(run: Run, name: str) -> tuple[manifest.Manifest | None, SafeString, str]:
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
        return None, nothing, _changed(error)


def _changed(error: manifest.Tampered) -> str:
    return f"What is stored is not what the run left: {error}"
