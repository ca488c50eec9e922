from django.apps import AppConfig


class JobsConfig(AppConfig):
    """The ledger of job runs."""

    name = "trading.jobs"
    verbose_name = "Jobs"
