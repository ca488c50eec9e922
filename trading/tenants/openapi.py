"""How the API's callers authenticate and what refuses them, as OpenAPI shows it."""

from typing import Any, Final

from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from trading.tenants.models import Role
from trading.tenants.permissions import HOLDERS, OPEN_WHEN, Holder, Permission, needs_of


def _header(name: str, description: str) -> dict[str, str]:
    return {"type": "apiKey", "in": "header", "name": name, "description": description}


SCHEMES: Final[dict[str, dict[str, str]]] = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": settings.SESSION_COOKIE_NAME,
        "description": "With X-CSRFToken to write.",
    },
    "development": _header("X-Test-Mode-User", "From this machine, outside production, when switched on."),
    "cron": _header("X-Cron-Secret", "CRON_SECRET"),
    "admin_key": _header("X-Admin-Key", "ADMIN_API_KEY"),
    "admin_token": _header("X-Admin-Token", "QT_ADMIN_TOKEN"),
    "task_signature": _header("X-Task-Signature", "With X-Task-Timestamp, under TASK_SIGNING_SECRET."),
}
USERS: Final = ("token", "session", "development")


def schemes_of(permission: Permission) -> list[str]:
    """The names of what authenticates a holder of ``permission``; an empty name for nobody in particular."""
    holders = HOLDERS[permission]
    if Holder.ANYBODY in holders:
        return [""]
    found = [*(USERS if holders & set(Role.values) else ()), *(name for name in SCHEMES if name in holders)]
    return [*found, ""] if permission in OPEN_WHEN else found


class Schema(AutoSchema):
    """Reads what an operation needs from its view's ``needs``."""

    def get_auth(self) -> list[dict[str, list[str]]]:
        """One requirement for each way in."""
        needed = needs_of(self.view).get(self.method)
        if needed is None:
            return []
        for name in filter(None, schemes_of(needed)):
            kind = ResolvedComponent.SECURITY_SCHEMA
            component = ResolvedComponent(name, kind, SCHEMES[name], name)  # type: ignore[no-untyped-call]  # upstream
            self.registry.register_on_missing(component)
        return [{name: []} if name else {} for name in schemes_of(needed)]


_ERROR: Final = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
_OF_ALL: Final = {"429": "Too many requests; Retry-After says when.", "503": "Something that is needed is down."}
_OF_THE_KNOWN: Final = {"401": "Nobody known is asking.", "403": "Whoever is asking may not."}
_OF_BODIES: Final = {
    "413": "The body is too large.",
    "415": "The body is no JSON, or is compressed.",
    "422": "The request is not valid.",
}


def add_common_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add what can refuse any operation, where the view does not say it itself."""
    for path in result["paths"].values():
        for operation in path.values():
            errors = dict(_OF_ALL)
            if {} not in operation.get("security", [{}]):
                errors |= _OF_THE_KNOWN
            if "requestBody" in operation:
                errors |= _OF_BODIES
            for status, description in errors.items():
                operation["responses"].setdefault(status, {"description": description, **_ERROR})
    return result
