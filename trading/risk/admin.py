"""The guard in the admin: its switches, every decision, and what is reserved."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from trading.core.confirm import Operation, Refused
from trading.jobs.admin import Ledger
from trading.risk import services
from trading.risk.models import Guard, Reservation, RiskDecision

PATIENCE = timedelta(seconds=10)


def _switch(**switches: bool) -> Any:
    def perform(key: int, by: str) -> str:
        try:
            guard = services.set_switches(**switches, reason="set in the admin", by=by, patience=PATIENCE)
        except services.StillSending as error:
            raise Refused(str(error)) from error
        return str(guard)

    return perform


HALT = Operation(
    name="halt",
    title="Halt everything",
    question="Halt? No order and no approval passes until it is lifted, for any client.",
    perform=_switch(halted=True),
    applies=lambda guard: not guard.halted,
    is_danger=True,
)
LIFT = Operation(
    name="lift",
    title="Lift the halt",
    question="Lift the halt? Orders pass again, if the kill switch is off.",
    perform=_switch(halted=False),
    applies=lambda guard: guard.halted,
)
KILL = Operation(
    name="kill",
    title="Turn the kill switch on",
    question="Turn the kill switch on? Every order is refused until it is off.",
    perform=_switch(kill_switch=True),
    applies=lambda guard: not guard.kill_switch,
    is_danger=True,
)
REVIVE = Operation(
    name="revive",
    title="Turn the kill switch off",
    question="Turn the kill switch off? Orders pass again, if nothing is halted.",
    perform=_switch(kill_switch=False),
    applies=lambda guard: guard.kill_switch,
)


@admin.register(Guard)
class GuardAdmin(Ledger):
    """The platform's switches."""

    operations = (HALT, LIFT, KILL, REVIVE)
    change_form_template = "admin/jobs/jobrun_form.html"
    list_display = ["shown_state", "halted", "kill_switch", "reason", "changed_by", "changed_at"]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The guard's page with the buttons that apply now."""
        guard = self.get_object(request, object_id) if object_id else None
        buttons = self.buttons(guard) if guard is not None and self.has_operate_permission(request) else []
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "operations": buttons})

    @display(description="State", label={"open": "success", "halted": "danger", "kill switch on": "danger"})
    def shown_state(self, guard: Guard) -> str:
        """What the switches come to."""
        return str(guard)


@admin.register(RiskDecision)
class RiskDecisionAdmin(Ledger):
    """Each review, newest first, with the limit that said no."""

    list_display = [
        "created_at", "shown_answer", "client", "side", "quantity", "symbol", "price", "limit", "limit_value",
        "order_value", "message",
    ]  # fmt: skip
    list_filter = ["approved", ("client", AutocompleteSelectFilter), "limit", "symbol"]
    list_filter_submit = True
    list_select_related = ["client"]
    list_fullwidth = True
    paginator = InfinitePaginator
    show_full_result_count = False
    sortable_by = ()
    search_fields = ["client_order_id"]
    search_help_text = "Our order id."

    @display(description="Answer", label={"Approved": "success", "Refused": "warning"})
    def shown_answer(self, decision: RiskDecision) -> str:
        """Yes or no."""
        return "Approved" if decision.approved else "Refused"


@admin.register(Reservation)
class ReservationAdmin(Ledger):
    """Exposure kept free for orders whose outcome is not known."""

    list_display = ["__str__", "client", "price", "client_order_id", "created_at"]
    list_filter = [("client", AutocompleteSelectFilter), "symbol"]
    list_filter_submit = True
    list_select_related = ["client"]
