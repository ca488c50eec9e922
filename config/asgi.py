"""The ASGI application that uvicorn serves."""

import os
from typing import cast

from django.core.asgi import get_asgi_application

from trading.core.asgi import Application, BodyLimit, Sane

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
os.environ["QT_DB_POOL"] = "1"  # for the settings, which are read now
application = Sane(BodyLimit(cast("Application", get_asgi_application())))
del os.environ["QT_DB_POOL"]  # and for no process that this one starts: who forks must not share a pool
