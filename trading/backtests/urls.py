"""Routes of backtests."""

from django.urls import path

from trading.backtests.api import ArtifactsView, ArtifactView, RunsView, RunView
from trading.backtests.events import run_events, sweep_events
from trading.backtests.presets import PresetsView, PresetView
from trading.backtests.promotions_api import DemoteView, PromotionsView, PromotionView
from trading.backtests.sweeps.api import SweepArtifactsView, SweepArtifactView, SweepsView, SweepView

urlpatterns = [
    path("runs", RunsView.as_view()),
    path("runs/<str:run_hash>", RunView.as_view()),
    path("runs/<str:run_hash>/artifacts", ArtifactsView.as_view()),
    path("runs/<str:run_hash>/artifacts/<path:name>", ArtifactView.as_view()),
    path("runs/<str:run_hash>/events", run_events),
    path("sweeps", SweepsView.as_view()),
    path("sweeps/<str:sweep_hash>", SweepView.as_view()),
    path("sweeps/<str:sweep_hash>/artifacts", SweepArtifactsView.as_view()),
    path("sweeps/<str:sweep_hash>/artifacts/<path:name>", SweepArtifactView.as_view()),
    path("sweeps/<str:sweep_hash>/events", sweep_events),
    path("promotions", PromotionsView.as_view()),
    path("promotions/<uuid:promotion_id>", PromotionView.as_view()),
    path("promotions/<uuid:promotion_id>/demote", DemoteView.as_view()),
    path("presets", PresetsView.as_view()),
    path("presets/<str:preset_id>", PresetView.as_view()),
]
