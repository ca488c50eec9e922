"""Routes of authentication."""

from django.conf import settings
from django.urls import URLPattern, path

from trading.tenants.api import AuthDebugView, LoginView, LogoutView, RefreshView

urlpatterns: list[URLPattern] = [
    path("auth/login", LoginView.as_view()),
    path("auth/refresh", RefreshView.as_view()),
    path("auth/logout", LogoutView.as_view()),
]
if settings.APP_ENV != "production":
    urlpatterns.append(path("__auth_debug", AuthDebugView.as_view()))
