"""The ledger in the admin: runs with what was done about them, queues, and the processes that work."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from trading.core.confirm import ConfirmedOperations, Operation, Refused
from trading.jobs import selectors, services
from trading.jobs.chain import links, shown_span
from trading.jobs.filters import CreatedFilter, JobFilter, QueueFilter
from trading.jobs.models import JobProcess, JobQueue, JobRun
from trading.jobs.processes import SILENT_AFTER
from trading.jobs.states import LIVE, RETRYABLE, State

STATE_COLOURS = {
    State.QUEUED.label: "info",
    State.RUNNING.label: "primary",
    State.RETRYING.label: "warning",
    State.SNOOZED.label: "default",
    State.SUCCEEDED.label: "success",
    State.FAILED.label: "danger",
    State.CANCELLED.label: "default",
    State.DISCARDED.label: "danger",
}
CHILDREN_SHOWN = 50


def _retry(run_id: UUID, by: str) -> str:
    try:
        services.retry(run_id, by=by)
    except (services.WrongState, LookupError) as error:
        raise Refused(str(error)) from error
    return "queued again"


def _cancel(run_id: UUID, by: str) -> str:
    try:
        run = services.cancel(run_id)
    except services.WrongState as error:
        raise Refused(str(error)) from error
    return "cancelled" if run.state == State.CANCELLED else "asked to stop"


def _pause(name: str, by: str) -> str:
    services.pause(name, by=by)
    return "paused; what runs goes on, what is enqueued waits"


def _resume(name: str, by: str) -> str:
    services.resume(name)
    return "resumed"


RETRY = Operation(
    name="retry",
    title="Retry",
    question="Queue again, from the step that did not succeed?",
    perform=_retry,
    applies=lambda run: run.state in RETRYABLE,
)
CANCEL = Operation(
    name="cancel",
    title="Cancel",
    question="Cancel? A run that is waiting ends now, one that is running is asked to stop.",
    perform=_cancel,
    applies=lambda run: run.state in LIVE and run.cancel_requested_at is None,
    is_danger=True,
)
PAUSE = Operation(
    name="pause",
    title="Pause",
    question="Pause? Nothing more starts from it until it is resumed; what runs goes on.",
    perform=_pause,
    applies=lambda queue: queue.paused_at is None,
    is_danger=True,
)
RESUME = Operation(
    name="resume",
    title="Resume",
    question="Resume? What has been waiting starts.",
    perform=_resume,
    applies=lambda queue: queue.paused_at is not None,
)


class Ledger(ConfirmedOperations, ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """Rows that only the platform writes: seen by operators, changed through operations alone."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody edits one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes one; retention does."""
        return False


@admin.register(JobRun)
class JobRunAdmin(Ledger):
    """Runs, newest first. Nothing here counts the rows or reads their arguments and results for the list."""

    operations = (RETRY, CANCEL)
    list_display = [
        "job", "shown_state", "client", "shown_progress", "shown_step", "shown_tries", "queue", "trigger",
        "created_at", "shown_duration",
    ]  # fmt: skip
    list_filter = [
        ("state", ChoicesDropdownFilter),
        JobFilter,
        QueueFilter,
        ("client", AutocompleteSelectFilter),
        ("trigger", ChoicesDropdownFilter),
        CreatedFilter,
    ]
    list_filter_submit = True
    list_filter_sheet = True
    list_select_related = ["client"]
    list_per_page = 50
    list_fullwidth = True
    sortable_by = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    search_fields = ["id"]
    search_help_text = "A run's id or a request id, in full."
    change_form_template = "admin/jobs/jobrun_form.html"
    fieldsets = [
        (None, {"fields": ["shown_chain", "shown_error"]}),
        ("Attempts", {"fields": ["shown_attempts"]}),
        ("Data", {"fields": ["shown_args", "shown_result", "shown_returned"]}),
        ("Family", {"fields": ["parent", "shown_children"]}),
        (
            "Record",
            {
                "fields": [
                    ("job", "shown_state"), ("client", "queue"), ("trigger", "triggered_by"), ("request_id", "id"),
                    ("created_at", "scheduled_at"), ("started_at", "finished_at"), ("worker", "lease_until"),
                    ("shown_progress", "cancel_requested_at"),
                ]
            },
        ),
    ]  # fmt: skip
    readonly_fields = [
        "shown_chain", "shown_error", "shown_attempts", "shown_args", "shown_result", "shown_returned",
        "shown_children", "shown_state", "shown_progress",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobRun]:
        """Without the columns that may be large; a run's own page asks for them."""
        return JobRun.objects.defer("args", "returned", "result", "error_message")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JobRun], search_term: str
    ) -> tuple[QuerySet[JobRun], bool]:
        """The run of that id, or the runs of that request."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            found = queryset.filter(id=UUID(term))
        except ValueError:
            return queryset.filter(request_id=term), False
        return (found, False) if found.exists() else (queryset.filter(request_id=term), False)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Also the list of a run's children."""
        return lookup == "parent__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_ordering(self, request: HttpRequest) -> Any:
        """Newest first, by the primary key."""
        return ["-id"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Rows in the order of the key alone, so that the index gives them."""
        return _ByKey

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A run's page with the buttons that its state allows."""
        run = self.get_object(request, object_id) if object_id else None
        buttons = self.buttons(run) if run is not None and self.has_operate_permission(request) else []
        context = {**(extra_context or {}), "operations": buttons}
        response: HttpResponse = super().changeform_view(request, object_id, form_url, context)
        return response

    @display(description="State", label=STATE_COLOURS)
    def shown_state(self, run: JobRun) -> str:
        """The state as a badge."""
        return run.get_state_display()

    @display(description="Progress")
    def shown_progress(self, run: JobRun) -> str:
        """How far the step is; a run that succeeded came all the way, which its state says."""
        if run.state == State.SUCCEEDED:
            return "-"
        share = f"{run.progress_done}/{run.progress_total}" if run.progress_total else ""
        return " ".join(part for part in (share, run.progress_note) if part) or "-"

    @display(description="Step")
    def shown_step(self, run: JobRun) -> str:
        """The step that runs next or now."""
        return f"{min(run.step_index + 1, len(run.steps))}/{len(run.steps)} {run.step}"

    @display(description="Tries")
    def shown_tries(self, run: JobRun) -> str:
        """Tries of that step, of those it may have."""
        return f"{run.attempt}/{run.max_attempts}"

    @display(description="Took")
    def shown_duration(self, run: JobRun) -> str:
        """From its first start to its end, or to now."""
        if run.started_at is None:
            return "-"
        return shown_span((run.finished_at or timezone.now()) - run.started_at)

    @display(description="Chain")
    def shown_chain(self, run: JobRun) -> SafeString:
        """The steps with their states and timings."""
        return render_to_string("admin/jobs/chain.html", {"links": links(run, list(run.attempts.all()))})

    @display(description="Attempts")
    def shown_attempts(self, run: JobRun) -> SafeString:
        """Every try with its worker, code and traceback."""
        return render_to_string("admin/jobs/attempts.html", {"attempts": run.attempts.all()})

    @display(description="Error")
    def shown_error(self, run: JobRun) -> SafeString | str:
        """What the run ended with, or what its last try did."""
        if not run.error_type and not run.error_message:
            return "-"
        return format_html("<strong>{}</strong><pre class='qt-pre'>{}</pre>", run.error_type, run.error_message)

    @display(description="Arguments")
    def shown_args(self, run: JobRun) -> SafeString:
        """What it was enqueued with."""
        return _pre(run.args)

    @display(description="Result")
    def shown_result(self, run: JobRun) -> SafeString | str:
        """What the last step returned."""
        return "-" if run.result is None else _pre(run.result)

    @display(description="Returned by each step")
    def shown_returned(self, run: JobRun) -> SafeString | str:
        """What a retry goes on from."""
        return _pre(run.returned) if run.returned else "-"

    @display(description="Children")
    def shown_children(self, run: JobRun) -> SafeString:
        """The runs that it started."""
        children = list(run.children.only("id", "job", "state").order_by("id")[: CHILDREN_SHOWN + 1])
        return render_to_string(
            "admin/jobs/children.html",
            {"run": run, "children": children[:CHILDREN_SHOWN], "has_more": len(children) > CHILDREN_SHOWN},
        )


class _ByKey(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """The key, whatever the address says."""
        return ["-pk"]


@admin.register(JobQueue)
class JobQueueAdmin(ConfirmedOperations, ModelAdmin):  # type: ignore[misc]  # untyped upstream
    """Queues as they stand; paused and resumed here, and each client's share of them."""

    operations = (PAUSE, RESUME)
    list_display = ["name", "shown_state", "waiting", "running", "oldest", "client_concurrency", "paused_by"]
    fields = ["name", "client_concurrency", "paused_at", "paused_by"]
    readonly_fields = ["name", "paused_at", "paused_by"]
    change_form_template = "admin/jobs/jobrun_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The code names the queues."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The code names the queues."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobQueue]:
        """The queues; what waits in them is asked once for all."""
        self._states = {state.name: state for state in selectors.queue_states()}
        return super().get_queryset(request)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A queue's page with its button."""
        queue = self.get_object(request, object_id) if object_id else None
        context = {**(extra_context or {}), "operations": self.buttons(queue) if queue is not None else []}
        response: HttpResponse = super().changeform_view(request, object_id, form_url, context)
        return response

    @display(description="State", label={"Paused": "danger", "Open": "success"})
    def shown_state(self, queue: JobQueue) -> str:
        """Paused or open."""
        return "Paused" if queue.paused_at else "Open"

    @display(description="Waiting")
    def waiting(self, queue: JobQueue) -> int:
        """Runs that wait."""
        return self._states[queue.name].waiting

    @display(description="Running")
    def running(self, queue: JobQueue) -> int:
        """Runs that run."""
        return self._states[queue.name].running

    @display(description="Oldest has waited")
    def oldest(self, queue: JobQueue) -> str:
        """How long the run that has been due for longest has waited."""
        return shown_span(self._states[queue.name].oldest_age)


@admin.register(JobProcess)
class JobProcessAdmin(Ledger):
    """The workers and beats that have reported themselves."""

    list_display = ["name", "shown_state", "kind", "pid", "shown_queues", "running", "concurrency", "code_version",
                    "started_at", "seen_at"]  # fmt: skip
    list_filter = ["kind"]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """None: a process is started and stopped where it runs."""
        return {}

    @display(description="State", label={"Alive": "success", "Silent": "danger"})
    def shown_state(self, process: JobProcess) -> str:
        """Whether it was heard of lately."""
        return "Alive" if process.seen_at > timezone.now() - SILENT_AFTER else "Silent"

    @display(description="Queues")
    def shown_queues(self, process: JobProcess) -> str:
        """What it takes."""
        return ", ".join(process.queues) or "-"


def _pre(value: Any) -> SafeString:
    return format_html("<pre class='qt-pre'>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))
