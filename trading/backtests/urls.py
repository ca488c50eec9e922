"""Routes of backtests."""

from django.urls import path

from trading.backtests.presets import PresetsView, PresetView

urlpatterns = [
    path("presets", PresetsView.as_view()),
    path("presets/<str:preset_id>", PresetView.as_view()),
]
