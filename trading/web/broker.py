"""The connection of a client to its brokers: what is connected, how the last try went, and a form for each venue."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from trading.brokers import accounts, registry, services
from trading.brokers.base import BrokerError, Enrols
from trading.brokers.hosts import refused_field
from trading.brokers.models import BrokerAccount
from trading.tenants.models import Client
from trading.tenants.permissions import Permission, allows
from trading.web import credentials
from trading.web.access import PageRequest, chosen_client, page, page_for


@dataclass(frozen=True)
class Venue:
    """A venue as the list shows it."""

    name: str
    account: BrokerAccount | None
    is_ours: bool
    """Whether it is in this database, and asks for nothing."""


@page
def index(request: PageRequest) -> HttpResponse:
    """All venues, and how the client stands with each."""
    client = chosen_client(request)
    if client is None:
        return render(request, "web/clients.html", {"clients": Client.objects.order_by("name")[:200]})
    kept = {account.broker: account for account in BrokerAccount.objects.filter(client_id=client.id)}
    venues = [
        Venue(name, kept.get(name), isinstance(registry.adapter(name), Enrols))
        for name in sorted(registry.names(), key=lambda name: (name not in kept, name))
    ]
    return render(
        request,
        "web/brokers.html",
        {"client": client, "venues": venues, "may_connect": allows(Permission.CONNECT_BROKER, request.user)},
    )


@page_for(GET=Permission.CONNECT_BROKER, POST=Permission.CONNECT_BROKER)
def connect(request: PageRequest, broker: str) -> HttpResponse:
    """The form of one venue. What is sent is tried, kept encrypted when a session opens, and shown to nobody."""
    client, model = _own(request), _adapter(broker).credentials
    if request.method != "POST":
        return _form(request, broker, {}, {})
    given = {name: str(value) for name, value in request.POST.items()}
    try:
        payload = credentials.payload(model, given)
        accounts.try_session(client.id, broker, payload)
    except credentials.NotReadable as error:
        return _form(request, broker, given, {error.name: str(error)})
    except accounts.InvalidCredentials as error:
        return _form(request, broker, given, {str(place[0]) if place else "": said for place, said in error.problems})
    except BrokerError as error:
        if (field := refused_field(error)) is not None:
            return _form(request, broker, given, {field: str(error)})
        return _form(request, broker, given, {}, failure=error)
    with transaction.atomic():
        services.connect(client.id, broker, payload, now=timezone.now())
    messages.success(request, f"{broker} is connected: a session was opened with what you entered.")
    return HttpResponseRedirect(reverse("web:brokers"))


@page_for(POST=Permission.CONNECT_BROKER)
def test(request: PageRequest, broker: str) -> HttpResponse:
    """Open a session with what is stored, and write down how it went."""
    account = BrokerAccount.objects.filter(client_id=_own(request).id, broker=broker).first()
    if account is None:
        raise Http404("That broker is not connected.")
    account = accounts.retest(account, now=timezone.now())
    if account.last_error:
        messages.warning(request, f"{broker}: {account.last_error}")
    else:
        messages.success(request, f"{broker}: a session was opened.")
    return HttpResponseRedirect(reverse("web:brokers"))


@page_for(POST=Permission.CONNECT_BROKER)
def disconnect(request: PageRequest, broker: str) -> HttpResponse:
    """Delete what is stored."""
    with transaction.atomic():
        gone = services.disconnect(_own(request).id, broker)
    if not gone:
        raise Http404("That broker is not connected.")
    messages.success(request, f"{broker} is disconnected. Withdraw its API key at the venue too.")
    return HttpResponseRedirect(reverse("web:brokers"))


def _own(request: PageRequest) -> Client:
    """The client of somebody who holds CONNECT_BROKER, who always has one."""
    if request.user.client is None:
        raise Http404
    return request.user.client


def _adapter(broker: str) -> Any:
    try:
        return registry.adapter(broker)
    except registry.UnknownBroker as error:
        raise Http404(str(error)) from None


def _form(
    request: PageRequest, broker: str, given: dict[str, str], errors: dict[str, str], failure: BrokerError | None = None
) -> HttpResponse:
    fields = credentials.inputs(_adapter(broker).credentials, given=given, errors=errors)
    known = {field.name for field in fields}
    context = {
        "broker": broker,
        "needed": [field for field in fields if field.is_required],
        "optional": [field for field in fields if not field.is_required],
        "open_optional": any(field.error for field in fields if not field.is_required),
        "others": [said for name, said in errors.items() if name not in known],
        "failure": failure,
        "account": BrokerAccount.objects.filter(client_id=_own(request).id, broker=broker).first(),
    }
    return render(request, "web/broker.html", context, status=422 if errors else 502 if failure else 200)
