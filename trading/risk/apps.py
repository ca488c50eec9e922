from django.apps import AppConfig


class RiskConfig(AppConfig):
    """The review that every order passes."""

    name = "trading.risk"
    verbose_name = "Risk"
