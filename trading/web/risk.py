"""The guard for those who watch it: what refuses orders, how much of each limit is used, what a halt cancelled."""

from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from trading.execution.limits_in_use import limits_in_use
from trading.execution.selectors import gross_exposure
from trading.jobs.access import is_operator
from trading.risk import halts, switches
from trading.risk.models import Guard, RiskAccount
from trading.tenants.models import Client
from trading.tenants.permissions import Permission
from trading.web.access import PageRequest, chosen_client, page, page_for

CLIENTS: Final = 50
ACTIONS: Final[dict[str, dict[str, Any]]] = {
    "halt": {"halted": True},
    "lift": {"halted": False},
    "kill": {"kill_switch": True},
    "revive": {"kill_switch": False},
    "return": {"kill_switch": None},
}


@page
def show(request: PageRequest) -> HttpResponse:
    """A client's limits; for an operator who has not chosen one, every client's, with the switches."""
    client = chosen_client(request)
    guard = Guard.objects.filter(id=1).first()
    context: dict[str, Any] = {
        "guard": guard,
        "autonomous": settings.AUTONOMOUS_ENABLED,
        "is_operator": is_operator(request.user),
        "client": client,
        "gross_exposure": gross_exposure(None if client is None else client.id),
    }
    if client is not None:
        account = RiskAccount.objects.filter(client=client).first()
        context |= {"limits": limits_in_use(client.id), "tripped_at": account.tripped_at if account else None}
        return render(request, "web/risk.html", context)
    rows = Client.objects.filter(is_active=True, name__gt=_text(request.GET.get("after", ""))).order_by("name")
    clients = list(rows[: CLIENTS + 1])
    context |= {
        "newest": halts.newest(),
        "halt": halts.described() if guard is not None else None,
        "clients": [(one, limits_in_use(one.id)) for one in clients[:CLIENTS]],
        "after": clients[CLIENTS - 1].name if len(clients) > CLIENTS else "",
    }
    return render(request, "web/risk.html", context)


@page_for(POST=Permission.OPERATE)
def switch(request: PageRequest) -> HttpResponse:
    """Turn a switch; a halt only with its word typed out."""
    action = request.POST.get("action", "")
    if action not in (*ACTIONS, "reset"):
        raise Http404("There is no such switch.")
    if action == "halt" and request.POST.get("word", "").strip().upper() != "HALT":
        messages.error(request, "Nothing is halted: type HALT to confirm it.")
        return redirect("web:risk")
    by, reason = request.user.get_username(), _text(request.POST.get("reason", ""))[:200]
    try:
        if action == "reset":
            guard = switches.reset(by=by)
        else:
            guard = switches.set_switches(**ACTIONS[action], by=by, reason=reason)
        messages.success(request, f"The guard is {guard} now.")
    except switches.StillSending as error:
        messages.warning(request, str(error))
    return redirect("web:risk")


def _text(given: str) -> str:
    """What the database can keep of it: a switch is turned whatever was pasted beside it."""
    return given.replace("\x00", "").strip()
