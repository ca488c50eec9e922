"""Bars of prices and the mood drawn from them."""

from django.db import models
from django.db.models import F, Q


class Candle(models.Model):
    """What a symbol did in one interval: prices in the quote currency, volume in units."""

    id = models.BigAutoField(primary_key=True)
    symbol = models.CharField(max_length=32)
    interval = models.CharField(max_length=8, default="1d")
    time = models.DateTimeField(help_text="The interval's beginning (UTC).")
    open = models.DecimalField(max_digits=20, decimal_places=8)
    high = models.DecimalField(max_digits=20, decimal_places=8)
    low = models.DecimalField(max_digits=20, decimal_places=8)
    close = models.DecimalField(max_digits=20, decimal_places=8)
    volume = models.DecimalField(max_digits=28, decimal_places=8)
    source = models.CharField(max_length=32, help_text="The provider or file that it came from.")

    class Meta:
        db_table = "candles"
        ordering = ["symbol", "interval", "-time"]
        constraints = [
            models.UniqueConstraint(name="candles_once", fields=["symbol", "interval", "time"]),
            models.CheckConstraint(
                name="candles_prices_in_order",
                condition=Q(low__gt=0)
                & Q(low__lte=F("open"))
                & Q(low__lte=F("close"))
                & Q(high__gte=F("open"))
                & Q(high__gte=F("close")),
            ),
            models.CheckConstraint(name="candles_volume_not_negative", condition=Q(volume__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.time:%Y-%m-%d %H:%M} {self.close}"


class Sentiment(models.Model):
    """How a symbol is seen at a time, from -1 (bearish) to 1 (bullish), and by whom."""

    id = models.BigAutoField(primary_key=True)
    symbol = models.CharField(max_length=32)
    time = models.DateTimeField(help_text="The bar that it was drawn from.")
    score = models.DecimalField(max_digits=5, decimal_places=4)
    source = models.CharField(max_length=32)

    class Meta:
        db_table = "sentiments"
        ordering = ["symbol", "-time"]
        constraints = [
            models.UniqueConstraint(name="sentiments_once", fields=["symbol", "time", "source"]),
            models.CheckConstraint(name="sentiments_bounded", condition=Q(score__gte=-1, score__lte=1)),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.score}"
