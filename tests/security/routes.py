"""Every route of the platform, found in the URL resolver."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from trading.tenants.permissions import Permission, needs_of

ADMIN = "admin/"
WITHOUT_NEEDS = {
    "": "a redirect to the pages",
    "login": "the login page",
    "logout": "ends a session of the pages",
}
"""Routes for people that say nothing in the table of permissions, and why."""
NOT_IN_THE_API = {"", "login", "logout", "api/schema", "api/docs"}


@dataclass(frozen=True)
class Route:
    """A route as the resolver has it, such as ``jobs/runs/<uuid:run_id>``, and its view."""

    path: str
    view: Any

    @property
    def is_admin(self) -> bool:
        """Whether it is one of Django's admin, whose site checks every request itself."""
        return self.path.startswith(ADMIN) and not needs_of(self.view)

    @property
    def is_page(self) -> bool:
        """Whether people look at it."""
        return self.path in NOT_IN_THE_API or self.path.startswith("app/") or self.is_admin

    @property
    def needs(self) -> Mapping[str, Permission]:
        """What it says that its methods need."""
        return needs_of(self.view)


def routes() -> list[Route]:
    """All of them."""
    return list(_walk(get_resolver().url_patterns, ""))


def _walk(patterns: list[Any], prefix: str) -> Iterator[Route]:
    for entry in patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield Route(path, entry.callback)
