from django.apps import AppConfig


class WebConfig(AppConfig):
    """The pages."""

    name = "trading.web"
    verbose_name = "Pages"
