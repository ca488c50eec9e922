"""The guard in the admin: its switches, every decision, and what is reserved."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import EmptyFieldListFilter
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from trading.core.confirm import Operation, Refused
from trading.jobs.admin import Ledger
from trading.risk import halts, switches
from trading.risk.models import Guard, Halt, HaltedOrder, Reservation, RiskAccount, RiskDecision

PATIENCE = timedelta(seconds=10)


def _switch(**turned: Any) -> Any:
    def perform(key: int, by: str) -> str:
        return _told(partial(switches.set_switches, reason="set in the admin", by=by, **turned))

    return perform


def _reset(key: int, by: str) -> str:
    return _told(partial(switches.reset, by=by))


def _told(act: Callable[..., Guard]) -> str:
    try:
        return str(act(patience=PATIENCE))
    except switches.StillSending as error:
        raise Refused(str(error)) from error


def _close_breaker(key: Any, by: str) -> str:
    switches.close_breaker(UUID(str(key)), by=by)
    return "the circuit breaker is closed"


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
    applies=lambda guard: not guard.kills,
    is_danger=True,
)
REVIVE = Operation(
    name="revive",
    title="Turn the kill switch off",
    question="Turn the kill switch off? Orders pass again, if nothing is halted.",
    perform=_switch(kill_switch=False),
    applies=lambda guard: guard.kills,
)
RETURN = Operation(
    name="return",
    title="Leave the kill switch to the environment",
    question="Forget what operators have made of the kill switch? It is as QT_KILL_SWITCH says then.",
    perform=_switch(kill_switch=None),
    applies=lambda guard: guard.kill_switch is not None,
)
RESET = Operation(
    name="reset",
    title="Reset",
    question="Count losses from now on, close every circuit breaker, and leave the kill switch to the environment?",
    perform=_reset,
    applies=lambda guard: True,
)
CLOSE = Operation(
    name="close",
    title="Close the circuit breaker",
    question="Close it? The client may open positions again, and its losses count from now on.",
    perform=_close_breaker,
    applies=lambda account: account.tripped_at is not None,
)


class Operated(Ledger):
    """A ledger whose rows have the buttons of what may be done to them."""

    change_form_template = "admin/jobs/jobrun_form.html"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The row's page with the buttons that apply now."""
        row = self.get_object(request, object_id) if object_id else None
        buttons = self.buttons(row) if row is not None and self.has_operate_permission(request) else []
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "operations": buttons})


@admin.register(Guard)
class GuardAdmin(Operated):
    """The platform's switches."""

    operations = (HALT, LIFT, KILL, REVIVE, RETURN, RESET)
    list_display = ["shown_state", "halted", "kill_switch", "trades_since", "reason", "changed_by",
                    "changed_at"]  # fmt: skip

    @display(description="State", label={"open": "success", "halted": "danger", "kill switch on": "danger"})
    def shown_state(self, guard: Guard) -> str:
        """What the switches come to."""
        return str(guard)


@admin.register(Halt)
class HaltAdmin(Ledger):
    """Each emergency halt, with the number of open orders that it found and what became of them."""

    list_display = [
        "__str__", "by", "reason", "settled_at", "lifted_at", "shown_confirmed", "shown_over", "shown_not_confirmed"
    ]  # fmt: skip
    fields = (
        "began_at", "by", "reason", "settled_at", "lifted_at", "lifted_by", "run_id", "shown_confirmed", "shown_over",
        "shown_not_confirmed",
    )  # fmt: skip
    readonly_fields = ("shown_confirmed", "shown_over", "shown_not_confirmed")

    @display(description="Cancels confirmed")
    def shown_confirmed(self, halt: Halt) -> int:
        """Orders that are cancelled, as their venues say."""
        return halts.counts(halt)["confirmed"]

    @display(description="Over before")
    def shown_over(self, halt: Halt) -> int:
        """Orders that had ended before they could be cancelled."""
        return halts.counts(halt)["over"]

    @display(description="Not confirmed")
    def shown_not_confirmed(self, halt: Halt) -> int:
        """Orders that may still be open."""
        found = halts.counts(halt)
        return found["not_confirmed"] + found["left_alone"]


@admin.register(HaltedOrder)
class HaltedOrderAdmin(Ledger):
    """The orders that were open at halts."""

    list_display = ["order", "halt", "client", "broker", "symbol", "shown_outcome", "why", "at"]
    list_filter = ["outcome", ("client", AutocompleteSelectFilter), "broker"]
    list_filter_submit = True
    list_select_related = ["halt", "client"]
    search_fields = ["order"]

    @display(description="Outcome", label={"confirmed": "success", "over": "info", "not_confirmed": "danger"})
    def shown_outcome(self, order: HaltedOrder) -> tuple[str, str]:
        """What became of it."""
        return order.outcome, order.get_outcome_display()


@admin.register(RiskAccount)
class RiskAccountAdmin(Operated):
    """Each client's circuit breaker."""

    operations = (CLOSE,)
    list_display = ["client", "tripped_at", "trades_since"]
    list_filter = [("tripped_at", EmptyFieldListFilter)]
    list_select_related = ["client"]
    search_fields = ["client__name"]


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
