from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Clients, their users, and who is asking."""

    name = "trading.tenants"
    verbose_name = "Clients and users"
