"""The jobs, one module each. A module here that declares a `Job` is found by being here."""

from django.conf import settings

from trading.jobs.registry import registry


def discover() -> None:
    """Register the jobs of this package and of the modules named by ``QT_JOB_MODULES``."""
    for package in (__name__, *settings.QT_JOB_MODULES):
        registry.discover(package)
