"""Routes of authentication."""

from django.urls import path

from trading.tenants.api import AuthDebugView, LoginView

urlpatterns = [
    path("auth/login", LoginView.as_view()),
    path("__auth_debug", AuthDebugView.as_view()),
]
