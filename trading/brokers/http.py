"""What sessions over HTTP share: one client, and what a broken line means for what was asked over it."""

import functools
import json
import logging
import ssl
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from trading.brokers.base import GARBAGE, BrokerError, BrokerUnavailable, OutcomeUnknown
from trading.brokers.hosts import HTTPS, Pinned, http_client

_LARGEST_ANSWER = 32 * 1024 * 1024  # bytes

# Below warnings these write URLs and headers, which hold signatures and keys.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def timeout() -> httpx.Timeout:
    """How long a session waits for a venue."""
    seconds = settings.QT_BROKER_TIMEOUT_SECONDS
    return httpx.Timeout(seconds, connect=min(seconds, 4.0))


def authority(url: str) -> str:
    """``host:port`` of an http or https URL."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (80 if parts.scheme == 'http' else HTTPS)}"


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class Line:
    """One HTTP client of one session, to one host."""

    def __init__(self, broker: str, pinned: Pinned, base_url: str, *, timeout: httpx.Timeout) -> None:
        self._broker = broker
        self._client = http_client(pinned, timeout=timeout, verify=_certificates(), base_url=base_url)

    def send(self, request: httpx.Request, *, operation: str, has_effects: bool) -> httpx.Response:
        """The venue's answer, whatever its status, read whole.

        Raises `BrokerUnavailable` when the request was surely not sent, or changes nothing; otherwise `OutcomeUnknown`
        when no answer came. Nothing is tried again here.
        """
        try:
            return self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise self.unavailable(operation, "unreachable", f"{self._broker} cannot be reached.") from None
        except (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects):
            # The error holds the request, and that the key: it is not shown as the cause.
            raise self.no_answer(operation, "no_answer", "gave no answer", has_effects=has_effects) from None

    def build(self, method: str, path: str, **options: Any) -> httpx.Request:
        """A request of this session's client; ``options`` as httpx has them."""
        return self._client.build_request(method, path, **options)

    def json(self, response: httpx.Response, *, operation: str, has_effects: bool) -> Any:
        """The answer's JSON with decimals as `Decimal`; one that cannot be read is as none."""
        try:
            if len(response.content) > _LARGEST_ANSWER:
                raise ValueError("too large")
            return json.loads(response.content, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise self.no_answer(
                operation, GARBAGE, "answered with what cannot be read", has_effects=has_effects
            ) from None

    def no_answer(self, operation: str, code: str, what: str, *, has_effects: bool, **context: Any) -> BrokerError:
        """The error for an answer that is none: unknown if the request may have changed something."""
        if has_effects:
            return OutcomeUnknown(
                f"{self._broker} {what}: whether it did what was asked is unknown until it says so.",
                broker=self._broker,
                operation=operation,
                code=code,
                context=context,
            )
        return self.unavailable(operation, code, f"{self._broker} {what}.", **context)

    def unavailable(
        self, operation: str, code: str, message: str, *, retry_after: float | None = None, **context: Any
    ) -> BrokerUnavailable:
        """The error for a request that was not taken."""
        return BrokerUnavailable(
            message, broker=self._broker, operation=operation, code=code, retry_after=retry_after, context=context
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _refuse(text: str) -> Any:
    raise ValueError(text)


def retry_after(response: httpx.Response, default: float) -> float:
    """The seconds that the venue asks to wait; ``default`` where it says nothing that can be read."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else default
