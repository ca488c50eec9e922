"""A client's parameters: its own, the platform's, what holds, and how they came to be."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode

from trading.risk import parameters as audited
from trading.tenants.models import Client, Parameters
from trading.tenants.parameters import FIELDS, HOURS, NAMES, RISK_NAMES, SYMBOLS, NotWithinLimits, Rule
from trading.tenants.permissions import Permission, allows
from trading.web.access import PageRequest, chosen_client, page_for
from trading.web.labels import LABELS

VERSIONS = 20


@page_for(GET=Permission.SEE_ACCOUNT, POST=Permission.CONFIGURE_AGENT)
def show(request: PageRequest) -> HttpResponse:
    """The form and the history; a change that the platform does not allow is said beside its field."""
    client = chosen_client(request)
    if client is None:
        if request.method == "POST":
            raise Http404("Choose a client.")
        return render(request, "web/clients.html", {"clients": Client.objects.order_by("name")[:200]})
    if request.method != "POST":
        return _page(request, client, {}, {})
    given = {name: str(request.POST.get(name, "")).strip() for name in NAMES}
    try:
        with transaction.atomic():
            version = audited.change(client.id, _wanted(given), by=request.user.get_username())
    except NotWithinLimits as error:
        return _page(request, client, given, dict(error.problems))
    messages.success(request, f"Version {version.version} holds from now on.")
    chosen = f"?{urlencode({'client': str(client.id)})}" if "client" in request.GET else ""
    return HttpResponseRedirect(reverse("web:parameters") + chosen)


def _wanted(given: Mapping[str, str]) -> dict[str, Any]:
    """What the form says: an empty field is the platform's value."""
    wanted: dict[str, Any] = {name: text or None for name, text in given.items() if name != SYMBOLS}
    symbols = [symbol for symbol in given[SYMBOLS].replace(",", " ").split() if symbol]
    return {**wanted, SYMBOLS: symbols or None}


def _page(request: PageRequest, client: Client, given: Mapping[str, str], errors: Mapping[str, str]) -> HttpResponse:
    told = audited.described(client.id)
    rows = [_row(name, told, given, errors) for name in NAMES]
    versions = Parameters.objects.filter(client_id=client.id).order_by("-version")[:VERSIONS]
    context = {
        "client": client,
        "risk": [row for row in rows if row["name"] in RISK_NAMES],
        "strategy": [row for row in rows if row["name"] not in RISK_NAMES],
        "versions": [(version, _shown(version)) for version in versions],
        "version": told["version"],
        "may_change": allows(Permission.CONFIGURE_AGENT, request.user),
    }
    return render(request, "web/parameters.html", context, status=422 if errors else 200)


def _row(name: str, told: Mapping[str, Any], given: Mapping[str, str], errors: Mapping[str, str]) -> dict[str, Any]:
    part = "risk" if name in RISK_NAMES else "strategy"
    own, now, platform = (told[whose][part][name] for whose in ("own", "in_force", "platform"))
    return {
        "name": name,
        "is_number": name in FIELDS,
        "label": LABELS[name],
        "help": getattr(Parameters._meta.get_field(name), "help_text", ""),
        "value": given.get(name, _text(own)),
        "in_force": _text(now) or "no limit",
        "allowed": "anything" if platform is None else f"{_bound(name)} {_text(platform)}",
        "error": errors.get(name, ""),
    }


def _bound(name: str) -> str:
    if name == SYMBOLS:
        return "one or more of"
    if name == HOURS:
        return "inside"
    return "at least" if FIELDS[name].rule is Rule.AT_LEAST else "at most"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(value) if isinstance(value, list) else str(value)


def _shown(version: Parameters) -> str:
    """A version in a line."""
    values = [(name, getattr(version, name)) for name in NAMES]
    told = [f"{LABELS[name]}: {_text(value)}" for name, value in values if value is not None]
    return "; ".join(told) or "all as the platform has it"
