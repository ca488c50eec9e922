from django.apps import AppConfig


class MarketDataConfig(AppConfig):
    """Candles, providers and their import."""

    name = "trading.marketdata"
    verbose_name = "Market data"

    def ready(self) -> None:
        """Let the paper venue trade at our prices."""
        from trading.brokers import quotes
        from trading.marketdata.selectors import last_trade

        quotes.provide(last_trade)
