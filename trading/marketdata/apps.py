from django.apps import AppConfig


class MarketDataConfig(AppConfig):
    """Candles, providers and their import."""

    name = "trading.marketdata"
    verbose_name = "Market data"
