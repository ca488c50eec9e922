"""Routes for those who run the platform."""

from django.urls import path

from trading.operations import api
from trading.operations.risk_api import KillSwitchView, ResetView, RiskView
from trading.operations.settings_api import SettingsView

urlpatterns = [
    path("health", api.HealthView.as_view()),
    path("health/ready", api.ReadyView.as_view()),
    path("health/scheduler", api.SchedulerStatusView.as_view()),
    path("scheduler/status", api.SchedulerStatusView.as_view()),
    path("metrics", api.metrics),
    path("settings", SettingsView.as_view()),
    path("risk", RiskView.as_view()),
    path("risk/kill-switch", KillSwitchView.as_view()),
    path("risk/reset", ResetView.as_view()),
    path("__whoami", api.WhoAmIView.as_view()),
]
