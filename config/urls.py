"""Every route of the platform."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from trading.operations.docs import DocsView, SchemaView
from trading.operations.risk_api import EmergencyHaltView

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/emergency-halt", EmergencyHaltView.as_view()),
    path("admin/", admin.site.urls),
    path("", include("trading.web.urls")),
    path("", include("trading.tenants.urls")),
    path("", include("trading.audit.urls")),
    path("", include("trading.jobs.urls")),
    path("", include("trading.backtests.urls")),
    path("", include("trading.brokers.urls")),
    path("", include("trading.risk.urls")),
    path("", include("trading.execution.urls")),
    path("", include("trading.operations.urls")),
    path("api/schema", SchemaView.as_view(), name="schema"),
    path("api/docs", DocsView.as_view(url_name="schema")),
]
handler400 = "trading.core.errors.bad_request"
handler404 = "trading.core.errors.not_found"
handler403 = "trading.core.errors.forbidden"
handler500 = "trading.core.errors.failed"
