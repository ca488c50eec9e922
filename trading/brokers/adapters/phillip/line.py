"""Requests to PhillipCapital: a token that is kept until shortly before it ends, and what its answers mean."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from pydantic import Field, SecretStr, field_validator

from trading.brokers.base import GARBAGE, BrokerRefused, BrokerUnavailable, Credentials
from trading.brokers.hosts import Pinned
from trading.brokers.http import Line, retry_after
from trading.brokers.throttle import Budget

NAME = "phillip"
TOKEN_MARGIN_SECONDS = 60.0
REQUESTS_PER_MINUTE = 300
"""Its limits are not published: this is ours."""
LONGEST_PAGES = 1000


class PhillipCredentials(Credentials):
    """A client of its OAuth2 server, and where its API is.

    ``base_url`` is the platform's ``QT_PHILLIP_URL`` when empty. ``request_retries`` and ``request_backoff_seconds``
    are for requests that change nothing. ``exchange`` is where orders go, ``currency`` what they are paid in.
    ``booking_seconds`` is how long an order that it was sent may take until it shows it at the latest: it publishes no
    such time, so that this is ours until it has told the client another.
    """

    client_id: SecretStr = Field(min_length=1, max_length=200)
    client_secret: SecretStr = Field(min_length=1, max_length=400)
    request_retries: int = Field(default=3, ge=0, le=5)
    request_backoff_seconds: float = Field(default=0.4, ge=0, le=5)
    exchange: str = Field(default="CME", pattern=r"^[A-Z0-9]{1,12}$")
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    booking_seconds: float = Field(default=15, ge=1, le=3600)
    base_url: str = Field(default="", max_length=200)
    token_path: str = "/oauth2/token"  # noqa: S105  # a path
    orders_path: str = "/v1/orders"
    executions_path: str = "/v1/executions"
    positions_path: str = "/v1/positions"
    ledger_path: str = "/v1/ledger"
    instruments_path: str = "/v1/instruments"
    quotes_path: str = "/v1/quotes"

    @field_validator(
        "token_path", "orders_path", "executions_path", "positions_path", "ledger_path", "instruments_path",
        "quotes_path",
    )  # fmt: skip
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]{1,64}){1,12}", value) or ".." in value:
            raise ValueError("this is a path such as /v1/orders")
        return value


class NotThere(BrokerRefused):
    """404: the venue has no such thing."""


@dataclass
class Token:
    """An access token and when it is to be renewed, by the process's monotonic clock."""

    text: str
    renew_at: float


_tokens: dict[str, Token] = {}
_lock = threading.Lock()


class PhillipLine:
    """The authorised line of one session."""

    def __init__(
        self,
        pinned: Pinned,
        base_url: str,
        credentials: PhillipCredentials,
        *,
        timeout: httpx.Timeout,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._line = Line(NAME, pinned, base_url, timeout=timeout)
        self._credentials, self._sleep = credentials, sleep
        pair = (credentials.client_id.get_secret_value(), credentials.client_secret.get_secret_value())
        self._login = httpx.BasicAuth(*(quote(part, safe="") for part in pair))  # RFC 6749, 2.3.1
        self._key = hashlib.sha256("\0".join((base_url, credentials.token_path, *pair)).encode()).hexdigest()
        self._budget = Budget(f"{NAME}:{pinned.authority}:{self._key[:16]}", REQUESTS_PER_MINUTE, 60, NAME)

    def get(self, path: str, operation: str, params: Mapping[str, str] | None = None) -> Any:
        """What is at ``path``, asked for again when the venue cannot be reached; raises `NotThere`."""
        for attempt in range(self._credentials.request_retries + 1):
            try:
                return self._authorised("GET", path, operation, params=params, may_repeat=True)
            except BrokerUnavailable as error:
                is_last = attempt == self._credentials.request_retries
                if is_last or error.retry_after is not None:
                    raise
            self._sleep(self._credentials.request_backoff_seconds * 2**attempt)
        raise AssertionError("the last attempt answers or raises")

    def pages(self, path: str, operation: str, params: Mapping[str, str]) -> list[Any]:
        """All items of a list; one that cannot be read to its end is an error."""
        found: list[Any] = []
        asked = dict(params)
        for _ in range(LONGEST_PAGES):
            answer = self.get(path, operation, asked)
            if not isinstance(answer, dict) or not isinstance(answer.get("items"), list) or "next" not in answer:
                raise self.unreadable(operation)
            found.extend(answer["items"])
            if answer["next"] is None:
                return found
            asked["cursor"] = str(answer["next"])
        raise self.unreadable(operation)

    def post(self, path: str, operation: str, fields: Mapping[str, Any], *, send_by: datetime | None) -> Any:
        """Sent once, whatever comes; past ``send_by`` not at all: `BrokerUnavailable`."""
        return self._authorised("POST", path, operation, fields=fields, may_repeat=False, send_by=send_by)

    def delete(self, path: str, operation: str) -> Any:
        """Repeated after a 401 alone: what is cancelled twice is cancelled."""
        return self._authorised("DELETE", path, operation, may_repeat=True)

    def _authorised(
        self,
        method: str,
        path: str,
        operation: str,
        *,
        params: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        may_repeat: bool,
        send_by: datetime | None = None,
    ) -> Any:
        response = self._once(method, path, operation, params, fields, send_by)
        if response.status_code == 401:
            self._forget()
            if may_repeat:
                response = self._once(method, path, operation, params, fields)
        return self._judged(response, operation, has_effects=method != "GET")

    def _once(
        self,
        method: str,
        path: str,
        operation: str,
        params: Mapping[str, str] | None,
        fields: Mapping[str, Any] | None,
        send_by: datetime | None = None,
    ) -> httpx.Response:
        token = self._token(operation)
        self._budget.take(1, operation=operation)
        target = path + ("?" + urlencode(params) if params else "")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        request = self._line.build(method, target, headers=headers, json=fields)
        if send_by is not None and datetime.now(UTC) > send_by:
            raise self._line.unavailable(operation, "too_late", "The time to send this order is over.")
        return self._line.send(request, operation=operation, has_effects=method != "GET")

    def _token(self, operation: str) -> str:
        """The process's token for these credentials; a new one 60 s before it ends."""
        with _lock:
            kept = _tokens.get(self._key)
        if kept is not None and time.monotonic() < kept.renew_at:
            return kept.text
        self._budget.take(1, operation=operation)
        asked_at = time.monotonic()
        request = self._line.build(
            "POST", self._credentials.token_path, data={"grant_type": "client_credentials"},
            headers={"Accept": "application/json"},
        )  # fmt: skip
        request = next(self._login.auth_flow(request))
        response = self._line.send(request, operation=operation, has_effects=False)
        if response.status_code in (400, 401, 403):
            raise BrokerRefused(
                "PhillipCapital does not accept the client's id and secret.",
                broker=NAME,
                operation=operation,
                code="invalid_client",
            )
        answer = self._judged(response, operation, has_effects=False)
        try:
            text, lifetime = str(answer["access_token"]), float(answer.get("expires_in", 0))
            if str(answer.get("token_type", "")).lower() != "bearer" or not re.fullmatch(r"[\x21-\x7e]{1,8192}", text):
                raise ValueError("not a bearer token")
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self.unreadable(operation) from None
        with _lock:
            _tokens[self._key] = Token(text, asked_at + lifetime - TOKEN_MARGIN_SECONDS)
        return text

    def _forget(self) -> None:
        with _lock:
            _tokens.pop(self._key, None)

    def _judged(self, response: httpx.Response, operation: str, *, has_effects: bool) -> Any:
        status = response.status_code
        if status == 429:
            wait = retry_after(response, 10)
            self._budget.block(wait)
            raise self._line.unavailable(
                operation, "429", f"PhillipCapital wants to be left alone for {wait:.0f} s.", retry_after=wait
            )
        if 200 <= status < 300:
            return self._line.json(response, operation=operation, has_effects=has_effects)
        if status == 404 and not has_effects:
            raise NotThere("PhillipCapital has no such thing.", broker=NAME, operation=operation, code="404")
        if 400 <= status < 500 and not has_effects:
            raise BrokerRefused(
                f"PhillipCapital refuses with {status}.", broker=NAME, operation=operation, code=str(status)
            )
        # Which refusals leave nothing behind is not published, so that none is believed where money moves.
        raise self._line.no_answer(operation, str(status), f"answered with {status}", has_effects=has_effects)

    def unreadable(self, operation: str, *, has_effects: bool = False) -> Exception:
        """The error for an answer that is not what was asked for."""
        return self._line.no_answer(operation, GARBAGE, "answered with what cannot be read", has_effects=has_effects)

    def close(self) -> None:
        """Close the connections."""
        self._line.close()
