from django.apps import AppConfig


class BrokersConfig(AppConfig):
    """The venues that orders are sent to, behind one interface."""

    name = "trading.brokers"
    verbose_name = "Brokers"
