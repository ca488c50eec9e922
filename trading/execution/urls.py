"""Routes of what clients hold and have traded, and of their orders."""

from django.urls import path

from trading.execution.api import PositionsView, TradesView
from trading.execution.orders_api import OrderCancelView, OrderReplaceView, OrdersView, OrderView

urlpatterns = [
    path("clients/<uuid:client_id>/positions", PositionsView.as_view()),
    path("clients/<uuid:client_id>/trades", TradesView.as_view()),
    path("clients/<uuid:client_id>/orders", OrdersView.as_view()),
    path("clients/<uuid:client_id>/orders/<uuid:order_id>", OrderView.as_view()),
    path("clients/<uuid:client_id>/orders/<uuid:order_id>/cancel", OrderCancelView.as_view()),
    path("clients/<uuid:client_id>/orders/<uuid:order_id>/replace", OrderReplaceView.as_view()),
]
