from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Health, metrics and checks of a deployment."""

    name = "trading.operations"
    verbose_name = "Operations"
