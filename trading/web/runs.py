"""Job runs: the list with its filters, and one run as it goes."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode

from trading.audit.services import record
from trading.core.middleware import request_id
from trading.jobs import services
from trading.jobs.access import is_operator, may_change, visible
from trading.jobs.chain import links
from trading.jobs.models import JobRun
from trading.jobs.registry import Job, UnknownJob, registry
from trading.jobs.states import LIVE, RETRYABLE, State, Trigger
from trading.tenants.models import Client, User
from trading.tenants.permissions import Permission, allows
from trading.web import news
from trading.web.access import PageRequest, page, page_for
from trading.web.shapes import shape

PER_PAGE = 30


@page
def index(request: PageRequest) -> HttpResponse:
    """Newest first, a page at a time by the key of the last row, so that every page costs the same."""
    job, state = request.GET.get("job", ""), request.GET.get("state", "")
    job = job if job in registry.slugs() else ""
    state = state if state in State.values else ""
    runs = visible(request.user)
    if job:
        runs = runs.filter(job=job)
    if state:
        runs = runs.filter(state=state)
    before = uuid_or_none(request.GET.get("before", ""))
    if before is not None:
        runs = runs.filter(id__lt=before)
    columns = runs.select_related("client").defer("args", "returned", "result", "error_message")
    rows = list(columns.order_by("-id")[: PER_PAGE + 1])
    shown = rows[:PER_PAGE]
    seen = news.digest([[str(run.id), run.state, run.step_index, run.progress_done] for run in shown])
    if news.is_none(request, seen):
        return HttpResponse(status=204)
    chosen = {key: value for key, value in (("job", job), ("state", state)) if value}
    older = urlencode({**chosen, "before": str(shown[-1].id)}) if len(rows) > PER_PAGE else ""
    context = {
        "runs": shown,
        "startable": _startable(request.user),
        "clients": Client.objects.filter(is_active=True).order_by("name") if is_operator(request.user) else [],
        "jobs": sorted(registry.slugs()),
        "states": State.choices,
        "job": job,
        "state": state,
        "older": older,
        "first_page": before is None,
        "newest": urlencode(chosen),
        "poll": urlencode({**chosen, "seen": seen}) if before is None else "",
        "is_operator": is_operator(request.user),
    }
    return render(request, "web/runs_table.html" if news.asked(request) else "web/runs.html", context)


@page
def show(request: PageRequest, run_id: UUID) -> HttpResponse:
    """One run. Asked by the page itself, it answers with the part that changes, or 204 when nothing has."""
    run = _get(request.user, run_id)
    attempts = list(run.attempts.order_by("number"))
    seen = news.digest([run.state, run.fence, run.progress_done, run.progress_note, str(run.cancel_requested_at)])
    if news.is_none(request, seen):
        return HttpResponse(status=204)
    can_change = may_change(request.user, run)
    context = {
        "run": run,
        "links": links(run, attempts),
        "attempts": attempts,
        "args": shape(run.args),
        "returned": [(name, shape(run.returned[name])) for name in run.steps if name in run.returned],
        "children": run.children.only("id", "job", "state").order_by("id")[:50],
        "poll": urlencode({"seen": seen}) if run.state in LIVE else "",
        "can_retry": can_change and run.state in RETRYABLE,
        "can_cancel": can_change and run.state in LIVE and run.cancel_requested_at is None,
        "shows_tracebacks": is_operator(request.user),
    }
    return render(request, "web/run_state.html" if news.asked(request) else "web/run.html", context)


@page_for(POST=Permission.CHANGE_RUNS)
def start(request: PageRequest) -> HttpResponse:
    """Enqueue a job as its schedule would; where it is live already and may be so only once, show that run."""
    job = next((job for job in _startable(request.user) if job.slug == request.POST.get("job")), None)
    if job is None:
        raise Http404("There is no such job that you may start.")
    chosen = uuid_or_none(request.POST.get("client", "")) if is_operator(request.user) else request.user.client_id
    client_id = chosen if job.per_client else None
    try:
        with transaction.atomic():
            enqueued = services.enqueue(
                job.slug,
                client_id=client_id,
                trigger=Trigger.API,
                triggered_by=request.user.get_username(),
                request_id=request_id(request),
            )
            told = {"job": job.slug, "created": enqueued.created}
            record("job_run.enqueued", client_id=client_id, subject=f"job_run:{enqueued.run.id}", data=told)
    except services.InvalidArguments as error:
        messages.warning(request, f"{job.title}: {'; '.join(one['message'] for one in error.errors)}.")
        return redirect("web:runs")
    messages.success(request, "Queued." if enqueued.created else "It is under way already: this is the run.")
    return redirect("web:run", run_id=enqueued.run.id)


def _startable(user: User) -> list[Job[Any]]:
    """What the user may start with nothing but a click: a client's jobs, and for operators the scheduled ones."""
    if not allows(Permission.CHANGE_RUNS, user):
        return []
    own = (job for job in registry if job.client_startable and job.per_client)
    scheduled = (job for job in registry if is_operator(user) and job.cadence is not None)
    found = {job.slug: job for job in (*own, *scheduled) if not job.needs_arguments}
    return sorted(found.values(), key=lambda job: job.title)


@page_for(POST=Permission.CHANGE_RUNS)
def retry(request: PageRequest, run_id: UUID) -> HttpResponse:
    """Queue the run again from the step that did not succeed."""
    run = _changeable(request.user, run_id)
    try:
        services.retry(run.id, by=request.user.get_username())
        messages.success(request, "Queued again.")
    except (services.WrongState, UnknownJob) as error:
        messages.warning(request, str(error))
    return redirect("web:run", run_id=run.id)


@page_for(POST=Permission.CHANGE_RUNS)
def cancel(request: PageRequest, run_id: UUID) -> HttpResponse:
    """Cancel the run, or ask it to stop."""
    run = _changeable(request.user, run_id)
    try:
        after = services.cancel(run.id)
        messages.success(request, "Cancelled." if after.state == State.CANCELLED else "Asked to stop.")
    except services.WrongState as error:
        messages.warning(request, str(error))
    return redirect("web:run", run_id=run.id)


def _get(user: User, run_id: UUID) -> JobRun:
    run = visible(user).select_related("client").filter(id=run_id).first()
    if run is None:
        raise Http404("There is no such run.")
    return run


def _changeable(user: User, run_id: UUID) -> JobRun:
    run = _get(user, run_id)
    if not may_change(user, run):
        raise Http404("There is no such run that you may change.")
    return run


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
