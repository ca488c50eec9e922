from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Clients and their users."""

    name = "trading.tenants"
