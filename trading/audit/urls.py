"""Routes of the audit log."""

from django.urls import path

from trading.audit.api import ClientAuditView

urlpatterns = [path("clients/<uuid:client_id>/audit", ClientAuditView.as_view())]
