"""The tests: embedded servers of their own in a temporary folder, fixed secrets that no deployment accepts."""

import os
import secrets
import tempfile
from pathlib import Path

# Before base is read, and through the environment so that pytest-xdist's workers share the folder.
# Named here and made by tests/conftest.py, so that what only reads the settings leaves nothing behind.
os.environ.setdefault("QT_TEST_DATA_DIR", str(Path(tempfile.gettempdir()) / f"qt-test-{secrets.token_hex(6)}"))
os.environ.update(
    QT_DATA_DIR=os.environ["QT_TEST_DATA_DIR"],
    APP_ENV="test",
    DATABASE_URL="",
    REDIS_URL="",
    SECRET_KEY="test-secret-key-test-secret-key-test-secret-key-1234",
    JWT_SECRET="test-jwt-secret-test-jwt-secret-0001",
    SUPABASE_JWT_SECRET="test-external-jwt-secret-test-external-1",
    ENCRYPTION_KEY="test-encryption-key-32-bytes-long",
    TASK_SIGNING_SECRET="test-task-signing-secret-new-0001,test-task-signing-secret-old-0001",
    CRON_SECRET="test-cron-secret-0123456789-abcdefg",
    ADMIN_API_KEY="test-admin-api-key-test-admin-api-1",
    QT_ADMIN_TOKEN="test-admin-token-test-admin-token-1",
    AUTONOMOUS_ENABLED="true",  # most tests' venues are none of ours
)

from config.settings.base import *  # noqa: F403  # a settings module is the union of its parts

# One login, the owner's, which takes the role of each scope: what a test writes in its own transaction, the code under
# test must see in every scope. Drills, and the tests of row security, have the three logins.
if os.environ.get("QT_TEST_LOGINS") != "apart":
    DATABASES = {"default": DATABASES["owner"]}  # noqa: F405  # from base

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Each of pytest-xdist's workers has a Redis database of its own, as pytest-django gives it a Postgres one.
_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
REDIS_URL = f"unix://{DATA.valkey_socket}?db={_NUMBER}"  # noqa: F405  # from base
CACHES["default"]["LOCATION"] = REDIS_URL  # noqa: F405  # from base
CELERY_BROKER_URL = f"redis+socket://{DATA.valkey_socket}?virtual_host={_NUMBER}"  # noqa: F405  # from base

# Each worker's audit chains are its own, so its mirror is too.
QT_ADMIN_AUDIT_PATH = str(DATA.root / f"audit-{_NUMBER}" / "admin_audit.log")  # noqa: F405  # from base

# As fast as the tests ask; those of the limits set them.
QT_RATE_USER = QT_RATE_CLIENT = QT_RATE_ADDRESS = QT_RATE_REFUSED = 0

# Static files where they lie, without collecting them first.
STATIC_ROOT = BASE_DIR / "trading" / "web" / "static"  # noqa: F405  # from base
WHITENOISE_USE_FINDERS = True
# Looked for when they are asked for: each of the thousands of clients in the tests would list them all.
WHITENOISE_AUTOREFRESH = True
