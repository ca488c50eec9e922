"""The process that holds one login: keeps its lease and its connection, and does what workers ask, each in a task."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import redis
import redis.asyncio
import structlog
from django.conf import settings
from django.core import signing
from django.db import Error as NoDatabase
from django.db import connection

from trading.brokers import hosts
from trading.brokers.adapters.ibkr import channel, forms
from trading.brokers.adapters.ibkr.books import Books
from trading.brokers.adapters.ibkr.contracts import Contracts
from trading.brokers.adapters.ibkr.link import Link, LinkDown, RequestFailed
from trading.brokers.adapters.ibkr.login import NAME, IbkrCredentials
from trading.brokers.adapters.ibkr.market import Lines
from trading.brokers.adapters.ibkr.pacing import HistoryPace
from trading.brokers.adapters.ibkr.prices import Prices
from trading.brokers.adapters.ibkr.store import LEASE_SECONDS, Lease
from trading.brokers.adapters.ibkr.trader import Trader
from trading.brokers.base import BrokerError, BrokerRefused, BrokerUnavailable, OutcomeUnknown
from trading.core.scope import platform_scope
from trading.jobs.registry import UnknownJob
from trading.jobs.services import InvalidArguments, enqueue

log = structlog.get_logger("quantum.ibkr")

RENEW_SECONDS = 4.0
RECONCILE = "order-reconcile"
CHANGES = frozenset({"place", "cancel", "replace"})
Operation = Callable[..., Awaitable[Any]]


@dataclass
class Holder:
    """Serves one login until nobody wants it, its lease is lost, or its parent has died."""

    login: str
    client_id: UUID
    credentials: IbkrCredentials
    parent: int
    """The process that started this one: this one ends with it."""
    _redis: "redis.asyncio.Redis" = field(init=False)
    _trouble: BrokerError | None = None
    _held_until: float = 0.0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "database"))
    _operations: dict[str, Operation] = field(default_factory=dict)

    async def run(self) -> None:
        """Hold the login, and serve."""
        self._redis = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=10, socket_connect_timeout=3)
        background: list[asyncio.Task[None]] = []
        lease: Lease | None = None
        try:
            lease = await self._prepare(background)
            await self._serve(lease)
        finally:
            for task in [*background, *self._tasks]:
                task.cancel()
            await asyncio.gather(*background, *self._tasks, return_exceptions=True)
            with contextlib.suppress(redis.RedisError):
                await self._redis.delete(channel.Keys(self.login).alive)
            await self._redis.aclose()
            if lease is not None:
                with contextlib.suppress(NoDatabase):  # it runs out by itself
                    await self._stored(lease.release)
            self._threads.shutdown()

    async def _prepare(self, background: list[asyncio.Task[None]]) -> Lease | None:
        """Find the gateway, take the lease, and begin to connect; None when that may not be."""
        try:
            pinned = await self._stored(
                lambda: hosts.pin(self.credentials.host, self.credentials.port, broker=NAME, field="host")
            )
        except BrokerError as error:
            self._trouble = error
            return None
        address = f"{pinned.address}:{pinned.port}"
        lease = Lease(address, self.client_id, uuid4())
        while not await self._keep(lease):
            if await self._is_anothers(lease):
                message = "This gateway is another client's. An operator can free it in the admin."
                self._trouble = BrokerRefused(message, broker=NAME, operation="session", code="login_in_use")
                return None
            if os.getppid() != self.parent or not await self._is_wanted():
                return None
            await asyncio.sleep(0.5)
        self._wire(lease, address, background)
        return lease

    def _wire(self, lease: Lease, address: str, background: list[asyncio.Task[None]]) -> None:
        books = Books()
        link = Link(address, self.credentials, books, lambda: self._stored(lease.next_order_id))
        contracts = Contracts(link, self.credentials, lambda: datetime.now(UTC).date())
        trader = Trader(link, books, contracts, lease, self._stored, lambda: datetime.now(UTC))
        lines = Lines(link, time.monotonic, lambda: datetime.now(UTC))
        prices = Prices(link, contracts, lines, HistoryPace(time.monotonic), self._publish, self._is_read)
        books.on_change = trader.notice
        link.on_open = lines.listen
        link.on_ready = self._have_compared
        link.on_data_lost = prices.break_streams

        def error(request_id: int, code: int, message: str) -> None:
            trader.error(request_id, code, message)
            lines.error(request_id, code, message)

        link.on_error = error
        self._link = link
        self._operations = {**_of_trader(trader), **_of_prices(prices)}
        background.append(asyncio.create_task(link.run()))
        background.append(asyncio.create_task(prices.tend()))

    def _have_compared(self) -> None:
        """After each connection our books are compared with the venue's: much may have happened meanwhile."""

        async def ask() -> None:
            try:
                await self._stored(partial(enqueue, RECONCILE, client_id=self.client_id, triggered_by="connected"))
            except (NoDatabase, UnknownJob, InvalidArguments) as error:
                log.warning("ibkr.not_compared", login=self.login, error=str(error).strip())

        task = asyncio.create_task(ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, lease: Lease | None) -> None:
        """Take requests one by one; each is done beside the others."""
        keys = channel.Keys(self.login)
        renewed = time.monotonic()
        quiet_since = time.monotonic()
        while os.getppid() == self.parent:
            if lease is not None and time.monotonic() - renewed > RENEW_SECONDS:
                renewed = time.monotonic()
                if not await self._keep(lease) and time.monotonic() > self._held_until:
                    log.error("ibkr.lease_lost", login=lease.login)
                    return
            try:
                await self._redis.set(keys.alive, 1, ex=channel.ALIVE_SECONDS)
                found = await self._redis.blpop([keys.requests], timeout=1)
                if found is None and not await self._is_wanted():
                    return
            except redis.RedisError as error:
                log.warning("ibkr.no_redis", error=str(error))
                await asyncio.sleep(0.5)
                continue
            if found is not None:
                quiet_since = time.monotonic()
                self._begin(found[1])
            elif self._trouble is not None and time.monotonic() - quiet_since > 5:
                return

    def _begin(self, message: bytes | str) -> None:
        task = asyncio.create_task(self._do(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, message: bytes | str) -> None:
        try:
            request = channel.read_request(message)
        except (signing.BadSignature, TypeError):
            log.error("ibkr.request_not_ours", login=self.login)
            return
        try:
            answer = channel.success(await self._answer(request))
        except BrokerError as error:
            answer = channel.failure(error)
        except Exception as error:  # whoever waits must be told; what was asked may have been done
            log.exception("ibkr.request_failed", operation=request.operation)
            answer = channel.failure(_as_broker_error(error, request.operation))
        with contextlib.suppress(redis.RedisError):  # the caller takes no answer for unknown
            await self._redis.rpush(request.answers, answer)
            await self._redis.expire(request.answers, channel.ANSWER_SECONDS)

    async def _answer(self, request: channel.Request) -> Any:
        """Do it, within the time to begin; a `BrokerError` names the operation that the caller asked for."""
        operation = request.operation
        if self._trouble is not None:
            raise self._trouble
        if operation not in self._operations:
            raise BrokerRefused(f"Nothing is called {operation}.", broker=NAME, operation=operation, code="unsupported")
        await self._ready(request)
        if operation in CHANGES and time.time() > request.begin_by:  # whoever asked has given up by now
            raise BrokerUnavailable("It came too late.", broker=NAME, operation=operation, code="too_late")
        arguments = dict(request.arguments)
        if operation in ("place", "replace"):
            arguments["begin_by"] = request.begin_by
        try:
            return await self._operations[operation](**arguments)
        except (LinkDown, RequestFailed, NoDatabase, ConnectionError) as error:
            raise _as_broker_error(error, operation) from error
        except BrokerError as error:
            error.operation = error.extra["operation"] = operation
            raise

    async def _ready(self, request: channel.Request) -> None:
        """Wait for the connection as long as the request may wait, or until enough attempts have failed."""
        link = self._link
        while not link.ready.is_set():
            left = request.begin_by - time.time()
            has_failed = link.failures >= self.credentials.connect_retries
            if left <= 0 or has_failed or link.why_down[0] == "connectivity_lost":
                code, message = link.why_down
                raise BrokerUnavailable(
                    f"The gateway cannot be used: {message}", broker=NAME, operation=request.operation, code=code
                )
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(link.ready.wait(), min(left, 0.2))

    async def _keep(self, lease: Lease) -> bool:
        try:
            kept = bool(await self._stored(lease.keep))
        except NoDatabase as error:
            log.warning("ibkr.no_database", error=str(error).strip())
            return False
        if kept:
            self._held_until = time.monotonic() + LEASE_SECONDS
        return kept

    async def _is_anothers(self, lease: Lease) -> bool:
        try:
            return bool(await self._stored(lease.is_anothers))
        except NoDatabase as error:
            log.warning("ibkr.no_database", error=str(error).strip())
            return False

    async def _stored(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _with_fresh_connection, function)

    async def _is_wanted(self) -> bool:
        entry = await self._redis.hget(channel.WANTED, self.login)
        current = await self._redis.get(f"{channel.CURRENT}{self.client_id}")
        return channel.stands(entry, self.login, current) is not None

    async def _publish(self, number: str, message: str) -> None:
        key = channel.Keys(self.login).stream(number)
        await self._redis.rpush(key, message)
        await self._redis.ltrim(key, -1000, -1)
        await self._redis.expire(key, 60)

    async def _is_read(self, number: str) -> bool:
        return bool(await self._redis.exists(f"{channel.Keys(self.login).stream(number)}:wanted"))


@platform_scope()  # a login is one client's: whether it is another's must show
def _with_fresh_connection(function: Callable[[], Any]) -> Any:
    """``function`` with the thread's connection, which is opened anew after a failure."""
    try:
        return function()
    except NoDatabase:
        connection.close()
        raise


def _as_broker_error(error: Exception, operation: str) -> BrokerError:
    """What a caller is told of a failure: of a change, that its outcome is not known."""
    code = str(getattr(error, "code", "failed"))
    message = f"{type(error).__name__}: {error}" if code == "failed" else str(error)
    if operation in CHANGES:
        return OutcomeUnknown(message, broker=NAME, operation=operation, code=code)
    return BrokerUnavailable(message, broker=NAME, operation=operation, code=code)


def _of_trader(trader: Trader) -> dict[str, Operation]:
    async def place(ticket: Any, begin_by: float) -> Any:
        return forms.plain(forms.REPORT, await trader.place(forms.TICKET.validate_python(ticket), begin_by))

    async def replace(client_order_id: str, ticket: Any, begin_by: float) -> Any:
        new = forms.TICKET.validate_python(ticket)
        return forms.plain(forms.REPORT, await trader.replace(client_order_id, new, begin_by))

    async def cancel(client_order_id: str) -> Any:
        return forms.plain(forms.REPORT, await trader.cancel(client_order_id))

    async def order(client_order_id: str) -> Any:
        return forms.plain(forms.FOUND, await trader.order(client_order_id))

    async def open_orders() -> Any:
        return forms.plain(forms.REPORTS, await trader.open_orders())

    async def fills(since: str) -> Any:
        return forms.plain(forms.FILLS, await trader.fills(forms.TIME.validate_python(since)))

    async def positions() -> Any:
        return forms.plain(forms.HOLDINGS, await trader.positions())

    async def balances() -> Any:
        return forms.plain(forms.BALANCES, await trader.balances())

    async def currency() -> str:
        return (await trader.balances())[0].asset

    found = (place, replace, cancel, order, open_orders, fills, positions, balances, currency)
    return {function.__name__: function for function in found}


def _of_prices(prices: Prices) -> dict[str, Operation]:
    async def instrument(symbol: str) -> Any:
        return forms.plain(forms.INSTRUMENT, await prices.instrument(symbol))

    async def quote(symbol: str) -> Any:
        return forms.plain(forms.QUOTE, await prices.quote(symbol))

    async def chain(underlying: str, expiry: str | None) -> Any:
        return forms.plain(forms.CHAIN, await prices.chain(underlying, forms.DAY.validate_python(expiry)))

    async def bars(symbol: str, end: str, span: str, size: str) -> Any:
        return forms.plain(forms.BARS, await prices.bars(symbol, forms.TIME.validate_python(end), span, size))

    async def stream(symbols: list[str]) -> str:
        return await prices.stream(symbols)

    found = (instrument, quote, chain, bars, stream)
    return {function.__name__: function for function in found}
