from django.apps import AppConfig


class BacktestsConfig(AppConfig):
    """Run configurations, runs, artifacts and presets."""

    name = "trading.backtests"
    verbose_name = "Backtests"
