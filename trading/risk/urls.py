"""Routes of clients' own limits."""

from django.urls import path

from trading.risk.api import ParametersView

urlpatterns = [path("clients/<uuid:client_id>/agent/parameters", ParametersView.as_view())]
