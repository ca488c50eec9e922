from django.apps import AppConfig


class CoreConfig(AppConfig):
    """What every application needs."""

    name = "trading.core"
