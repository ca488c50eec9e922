from django.apps import AppConfig


class ExecutionConfig(AppConfig):
    """Orders, fills, positions and their snapshots."""

    name = "trading.execution"
    verbose_name = "Execution"
