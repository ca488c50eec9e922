"""The one connection of a login: opened, watched, opened again, and brought up to date before it is used."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from trading.brokers.adapters.ibkr import codes
from trading.brokers.adapters.ibkr.books import Books
from trading.brokers.adapters.ibkr.library import library
from trading.brokers.adapters.ibkr.login import QUIET_SECONDS, IbkrCredentials

log = structlog.get_logger("quantum.ibkr")
T = TypeVar("T")

CONNECT_SECONDS = 8.0
LONGEST_BACKOFF_SECONDS = 30.0
QUESTIONS_A_SECOND = 40
ORDERS_A_SECOND = 48
"""The gateway ends a connection that sends more than fifty messages a second; some are kept for orders."""


class LinkDown(RuntimeError):
    """There is no connection that could be used now. ``code`` is a short name of why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RequestFailed(RuntimeError):
    """The gateway answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass
class Link:
    """Use `run` as a task; ``ready`` is set while orders and questions may be sent."""

    address: str
    credentials: IbkrCredentials
    books: Books
    first_order_id: Callable[[], Awaitable[int]]
    """The least id that was never used, as it is stored."""
    on_error: Callable[[int, int, str], None] = lambda request_id, code, message: None
    on_data_lost: Callable[[], None] = lambda: None
    ib: Any = None
    account: str = ""
    positions: list[Any] = field(default_factory=list)
    summary: list[tuple[str, str, str, str]] = field(default_factory=list)
    failures: int = 0
    why_down: tuple[str, str] = ("starting", "the connection is being opened")
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once an attempt has ended well, or enough of them badly."""
    on_open: Callable[[Any], None] = lambda ib: None
    on_ready: Callable[[], None] = lambda: None
    _sent_at: deque[float] = field(default_factory=deque)
    _broken: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        delay = self.credentials.connect_backoff_seconds
        while True:
            try:
                await self._open()
                delay = self.credentials.connect_backoff_seconds
                self.failures = 0
                await self._watch()
            except (TimeoutError, OSError, LinkDown, RequestFailed) as error:
                self._note_failure(error)
            except Exception as error:  # without this task nobody would try again, and all would wait
                log.exception("ibkr.connection_failed", login=self.address)
                self._note_failure(error)
            finally:
                self.ready.clear()
                self._close()
            if self.failures:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_BACKOFF_SECONDS)

    def _note_failure(self, error: Exception) -> None:
        code = error.code if isinstance(error, LinkDown) else "not_connected"
        self.why_down = (str(code), str(error) or type(error).__name__)
        self.failures += 1
        log.warning("ibkr.not_connected", login=self.address, attempt=self.failures, reason=self.why_down[1])
        if self.failures >= self.credentials.connect_retries:
            self.settled.set()

    async def _open(self) -> None:
        ib = self.ib = library.IB()
        ib.RaiseRequestErrors = True
        ib.client.MaxRequests = 0  # its throttle would send an order later than anybody asked for
        self._broken = asyncio.Event()
        self._listen(ib)
        self.on_open(ib)
        refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def note(message: str = "") -> None:
            if not refused.done():
                refused.set_result(self.why_down[1] if self.why_down[0] == "client_id_in_use" else message)

        ib.client.apiError += note
        self.why_down = ("connecting", "the connection is being opened")
        opening = asyncio.ensure_future(
            ib.client.connectAsync(
                self.address.rpartition(":")[0], self.credentials.port, self.credentials.client_id, CONNECT_SECONDS
            )
        )
        await asyncio.wait({opening, refused}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.TimeoutError):
                await opening
            code = "client_id_in_use" if self.why_down[0] == "client_id_in_use" else "not_connected"
            raise LinkDown(code, refused.result())
        opening.result()
        ib.wrapper.clientId = self.credentials.client_id
        ib.client.updateReqId(await self.first_order_id())
        self.account = self.books.account = self._choose_account(ib.client.getAccounts())
        ib.client.apiEnd += lambda: self._break("not_connected", "the gateway closed the connection")
        await self.refresh()
        await self.ask_positions()
        self.ready.set()
        self.settled.set()
        self.on_ready()
        log.info("ibkr.connected", login=self.address, version=ib.client.serverVersion())

    def _choose_account(self, accounts: list[str]) -> str:
        wanted = self.credentials.account
        if wanted and wanted not in accounts:
            raise LinkDown("no_such_account", f"the gateway does not manage the account {wanted}")
        if not wanted and len(accounts) != 1:
            raise LinkDown("which_account", "the gateway manages several accounts: name one in the credentials")
        return wanted or accounts[0]

    def _listen(self, ib: Any) -> None:
        """Hear what the wire says before the library makes something of it."""
        sinks: dict[str, Callable[..., None]] = {
            "openOrder": self.books.open_order,
            "completedOrder": self.books.completed_order,
            "orderStatus": self.books.order_status,
            "execDetails": self.books.execution,
            "commissionReport": self.books.commission,
            "position": lambda account, contract, quantity, cost: self.positions.append(
                (account, contract, quantity, cost)
            ),
            "accountSummary": lambda _, account, tag, value, currency: self.summary.append(
                (account, tag, value, currency)
            ),
            "error": self._hear_error,
        }
        for name, sink in sinks.items():
            setattr(ib.wrapper, name, _tee(sink, getattr(ib.wrapper, name)))

    def _hear_error(self, request_id: int, code: int, message: str, *_: Any) -> None:
        if code == codes.CLIENT_ID_IN_USE:
            self.why_down = ("client_id_in_use", message)
        elif code in codes.DOWN:
            self.why_down = ("connectivity_lost", f"{code}: {message}")
            self.ready.clear()
            log.warning("ibkr.connectivity_lost", login=self.address, code=code)
        elif code in codes.UP_AGAIN:
            log.info("ibkr.connectivity_restored", login=self.address, code=code)
            if code == codes.RESTORED_DATA_LOST:
                self.on_data_lost()
            self._resynchronise()
        self.on_error(request_id, code, message)

    def _resynchronise(self) -> None:
        async def again() -> None:
            try:
                await self.refresh()
                await self.ask_positions()
            except (LinkDown, RequestFailed) as error:
                self._break("not_connected", f"it could not be brought up to date: {error}")
            else:
                self.ready.set()
                self.on_ready()

        self._task = asyncio.get_running_loop().create_task(again())

    def _break(self, code: str, message: str) -> None:
        self.why_down = (code, message)
        self.ready.clear()
        self._broken.set()

    async def _watch(self) -> None:
        """Return when the connection is broken, or has not answered a simple question."""
        while not self._broken.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._broken.wait(), QUIET_SECONDS)
            if self._broken.is_set():
                break
            try:
                await self.ask(lambda ib: ib.reqCurrentTimeAsync(), "the time")
            except LinkDown:
                self._break("half_open", "the gateway does not answer any more")
        log.warning("ibkr.disconnected", login=self.address, reason=self.why_down[1])

    def _close(self) -> None:
        if self.ib is not None:
            self.ib.client.apiEnd.clear()
            if self.ib.client.conn.isConnected():
                self.ib.client.conn.transport.abort()  # a goodbye would wait for one who does not listen
            self.ib.client.disconnect()

    async def ask(self, question: Callable[[Any], Awaitable[T]], what: str) -> T:
        """An answer, or `LinkDown` when it does not come in time: never an empty one. Raises `RequestFailed`."""
        await self.turn()
        try:
            return await asyncio.wait_for(question(self.ib), self.credentials.request_seconds)
        except TimeoutError:
            raise LinkDown("no_answer", f"the gateway did not tell {what} in time") from None
        except ConnectionError as error:
            raise LinkDown("not_connected", f"the connection broke before {what} was told") from error
        except library.RequestError as error:
            raise RequestFailed(error.code, error.message) from error

    async def turn(self) -> None:
        """Wait until another question may be sent."""
        while not self._has_room(QUESTIONS_A_SECOND):
            await asyncio.sleep(0.02)
        self.note_sent()

    def take_order_slot(self) -> bool:
        """Whether an order may be sent at once; it is counted."""
        has_room = self._has_room(ORDERS_A_SECOND)
        if has_room:
            self.note_sent()
        return has_room

    def _has_room(self, rate: int) -> bool:
        now = asyncio.get_running_loop().time()
        while self._sent_at and now - self._sent_at[0] > 1.05:
            self._sent_at.popleft()
        return len(self._sent_at) < rate

    def note_sent(self) -> None:
        """Count a message; those that end something do not wait for their turn, and count all the same."""
        self._sent_at.append(asyncio.get_running_loop().time())

    async def refresh(self) -> None:
        """Learn all open orders, all that have ended today and all executions of today, in this order.

        An order that ends in between is in one of the lists at least. Raises `LinkDown` unless all came whole.
        """
        async with self._busy:
            self.books.shown_open.clear()
            self.books.shown_ended.clear()
            await self.ask(lambda ib: ib.reqAllOpenOrdersAsync(), "the open orders")
            still_open = set(self.books.shown_open)
            await self.ask(lambda ib: ib.reqCompletedOrdersAsync(False), "the completed orders")
            await self.ask(lambda ib: ib.reqExecutionsAsync(), "the executions")
            self.books.shown_open |= still_open
            self.books.forget_what_is_long_over()

    async def ask_positions(self) -> list[Any]:
        """All positions: tuples of account, contract, quantity and average cost."""
        async with self._busy:
            self.positions.clear()
            await self.ask(lambda ib: ib.reqPositionsAsync(), "the positions")
            latest = {(account, contract.conId): (account, contract, quantity, cost)
                      for account, contract, quantity, cost in self.positions}  # fmt: skip
            self.positions.clear()
            return list(latest.values())

    async def ask_summary(self) -> list[tuple[str, str, str, str]]:
        """The account's figures: tuples of account, tag, value and currency."""
        async with self._busy:
            self.summary.clear()
            numbers: list[int] = []

            def question(ib: Any) -> Awaitable[None]:
                numbers.append(ib.client.getReqId())
                answer: Awaitable[None] = ib.wrapper.startReq(numbers[0])
                ib.client.reqAccountSummary(numbers[0], "All", "TotalCashValue,NetLiquidation,AvailableFunds")
                return answer

            try:
                await self.ask(question, "the account")
                return list(self.summary)
            finally:
                with contextlib.suppress(ConnectionError):  # it ends with its connection
                    if numbers:
                        self.note_sent()
                        self.ib.client.cancelAccountSummary(numbers[0])


def _tee(sink: Callable[..., None], then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        sink(*arguments)
        return then(*arguments)

    return both
