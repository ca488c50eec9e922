"""A client's orders: the list, one with its fills, to cancel or to replace, and what venues say otherwise."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from trading.brokers.base import BrokerError
from trading.execution import changes, differences, explanations, replacing
from trading.execution.api import plain
from trading.execution.models import Difference, DifferenceKind, Order, Reconciliation
from trading.execution.serializers import ReplaceOrderSerializer
from trading.execution.states import OrderState
from trading.jobs.access import is_operator
from trading.jobs.models import JobRun
from trading.jobs.services import enqueue
from trading.tenants.models import Client
from trading.tenants.permissions import Permission, allows
from trading.web.access import PageRequest, chosen_client, page, page_for
from trading.web.runs import uuid_or_none

PER_PAGE = 30
RECONCILE = "order-reconcile"
ADOPTABLE = (DifferenceKind.UNKNOWN_ORDER, DifferenceKind.UNKNOWN_FILL)


@page
def index(request: PageRequest) -> HttpResponse:
    """Differences first, then orders, newest first, a page at a time by the key of the last row."""
    client = chosen_client(request)
    if client is None:
        return render(request, "web/clients.html", {"clients": Client.objects.order_by("name")[:200]})
    state = request.GET.get("state", "")
    state = state if state in OrderState.values else ""
    rows = Order.objects.filter(client_id=client.id)
    if state:
        rows = rows.filter(state=state)
    before = uuid_or_none(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: PER_PAGE + 1])
    chosen = {**_client(request), **({"state": state} if state else {})}
    context = {
        "client": client,
        "client_query": urlencode(_client(request)),
        "orders": found[:PER_PAGE],
        "states": OrderState.choices,
        "state": state,
        "first_page": before is None,
        "newest": urlencode(chosen),
        "older": urlencode({**chosen, "before": str(found[PER_PAGE - 1].id)}) if len(found) > PER_PAGE else "",
        "differences": differences.standing(client.id),
        "adoptable": ADOPTABLE,
        "resolved": Difference.objects.filter(client_id=client.id, resolved_at__isnull=False).order_by("-id")[:10],
        "accounts": Reconciliation.objects.filter(client_id=client.id).order_by("broker"),
        "may_decide": allows(Permission.DECIDE, request.user),
    }
    return render(request, "web/orders.html", context)


@page
def show(request: PageRequest, order_id: UUID) -> HttpResponse:
    """One order: what was intended, what became of it, and each of its fills."""
    order = _get(request, order_id)
    context = {
        "order": order,
        "run": JobRun.objects.filter(id=order.run_id).only("id", "job").first(),
        "replaced": Order.objects.filter(id=order.run_id).first(),
        "fills": order.fills.order_by("id")[:200],
        "may_cancel": allows(Permission.DECIDE, request.user) and order.is_live and order.cancel_requested_at is None,
        "may_replace": _may_replace(request, order),
        "left": plain(order.left),
        "limit_price": plain(order.limit_price),
        "back": urlencode({"client": str(order.client_id)}) if is_operator(request.user) else "",
    }
    return render(request, "web/order.html", context)


@page_for(POST=Permission.DECIDE)
def cancel(request: PageRequest, order_id: UUID) -> HttpResponse:
    """Want the order gone: what was not sent ends at once, what the venue may have is cancelled there by a job."""
    order = _get(request, order_id)
    try:
        with transaction.atomic():
            order = changes.request_cancel(order.id, by=request.user.get_username(), now=timezone.now())
            if order.is_live:
                enqueue(RECONCILE, client_id=order.client_id, triggered_by=request.user.get_username())
    except changes.NotCancelled as error:
        messages.warning(request, f"Nothing to cancel: {error}.")
    else:
        said = "It is being cancelled at the venue." if order.is_live else "Withdrawn before it was sent."
        messages.success(request, said)
    return redirect("web:order", order_id=order.id)


@page_for(POST=Permission.DECIDE)
def replace(request: PageRequest, order_id: UUID) -> HttpResponse:
    """Have another limit order stand in the place of what is left of it."""
    order = _get(request, order_id)
    wanted = ReplaceOrderSerializer(data={name: request.POST.get(name, "") for name in ("quantity", "limit_price")})
    if not wanted.is_valid():
        messages.warning(request, "Nothing is replaced: give a quantity and a price as positive numbers, such as 1.5.")
    elif not _may_replace(request, order):
        messages.warning(request, "Nothing is replaced: the order is not open, or its venue cannot. Cancel it instead.")
    else:
        try:
            with transaction.atomic():
                replacing.request(order, **wanted.validated_data, by=request.user.get_username())
        except replacing.NotReplaceable as error:
            messages.warning(request, str(error))
        else:
            messages.success(request, "It is being replaced. The new order is in the list, also where it is refused.")
    return redirect("web:order", order_id=order.id)


def _may_replace(request: PageRequest, order: Order) -> bool:
    if not allows(Permission.DECIDE, request.user) or not replacing.is_replaceable(order):
        return False
    try:
        return replacing.venue_replaces(order.client_id, order.broker)
    except BrokerError:  # no session with it: no button
        return False


@page_for(POST=Permission.DECIDE)
def explain(request: PageRequest, difference_id: UUID) -> HttpResponse:
    """Resolve a difference with the reason that is given."""
    return _resolve(request, difference_id, explanations.explain, "Explained.")


@page_for(POST=Permission.DECIDE)
def adopt(request: PageRequest, difference_id: UUID) -> HttpResponse:
    """Take an order or a fill of the venue into our books."""
    return _resolve(request, difference_id, explanations.adopt, "Taken into the books.")


@page_for(POST=Permission.DECIDE)
def compare(request: PageRequest) -> HttpResponse:
    """Compare the client's accounts now."""
    client = chosen_client(request)
    if client is None:
        raise Http404("Choose a client.")
    enqueue(RECONCILE, client_id=client.id, triggered_by=request.user.get_username())
    messages.success(request, "The accounts are being compared.")
    return _back(request)


def _resolve(request: PageRequest, difference_id: UUID, act: Any, said: str) -> HttpResponse:
    reason = request.POST.get("reason", "")
    row = Difference.objects.filter(id=difference_id).first()
    if row is None or not _is_theirs(request, row.client_id):
        raise Http404("There is no such difference.")
    try:
        with transaction.atomic():
            act(difference_id, by=request.user.get_username(), reason=reason, now=timezone.now())
    except explanations.NotResolved as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, said)
    return _back(request)


def _client(request: PageRequest) -> dict[str, str]:
    """An operator's choice of a client, to be kept from page to page."""
    wanted = request.GET.get("client", "")
    return {"client": wanted} if is_operator(request.user) and wanted else {}


def _back(request: PageRequest) -> HttpResponse:
    query = urlencode(_client(request))
    return redirect(reverse("web:orders") + (f"?{query}" if query else ""))


def _get(request: PageRequest, order_id: UUID) -> Order:
    order = Order.objects.filter(id=order_id).first()
    if order is None or not _is_theirs(request, order.client_id):
        raise Http404("There is no such order.")
    return order


def _is_theirs(request: PageRequest, client_id: UUID) -> bool:
    return is_operator(request.user) or request.user.client_id == client_id
