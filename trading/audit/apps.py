from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The record of who did what, which nobody can change unseen."""

    name = "trading.audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        """Listen to those who stand below: logins and the admin's own log."""
        from trading.audit import receivers

        receivers.connect()
