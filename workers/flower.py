"""``python -m workers.flower``: Flower, every route of it behind one login, on the loopback interface alone.

Flower checks credentials handler by handler and leaves some out (``/healthcheck``, ``/metrics``, its static files);
here they are checked before a handler is chosen, so that none can be left out.
"""

import hmac
import logging
import os
import signal
import sys
from base64 import b64decode
from binascii import Error as Base64Error
from types import FrameType
from typing import Any

import django
from django.conf import settings
from flower.app import Flower
from flower.options import options
from flower.urls import settings as handler_settings
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from workers.celery import app

DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 5555
MIN_PASSWORD_LENGTH = 16


class Refused(RequestHandler):
    """Answers 401 to whatever is asked."""

    def check_xsrf_cookie(self) -> None:
        """Nothing is done here that would need one."""

    def prepare(self) -> None:
        """Ask for the login, and say nothing else."""
        self.set_status(401)
        self.set_header("WWW-Authenticate", 'Basic realm="Flower", charset="UTF-8"')
        self.finish("Log in with the user and password of FLOWER_BASIC_AUTH.")


class GuardedFlower(Flower):  # type: ignore[misc]  # untyped upstream
    """Flower with one check of the credentials before any handler is found."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The handler of the route; `Refused` for a request without the login."""
        if not is_login(request.headers.get("Authorization", ""), self.options.basic_auth[0]):
            return self.get_handler_delegate(request, Refused)
        return super().find_handler(request, **kwargs)


def is_login(header: str, credentials: str) -> bool:
    """Whether an ``Authorization`` header carries ``credentials`` (``user:password``); compared in constant time."""
    scheme, _, encoded = header.partition(" ")
    try:
        given = b64decode(encoded.strip(), validate=True)
    except (Base64Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, credentials.encode())


def credentials_of(value: str) -> str:
    """``value`` when it is ``user:password`` with a password that is not to be guessed; else `SystemExit`."""
    user, _, password = value.partition(":")
    if not user or len(password) < MIN_PASSWORD_LENGTH or "," in value:
        raise SystemExit(
            "Flower does not start without a login: set FLOWER_BASIC_AUTH to user:password, with a password of at"
            f" least {MIN_PASSWORD_LENGTH} characters and no comma. `make run` writes one into .env."
        )
    return value


def _stop(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve Flower on ``FLOWER_PORT`` until told to stop."""
    django.setup()
    logging.getLogger("tornado.access").addHandler(logging.NullHandler())
    logging.getLogger("tornado.access").propagate = False
    logging.getLogger("flower.inspector").setLevel(logging.ERROR)  # a worker that has not started yet is no news
    options.address = os.environ.get("FLOWER_ADDRESS") or DEFAULT_ADDRESS
    options.port = int(os.environ.get("FLOWER_PORT") or DEFAULT_PORT)
    options.basic_auth = [credentials_of(settings.FLOWER_BASIC_AUTH)]
    options.persistent = False
    # Workers decide for themselves whether they send events: asking all of them would slow the bulk queue.
    options.enable_events = False
    options.purge_offline_workers = 60
    flower = GuardedFlower(capp=app, options=options, **handler_settings)
    signal.signal(signal.SIGTERM, _stop)
    try:
        flower.start_http_server()
    except OSError as error:
        sys.exit(
            f"Flower cannot listen on {options.address}:{options.port}: {error.strerror}. Choose another FLOWER_PORT."
        )
    try:
        flower.start()
    except (KeyboardInterrupt, SystemExit):
        flower.stop()


if __name__ == "__main__":
    main()
