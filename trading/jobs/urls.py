"""Routes of the ledger."""

from django.urls import path

from trading.jobs.api import InternalTaskView, RunCancelView, RunListView, RunRetryView, RunView
from trading.jobs.events import run_events

urlpatterns = [
    path("jobs/runs", RunListView.as_view()),
    path("jobs/runs/<uuid:run_id>", RunView.as_view()),
    path("jobs/runs/<uuid:run_id>/retry", RunRetryView.as_view()),
    path("jobs/runs/<uuid:run_id>/cancel", RunCancelView.as_view()),
    path("jobs/runs/<uuid:run_id>/events", run_events),
    path("internal/tasks/<slug:job>", InternalTaskView.as_view()),
]
