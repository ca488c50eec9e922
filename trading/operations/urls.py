"""Routes for those who run the platform."""

from django.urls import path

from trading.operations import api
from trading.operations.settings_api import SettingsView

urlpatterns = [
    path("health", api.HealthView.as_view()),
    path("health/ready", api.ReadyView.as_view()),
    path("health/scheduler", api.SchedulerHealthView.as_view()),
    path("scheduler/status", api.SchedulerStatusView.as_view()),
    path("metrics", api.metrics),
    path("settings", SettingsView.as_view()),
    path("__whoami", api.WhoAmIView.as_view()),
]
