"""Routes of authentication."""

from django.conf import settings
from django.urls import URLPattern, path

from trading.tenants.api import AuthDebugView, LoginView

urlpatterns: list[URLPattern] = [path("auth/login", LoginView.as_view())]
if settings.APP_ENV != "production":
    urlpatterns.append(path("__auth_debug", AuthDebugView.as_view()))
