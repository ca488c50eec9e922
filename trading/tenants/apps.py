from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Clients, their users, and who is asking."""

    name = "trading.tenants"
    verbose_name = "Clients and users"

    def ready(self) -> None:
        """Let OpenAPI know the ways to authenticate."""
        from trading.tenants import openapi  # noqa: F401  # its classes register themselves
