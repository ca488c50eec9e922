from django.apps import AppConfig


class WorkersConfig(AppConfig):
    """The hands: Celery, beat, and the jobs themselves."""

    name = "workers"

    def ready(self) -> None:
        """Make every process know every job."""
        from workers.jobs import discover
        from workers.tasks import register

        discover()
        register()
