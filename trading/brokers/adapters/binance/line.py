"""Requests to Binance: signed, timed by its clock, within its limits; and what its answers mean."""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

import httpx

from trading.brokers.adapters.binance.filters import Rules
from trading.brokers.base import GARBAGE, BrokerError, BrokerRefused, BrokerUnavailable
from trading.brokers.hosts import Pinned
from trading.brokers.http import Line, retry_after
from trading.brokers.throttle import Budget

NAME = "binance"
RECV_WINDOW_MS = 5000
WEIGHT_PER_MINUTE = 6000
ORDERS_PER_10_SECONDS = 100
ORDERS_PER_DAY = 200_000
WEIGHTS = {
    ("GET", "exchangeInfo"): 20, ("GET", "account"): 20, ("GET", "order"): 4, ("GET", "allOrders"): 20,
    ("GET", "myTrades"): 20, ("GET", "openOrders"): 80, ("GET", "avgPrice"): 2, ("GET", "ticker/bookTicker"): 2,
    ("GET", "ticker/price"): 2,
}  # fmt: skip
"""Of one request, by its documents; 1 for those that are not listed."""

UNKNOWN = frozenset({-1000, -1001, -1006, -1007, -1016})
"""Codes with which the venue says that it does not know itself what became of a request."""
CREDENTIALS = frozenset({-1002, -1022, -2014, -2015})
CLOCK = -1021
NO_SUCH_ORDER = -2013
UNKNOWN_SYMBOL = -1121
REFUSALS = frozenset({-1010, -1013, -1014, -1020, CLOCK, -1121, -1131, -2010, -2011, NO_SUCH_ORDER, -2021, -2022, -2026,
                      *range(-1130, -1099)})  # fmt: skip
"""Codes with which it says, as documented, that it has not done what was asked."""


class Refusal(BrokerRefused):
    """The venue's own no: ``number`` is its code, ``answer`` all that it said."""

    def __init__(self, number: int, answer: Mapping[str, Any], operation: str) -> None:
        said = str(answer.get("msg", ""))[:200]
        super().__init__(
            f"Binance refuses: {said}", broker=NAME, operation=operation, code=str(number), context={"said": said}
        )
        self.number = number
        self.said = said
        self.answer = answer


@dataclass
class Known:
    """What every session with one host may remember in a process: its clock, its symbols."""

    offset_ms: int | None = None
    measured_at: float = 0.0
    rules: dict[str, tuple[float, Rules]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    CLOCK_SECONDS: ClassVar = 1800.0
    RULES_SECONDS: ClassVar = 600.0


_known: dict[str, Known] = {}


class BinanceLine:
    """The signed line of one session."""

    def __init__(
        self,
        pinned: Pinned,
        base_url: str,
        *,
        api_key: str,
        api_secret: str,
        timeout: httpx.Timeout,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._line = Line(NAME, pinned, base_url, timeout=timeout)
        self._key, self._secret, self._clock = api_key, api_secret.encode(), clock
        self.known = _known.setdefault(base_url, Known())
        account = hashlib.sha256(api_key.encode()).hexdigest()[:16]
        host = pinned.authority
        self._weight = Budget(f"{NAME}:{host}:weight", WEIGHT_PER_MINUTE, 60, NAME)
        self._orders = (
            Budget(f"{NAME}:{host}:orders-10s:{account}", ORDERS_PER_10_SECONDS, 10, NAME),
            Budget(f"{NAME}:{host}:orders-1d:{account}", ORDERS_PER_DAY, 86_400, NAME),
        )

    def get(self, path: str, operation: str, **params: Any) -> Any:
        """A public answer."""
        return self._send("GET", path, operation, params, is_signed=False)

    def signed(self, method: str, path: str, operation: str, **params: Any) -> Any:
        """An answer about the account. Raises `Refusal` for what the venue says no to."""
        return self._send(method, path, operation, params, is_signed=True)

    def order(self, path: str, operation: str, params: Mapping[str, str], *, send_by: datetime | None) -> Any:
        """The answer to a new order. Past ``send_by`` it is not sent: `BrokerUnavailable`. Else raises as `signed`."""
        return self._send("POST", path, operation, params, is_signed=True, send_by=send_by)

    def _send(
        self, method: str, path: str, operation: str, params: Mapping[str, Any], *, is_signed: bool,
        send_by: datetime | None = None,
    ) -> Any:  # fmt: skip
        once = partial(
            self._once, method, path, operation, params, is_signed=is_signed, has_effects=method != "GET",
            send_by=send_by,
        )  # fmt: skip
        try:
            return once()
        except Refusal as refusal:
            if refusal.number != CLOCK:
                raise
        # It was refused before it was looked at, so that it is sent for the first time now.
        self.known.offset_ms = None
        return once()

    def _once(
        self, method: str, path: str, operation: str, params: Mapping[str, Any], *, is_signed: bool, has_effects: bool,
        send_by: datetime | None = None,
    ) -> Any:  # fmt: skip
        if is_signed:
            self._measure_clock(operation)
        self._weight.take(WEIGHTS.get((method, path), 1), operation=operation)
        if method == "POST":
            for budget in self._orders:
                budget.take(1, operation=operation, patience=1)
        request = self._request(method, path, params, is_signed=is_signed)
        # After the request has its timestamp: however long it takes from here on, the venue refuses what is older
        # than its window.
        if send_by is not None and self._clock() > send_by.timestamp():
            raise self._line.unavailable(operation, "too_late", "The time to send this order is over.")
        response = self._line.send(request, operation=operation, has_effects=has_effects)
        self._note_limits(response)
        return self._judged(response, operation, has_effects=has_effects)

    def _request(self, method: str, path: str, params: Mapping[str, Any], *, is_signed: bool) -> httpx.Request:
        headers = {}
        query = urlencode(params)
        if is_signed:
            timed = {**params, "recvWindow": RECV_WINDOW_MS, "timestamp": int(self._clock() * 1000) + self._offset()}
            query = urlencode(timed)
            query += "&signature=" + hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
            headers["X-MBX-APIKEY"] = self._key
        if method == "GET" or not query:
            return self._line.build(method, f"/api/v3/{path}" + (f"?{query}" if query else ""), headers=headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._line.build(method, f"/api/v3/{path}", content=query, headers=headers)

    def _offset(self) -> int:
        return self.known.offset_ms or 0

    def _measure_clock(self, operation: str) -> None:
        """Ask for the venue's time, unless it was asked lately; half of the way there and back is taken off."""
        with self.known.lock:
            now = time.monotonic()
            if self.known.offset_ms is not None and now - self.known.measured_at < Known.CLOCK_SECONDS:
                return
            before = self._clock()
            answer = self._once("GET", "time", operation, {}, is_signed=False, has_effects=False)
            middle_ms = int((before + self._clock()) / 2 * 1000)
            if not isinstance(answer, dict) or not isinstance(answer.get("serverTime"), int):
                raise self.unreadable(operation)
            self.known.offset_ms, self.known.measured_at = answer["serverTime"] - middle_ms, now

    def _note_limits(self, response: httpx.Response) -> None:
        """Take over what the venue counts: other programs of this address count too."""
        used = response.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdigit() and int(used) > WEIGHT_PER_MINUTE // 4:
            self._weight.reported(int(used))
        for budget, name in zip(self._orders, ("10S", "1D"), strict=True):
            count = response.headers.get(f"X-MBX-ORDER-COUNT-{name}", "")
            if count.isdigit() and int(count) > budget.limit // 4:
                budget.reported(int(count))

    def _judged(self, response: httpx.Response, operation: str, *, has_effects: bool) -> Any:
        status = response.status_code
        if status in (418, 429):
            raise self._limited(response, operation)
        if status == 403:  # the firewall in front of the venue: it was not looked at
            self._weight.block(60)
            raise self._line.unavailable(operation, "403", "Binance's firewall stops us.", retry_after=60)
        if status >= 500:
            raise self._line.no_answer(operation, str(status), f"failed with {status}", has_effects=has_effects)
        body = self._line.json(response, operation=operation, has_effects=has_effects)
        if status < 300:
            return body
        number = body.get("code") if isinstance(body, dict) else None
        if number in CREDENTIALS:
            raise BrokerRefused(
                "Binance does not accept the API key for this: check the key, its permissions and its addresses.",
                broker=NAME,
                operation=operation,
                code=str(number),
            )
        if isinstance(number, int) and number in REFUSALS:
            raise Refusal(number, body, operation)
        raise self._line.no_answer(operation, str(number or status), f"answered with {status}", has_effects=has_effects)

    def _limited(self, response: httpx.Response, operation: str) -> BrokerUnavailable:
        """429: too much was asked; 418: banned for asking on. Neither was looked at; nobody asks until it is over."""
        is_order_count = b"-1015" in response.content[:200]
        wait = retry_after(response, 10 if is_order_count else 60)
        (self._orders[0] if is_order_count else self._weight).block(wait)
        return self._line.unavailable(
            operation, str(response.status_code), f"Binance wants to be left alone for {wait:.0f} s.", retry_after=wait
        )

    def rules(self, symbol: str, operation: str) -> Rules:
        """The filters of ``symbol``, kept for ten minutes; `BrokerRefused` with ``unknown_symbol``."""
        kept = self.known.rules.get(symbol)
        if kept is not None and time.monotonic() - kept[0] < Known.RULES_SECONDS:
            return kept[1]
        try:
            answer = self.get("exchangeInfo", operation, symbol=symbol)
            found = Rules.read(answer["symbols"][0])
        except Refusal as refusal:
            raise BrokerRefused(
                f"{symbol[:32]} is not traded at Binance.", broker=NAME, operation=operation, code="unknown_symbol"
            ) from refusal
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            raise self.unreadable(operation) from None
        if found.symbol != symbol:
            raise self.unreadable(operation)
        self.known.rules[symbol] = (time.monotonic(), found)
        return found

    def unreadable(self, operation: str, *, has_effects: bool = False) -> BrokerError:
        """The error for an answer that is not what was asked for."""
        return self._line.no_answer(operation, GARBAGE, "answered with what cannot be read", has_effects=has_effects)

    def close(self) -> None:
        """Close the connections."""
        self._line.close()
