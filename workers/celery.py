"""The Celery application. The ledger is the record; Celery carries run ids to idle processes."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")

# Without Celery's Django fix-up: it closes the database connection around every task, and a worker's
# process keeps its own (workers/tasks.py).
app = Celery("quantum", set_as_current=True, fixups=[])
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
