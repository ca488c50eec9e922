from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Health, metrics and checks of a deployment."""

    name = "trading.operations"
    verbose_name = "Operations"

    def ready(self) -> None:
        """Check versions and settings at every start."""
        from trading.operations import checks  # noqa: F401  # registers them
