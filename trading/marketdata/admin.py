"""Candles and sentiment in the admin, to look at."""

from django.contrib import admin
from unfold.paginator import InfinitePaginator

from trading.jobs.admin import Ledger
from trading.marketdata.models import Candle, Sentiment


class _Series(Ledger):
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    sortable_by = ()
    list_filter = ["symbol", "source"]


@admin.register(Candle)
class CandleAdmin(_Series):
    """Bars, newest first within a symbol."""

    list_display = ["symbol", "interval", "time", "open", "high", "low", "close", "volume", "source"]


@admin.register(Sentiment)
class SentimentAdmin(_Series):
    """Moods, with what each was drawn from."""

    list_display = ["symbol", "time", "score", "source"]
