from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Health, metrics and checks of a deployment."""

    name = "trading.operations"
    verbose_name = "Operations"

    def ready(self) -> None:
        """Have metrics read the ledger."""
        from trading.operations import metrics

        metrics.register()
