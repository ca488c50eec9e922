"""Routes of onboarding and of brokers."""

from django.urls import path

from trading.brokers.api import ConnectBrokerView, OnboardView

urlpatterns = [
    path("clients/onboard", OnboardView.as_view()),
    path("clients/<uuid:client_id>/connect-broker", ConnectBrokerView.as_view()),
]
