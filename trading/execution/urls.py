"""Routes of what clients hold and have traded."""

from django.urls import path

from trading.execution.api import PositionsView, TradesView

urlpatterns = [
    path("clients/<uuid:client_id>/positions", PositionsView.as_view()),
    path("clients/<uuid:client_id>/trades", TradesView.as_view()),
]
