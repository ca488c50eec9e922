"""Who gets in, and whose rows they reach: another client's are as if they did not exist."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.views import APIView

from trading.core.errors import NotFound
from trading.tenants.models import Client, Role
from trading.tenants.permissions import Permission, allows
from trading.tenants.throttling import check


def client_for(caller: Any, client_id: UUID) -> Client:
    """The client ``client_id`` of a path, when it is the caller's own or the caller stands outside all clients.

    Raises `trading.core.errors.NotFound`, in the same words for another's id and for one that does not exist.
    """
    if getattr(caller, "role", None) != Role.OPERATOR and getattr(caller, "client_id", None) != client_id:
        raise NotFound("There is no such client.")
    client = Client.objects.filter(id=client_id).first()
    if client is None:
        raise NotFound("There is no such client.")
    return client


def admitted(request: HttpRequest, permission: Permission) -> Request:
    """``request`` with its caller, for views that are functions; raises as REST framework's own views do.

    401 for nobody known, 403 for somebody who does not hold ``permission``, 429 for who asks too often.
    """
    asked = Request(request, authenticators=[make() for make in APIView.authentication_classes])
    try:
        caller = asked.user
    except AuthenticationFailed as error:
        error.auth_header = "Bearer"  # type: ignore[attr-defined]  # as the framework's view does
        raise
    if allows(permission, caller):
        check(request, caller)
        return asked
    if asked.successful_authenticator is not None:
        raise PermissionDenied
    refused = NotAuthenticated()
    refused.auth_header = "Bearer"  # type: ignore[attr-defined]  # as the framework's view does
    raise refused
