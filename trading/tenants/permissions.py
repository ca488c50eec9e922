"""Who may do what: one table of permissions and their holders, asked on every route. What is not in it is refused.

A view says what each of its methods needs, as ``needs = {"GET": Permission.SEE_RUNS}``; a method that is not there is
answered to nobody. Whose rows the holder of a permission reaches is another question: `trading.tenants.access`.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.conf import settings
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from trading.tenants.models import Role

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which loads this module: the settings name it

READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing."""


class Holder(StrEnum):
    """Callers who are no users: known by a secret, by where they call from, or not at all."""

    ANYBODY = "anybody"
    CRON = "cron"
    ADMIN_KEY = "admin_key"
    ADMIN_TOKEN = "admin_token"  # noqa: S105  # the name of a holder
    TASK_SIGNATURE = "task_signature"
    LOOPBACK = "loopback"


class Permission(StrEnum):
    """What a route may ask for."""

    OPEN = "open"
    OWN_SESSION = "own_session"
    SEE_ACCOUNT = "see_account"
    SEE_AUDIT = "see_audit"
    SEE_RUNS = "see_runs"
    CHANGE_RUNS = "change_runs"
    RESEARCH = "research"
    PROMOTE = "promote"
    CHAT = "chat"
    DECIDE = "decide"
    CONFIGURE_AGENT = "configure_agent"
    CONNECT_BROKER = "connect_broker"
    ONBOARD = "onboard"
    SEE_SETTINGS = "see_settings"
    CHANGE_SETTINGS = "change_settings"
    REFRESH_LIQUIDITY = "refresh_liquidity"
    SEE_RISK = "see_risk"
    CHANGE_RISK = "change_risk"
    SEE_HALT = "see_halt"
    HALT = "halt"
    START_TASKS = "start_tasks"
    READ_METRICS = "read_metrics"
    OPERATE = "operate"


_READERS: Final = frozenset({Role.READ_ONLY, Role.TRADER, Role.OWNER, Role.OPERATOR})
_TRADERS: Final = frozenset({Role.TRADER, Role.OWNER, Role.OPERATOR})
_OWNERS: Final = frozenset({Role.OWNER, Role.OPERATOR})

HOLDERS: Final[Mapping[Permission, frozenset[str]]] = {
    # Health, login, the API's description: says nothing that is not everybody's.
    Permission.OPEN: frozenset({*_READERS, *Holder}),
    # Ending one's own session changes nothing else, so readers may too.
    Permission.OWN_SESSION: _READERS,
    # Positions, trades, proposals, decisions, briefs, the agent's status, liquidity, models, backtests, the stream.
    Permission.SEE_ACCOUNT: _READERS,
    Permission.SEE_AUDIT: _READERS,
    Permission.SEE_RUNS: _READERS | {Holder.CRON},
    Permission.CHANGE_RUNS: _TRADERS | {Holder.CRON},
    # Backtests, sweeps and presets: costs work, moves no money. They belong to a client, and operators to none.
    Permission.RESEARCH: frozenset({Role.TRADER, Role.OWNER}),
    # Let a strategy go from backtests to paper or live, and take it back.
    Permission.PROMOTE: frozenset({Role.OWNER}),
    Permission.CHAT: _TRADERS,
    # Approve or reject a proposal.
    Permission.DECIDE: _TRADERS,
    # The agent's mode, the client's risk and strategy parameters.
    Permission.CONFIGURE_AGENT: _OWNERS,
    # Credentials are the owner's to hand over: whoever runs the platform has no need to.
    Permission.CONNECT_BROKER: frozenset({Role.OWNER}),
    Permission.ONBOARD: frozenset({Holder.ADMIN_KEY}),
    Permission.SEE_SETTINGS: _READERS | {Holder.ADMIN_TOKEN},
    Permission.CHANGE_SETTINGS: frozenset({Holder.ADMIN_TOKEN}),
    Permission.REFRESH_LIQUIDITY: frozenset({Holder.ADMIN_TOKEN}),
    Permission.SEE_RISK: frozenset({Holder.ADMIN_TOKEN}),
    Permission.CHANGE_RISK: frozenset({Holder.ADMIN_TOKEN}),
    Permission.SEE_HALT: frozenset({Holder.ADMIN_KEY}),
    Permission.HALT: frozenset({Holder.ADMIN_KEY}),
    Permission.START_TASKS: frozenset({Holder.TASK_SIGNATURE}),
    Permission.READ_METRICS: frozenset({Holder.LOOPBACK, Holder.ADMIN_TOKEN}),
    # The admin.
    Permission.OPERATE: frozenset({Role.OPERATOR}),
}

OPEN_WHEN: Final[Mapping[Permission, str]] = {Permission.ONBOARD: "ALLOW_SELF_ONBOARDING"}
"""Permissions that everybody holds while a setting says so."""

V = TypeVar("V", bound=Callable[..., Any])


def holder_of(caller: Any) -> str:
    """What ``caller`` is in the table: a holder, a user's role, or anybody."""
    if caller is None or not getattr(caller, "is_authenticated", False):
        return Holder.ANYBODY
    return str(getattr(caller, "holder", "") or getattr(caller, "role", "") or Holder.ANYBODY)


def allows(permission: Permission, caller: Any) -> bool:
    """Whether ``caller`` holds ``permission``."""
    if (setting := OPEN_WHEN.get(permission)) is not None and getattr(settings, setting, False):
        return True
    return holder_of(caller) in HOLDERS[permission]


def needs_of(view: Any) -> Mapping[str, Permission]:
    """What the methods of a view (a function, or REST framework's class or object) need; empty when it says nothing."""
    return getattr(getattr(view, "view_class", view), "needs", {})


def needs(**methods: Permission) -> Callable[[V], V]:
    """Say what a view that is a function needs: ``@needs(GET=Permission.SEE_RUNS)``. The view sees to it itself."""

    def declare(view: V) -> V:
        view.needs = methods  # type: ignore[attr-defined]  # functions take attributes
        return view

    return declare


class Declared(BasePermission):
    """REST framework's hook: the caller holds what the view says that the method needs."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the table lets the caller in; raises `MethodNotAllowed` for what the view never answers."""
        declared = needs_of(view)
        method = "GET" if request.method == "HEAD" else request.method or ""
        needed = declared.get(method)
        if needed is not None:
            self.message = (
                f"This is for: {', '.join(sorted(HOLDERS[needed]))}; you are asking as {holder_of(request.user)}."
                " /api/docs names what each route takes."
            )
            return allows(needed, request.user)
        known = request.user is not None and request.user.is_authenticated
        if known or Permission.OPEN in declared.values():
            raise MethodNotAllowed(method)
        return False
