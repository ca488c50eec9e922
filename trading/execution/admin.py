"""Orders, fills, positions and snapshots in the admin: written by the platform alone."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from trading.core.confirm import Operation, Refused
from trading.execution import changes, outcomes
from trading.execution.models import Adjustment, Difference, Fill, Order, PortfolioSnapshot, Position, Reconciliation
from trading.execution.states import AT_VENUE, OrderState
from trading.jobs.admin import Ledger
from trading.jobs.models import JobRun
from trading.jobs.services import enqueue

RECONCILE = "order-reconcile"

ORDER_COLOURS = {
    OrderState.REFUSED.label: "warning",
    OrderState.INTENDED.label: "info",
    OrderState.SENT.label: "primary",
    OrderState.UNKNOWN.label: "danger",
    OrderState.FILLED.label: "success",
    OrderState.OPEN.label: "primary",
    OrderState.PARTIALLY_FILLED.label: "primary",
    OrderState.CANCELLED.label: "default",
    OrderState.EXPIRED.label: "default",
    OrderState.REJECTED.label: "danger",
    OrderState.WITHDRAWN.label: "default",
    OrderState.NOT_BOOKED.label: "default",
}


def _write_off(order_id: UUID, by: str) -> str:
    try:
        outcomes.write_off(order_id, by=by)
    except outcomes.NotForgotten as error:
        raise Refused(str(error)) from error
    return "written off; what was reserved for it is free"


WRITE_OFF = Operation(
    name="write-off",
    title="Write off",
    question="Has the venue itself told you that it never took this order, or no longer has it? It is closed, and its"
    " reservation freed. What was open must have been asked to be cancelled before.",
    perform=_write_off,
    applies=lambda order: order.state in AT_VENUE,
    is_danger=True,
)


def _cancel(order_id: UUID, by: str) -> str:
    try:
        order = changes.request_cancel(order_id, by=by, now=timezone.now())
    except changes.NotCancelled as error:
        raise Refused(str(error)) from error
    if not order.is_live:
        return "withdrawn before it was sent"
    enqueue(RECONCILE, client_id=order.client_id, triggered_by=by)
    return "to be cancelled at the venue; the next comparison says how it stands"


CANCEL = Operation(
    name="cancel",
    title="Cancel",
    question="Cancel what is left of it? What was filled stays.",
    perform=_cancel,
    applies=lambda order: order.is_live and order.cancel_requested_at is None,
    is_danger=True,
)


class _Book(Ledger):
    """What all of these lists share: newest first, by the key, without counting."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_select_related = ["client"]
    list_per_page = 50
    list_fullwidth = True
    list_filter_submit = True
    sortable_by = ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Operations only; none of these is deleted."""
        return super().get_actions(request) if self.operations else {}


@admin.register(Order)
class OrderAdmin(_Book):
    """Every order that was ever intended, with what became of it."""

    operations = (CANCEL, WRITE_OFF)
    change_form_template = "admin/jobs/jobrun_form.html"
    list_display = [
        "__str__", "shown_state", "client", "filled_quantity", "average_price", "fees", "reason", "created_at",
    ]  # fmt: skip
    list_filter = [("state", ChoicesDropdownFilter), ("client", AutocompleteSelectFilter), "side", "symbol"]
    search_fields = ["client_order_id", "broker_order_id"]
    search_help_text = "Our order id or the venue's."
    fieldsets = [
        (None, {"fields": ["shown_state", "reason", "client", "shown_run"]}),
        ("Intent", {"fields": [("side", "symbol"), ("quantity", "reference_price", "previous_price"),
                               ("order_type", "limit_price"), ("time_in_force", "expires_at"),
                               ("sequence", "client_order_id"), "created_at"]}),
        ("Outcome", {"fields": [("filled_quantity", "average_price", "fees"), ("broker", "broker_order_id"),
                                ("sent_at", "finished_at", "cancel_requested_at")]}),
    ]  # fmt: skip
    readonly_fields = ["shown_state", "shown_run"]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """An order's page with the button that its state allows."""
        order = self.get_object(request, object_id) if object_id else None
        buttons = self.buttons(order) if order is not None and self.has_operate_permission(request) else []
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "operations": buttons})

    @display(description="State", label=ORDER_COLOURS)
    def shown_state(self, order: Order) -> str:
        """The state as a badge."""
        return order.get_state_display()

    @display(description="Run")
    def shown_run(self, order: Order) -> SafeString | str:
        """The run that intended it, or the order in whose place it stands; adopted ones have neither."""
        for model, route in ((JobRun, "admin:jobs_jobrun_change"), (Order, "admin:execution_order_change")):
            if model.objects.filter(id=order.run_id).exists():
                return format_html('<a href="{}">{}</a>', reverse(route, args=[order.run_id]), order.run_id)
        return "none, or no longer kept"


@admin.register(Fill)
class FillAdmin(_Book):
    """Executions, as the venues reported them."""

    list_display = ["__str__", "client", "fee", "realised_pnl", "broker", "execution_id", "time"]
    list_filter = [("client", AutocompleteSelectFilter), "symbol", "broker"]
    search_fields = ["execution_id"]
    search_help_text = "The venue's execution id."


@admin.register(Position)
class PositionAdmin(_Book):
    """What each client holds: the sum of its fills."""

    list_display = ["__str__", "client", "average_cost", "realised_pnl", "updated_at"]
    list_filter = [("client", AutocompleteSelectFilter), "symbol"]


@admin.register(PortfolioSnapshot)
class PortfolioSnapshotAdmin(_Book):
    """Cash, equity and exposure at the end of each cycle."""

    list_display = ["time", "client", "equity", "cash", "gross_exposure"]
    list_filter = [("client", AutocompleteSelectFilter)]


@admin.register(Difference)
class DifferenceAdmin(_Book):
    """What venues say otherwise than we do. Each is explained, with a reason, on the client's page of orders."""

    list_display = [
        "__str__",
        "shown_state",
        "client",
        "broker",
        "ours",
        "theirs",
        "found_at",
        "seen_at",
        "resolved_by",
    ]
    list_filter = [("kind", ChoicesDropdownFilter), ("client", AutocompleteSelectFilter), "broker", "symbol"]
    search_fields = ["subject"]
    search_help_text = "An order's or an execution's id, a symbol, an asset."
    fieldsets = [
        (None, {"fields": ["shown_state", "kind", ("client", "broker"), ("symbol", "subject"), ("ours", "theirs")]}),
        ("Life", {"fields": [("found_at", "seen_at"), ("resolved_at", "resolved_by"), "resolution", "shown_page"]}),
    ]  # fmt: skip
    readonly_fields = ["shown_state", "shown_page"]

    @display(description="State", label={"Standing": "danger", "Resolved": "success"})
    def shown_state(self, row: Difference) -> str:
        """Whether it still stops its symbol."""
        return "Standing" if row.resolved_at is None else "Resolved"

    @display(description="Explain it")
    def shown_page(self, row: Difference) -> SafeString:
        """Where it is explained or adopted."""
        return format_html('<a href="{}?client={}">Orders of the client</a>', reverse("web:orders"), row.client_id)


@admin.register(Adjustment)
class AdjustmentAdmin(_Book):
    """What accounts have beside our fills, and who said why."""

    list_display = ["__str__", "client", "broker", "reason", "by", "time"]
    list_filter = [("client", AutocompleteSelectFilter), "broker"]


@admin.register(Reconciliation)
class ReconciliationAdmin(_Book):
    """When each account was last compared with our books."""

    list_display = ["client", "broker", "checked_at", "tried_at", "error"]
    list_filter = [("client", AutocompleteSelectFilter), "broker"]
