"""The Celery application. The ledger is the record; Celery carries run ids to idle processes."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")

app = Celery("quantum", set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
