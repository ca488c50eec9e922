"""How the API's callers authenticate, as OpenAPI shows it."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class JwtScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # untyped upstream
    """A bearer token."""

    target_class = "trading.tenants.authentication.JwtAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """A bearer token."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class CronScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """The scheduler's secret."""

    target_class = "trading.tenants.authentication.CronAuthentication"
    name = "cron"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """A header."""
        return {"type": "apiKey", "in": "header", "name": "X-Cron-Secret"}


class DevelopmentScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """The development bypass."""

    target_class = "trading.tenants.authentication.DevelopmentAuthentication"
    name = "development"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """A header, on a developer's machine."""
        return {"type": "apiKey", "in": "header", "name": "X-Test-Mode-User"}
