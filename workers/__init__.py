"""The hands: the Celery application, the task that runs a job's step, beat, and the keeper of leases."""

from workers.celery import app

__all__ = ["app"]
