"""A deployment: TLS in front, cookies only over it."""

from config.settings.base import *  # noqa: F403  # a settings module is the union of its parts

APP_ENV = "production"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_HSTS_SECONDS = 31_536_000
