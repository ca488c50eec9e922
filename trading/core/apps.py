from django.apps import AppConfig
from django.conf import settings

from trading.core import redaction


class CoreConfig(AppConfig):
    """What every application needs."""

    name = "trading.core"

    def ready(self) -> None:
        """Keep the platform's own secrets out of whatever is written down."""
        redaction.know(
            [
                settings.SECRET_KEY,
                settings.JWT_SECRET,
                settings.SUPABASE_JWT_SECRET,
                *settings.ENCRYPTION_KEY,
                *settings.TASK_SIGNING_SECRET,
                settings.CRON_SECRET,
                settings.ADMIN_API_KEY,
                settings.QT_ADMIN_TOKEN,
                settings.FLOWER_BASIC_AUTH,
                str(settings.DATABASES["default"].get("PASSWORD") or ""),
            ],
            lasting=True,
        )
