"""Whose rows a caller of the API or of a page reaches."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from trading.core.scope import nobodys_scope, platform_scope, tenant_scope
from trading.tenants.models import Role


class Caller(Protocol):
    """A user, or whoever knows one of the platform's secrets."""

    @property
    def is_authenticated(self) -> bool:
        """Whether it is known who asks."""

    @property
    def role(self) -> str:
        """One of `trading.tenants.models.Role`."""

    @property
    def client_id(self) -> UUID | None:
        """The client that the caller belongs to."""


def scope_of(caller: Any) -> AbstractContextManager[None]:
    """A user's client's rows; all for an operator or a keeper of the platform's secrets; nobody's for anybody else."""
    if not getattr(caller, "is_authenticated", False):
        return nobodys_scope()
    if caller.role == Role.OPERATOR:
        return platform_scope()
    return nobodys_scope() if caller.client_id is None else tenant_scope(caller.client_id)


class ScopedView(APIView):
    """A view of the API whose methods run in the scope of whoever asks."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As the framework does; what was entered is left at the end."""
        with ExitStack() as self._scopes:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Once it is known who asks, and that they may."""
        super().initial(request, *args, **kwargs)
        self._scopes.enter_context(scope_of(request.user))
