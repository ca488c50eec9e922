"""A session as a worker has it: each call goes to the process that holds the login."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import redis
from django.db import connection
from pydantic import TypeAdapter

from trading.brokers.adapters.ibkr import channel, forms
from trading.brokers.adapters.ibkr.login import NAME, QUIET_SECONDS, IbkrCredentials, dumped, key_of
from trading.brokers.base import (
    AccountFill,
    Balance,
    Broker,
    BrokerUnavailable,
    Capabilities,
    Holding,
    OrderReport,
    Ticket,
)
from trading.brokers.instruments import Instrument, OptionChain, Quote

START_SECONDS: Final = 30.0
BEGIN_SECONDS: Final = 5.0
"""An order that has not been begun by then is not sent any more."""
STREAM_SECONDS: Final = 15
SHOWN_SECONDS: Final = 10.0
"""A gateway that has read an order lists it as open at once; this is for one that is slow to read."""


class IbkrBroker(Broker):
    """One client's session. The connection itself is elsewhere and outlives it.

    The venue keeps our ids and tells them, but takes the same id twice; that an id is sent once only is the work of the
    process, which writes it down before. So the capability is stated for the two together.
    """

    name = NAME
    lot = Decimal(1)
    capabilities = Capabilities(
        deduplicates_client_ids=True,
        queries_by_client_id=True,
        replaces=True,
        streams=True,
        option_chains=True,
        greeks=True,
        rests_orders=True,
        sells_short=True,
    )

    def __init__(self, client_id: UUID, credentials: IbkrCredentials) -> None:
        self._client_id = client_id
        self._credentials = credentials
        self._login = key_of(client_id, credentials)
        self._caller = uuid4().hex
        self._currency: str | None = None
        # What was handed to a connection reaches the gateway before it is given up, or not at all.
        horizon = timedelta(seconds=QUIET_SECONDS + credentials.request_seconds + SHOWN_SECONDS)
        self.capabilities = replace(self.capabilities, booking_horizon=horizon)

    @property
    def currency(self) -> str:  # type: ignore[override]  # the account says
        """The base currency of the account."""
        if self._currency is None:
            self._currency = str(self._ask("currency"))
        return self._currency

    def place(self, ticket: Ticket) -> OrderReport:
        """Send an order once. The same id again is answered with what became of the first."""
        self._not_in_a_transaction()
        return self._change(forms.REPORT, "place", ticket.send_by, ticket=forms.plain(forms.TICKET, ticket))

    def cancel(self, client_order_id: str, *, symbol: str) -> OrderReport:
        """Cancel what is left of an order that this login has sent."""
        self._not_in_a_transaction()
        return self._change(forms.REPORT, "cancel", None, client_order_id=client_order_id)

    def replace(self, client_order_id: str, ticket: Ticket) -> OrderReport:
        """Cancel an order, and send the new one when the venue has confirmed that."""
        self._not_in_a_transaction()
        plain = forms.plain(forms.TICKET, ticket)
        return self._change(forms.REPORT, "replace", ticket.send_by, client_order_id=client_order_id, ticket=plain)

    def order(self, client_order_id: str, *, symbol: str) -> OrderReport | None:
        """The order of that id among those that the venue shows: open ones, and those that have ended today.

        Fails with ``out_of_reach`` for an order of ours from an earlier day, of which the venue shows nothing.
        """
        return forms.FOUND.validate_python(self._ask("order", client_order_id=client_order_id))

    def open_orders(self) -> tuple[OrderReport, ...]:
        """All open orders of the account, also those given by hand; those have an empty id."""
        return forms.REPORTS.validate_python(self._ask("open_orders"))

    def fills(self, since: datetime, *, symbols: Sequence[str]) -> tuple[AccountFill, ...]:
        """Executions of any symbol. The venue tells those of the current day in New York: earlier, ``out_of_reach``."""
        return forms.FILLS.validate_python(self._ask("fills", since=forms.plain(forms.TIME, since)))

    def positions(self) -> tuple[Holding, ...]:
        """What the account holds; the cost is per unit of the underlying."""
        return forms.HOLDINGS.validate_python(self._ask("positions"))

    def balances(self) -> tuple[Balance, ...]:
        """The cash in the account's base currency."""
        return forms.BALANCES.validate_python(self._ask("balances"))

    def instrument(self, symbol: str) -> Instrument:
        """The contract that ``symbol`` means."""
        return forms.INSTRUMENT.validate_python(self._ask("instrument", symbol=symbol))

    def quote(self, symbol: str) -> Quote:
        """Prices, and an option's greeks as the venue's model has them now."""
        return forms.QUOTE.validate_python(self._ask("quote", symbol=symbol))

    def chain(self, underlying: str, *, expiry: date | None = None) -> OptionChain:
        """The options of one expiry; those far from the money come without prices and greeks."""
        arguments = {"underlying": underlying, "expiry": forms.plain(forms.DAY, expiry)}
        return forms.CHAIN.validate_python(self._ask("chain", **arguments))

    def bars(self, symbol: str, *, end: datetime, span: str, size: str) -> tuple[forms.Bar, ...]:
        """History up to ``end``: ``span`` such as ``5 D``, ``size`` such as ``1 hour``, under the venue's pacing rules.

        Raises `BrokerUnavailable` with ``pacing`` and a ``retry_after`` when a rule would be broken.
        """
        arguments = {"symbol": symbol, "end": forms.plain(forms.TIME, end), "span": span, "size": size}
        return forms.BARS.validate_python(self._ask("bars", **arguments))

    def stream(self, symbols: Sequence[str]) -> Iterator[Quote]:
        """Quotes of ``symbols`` whenever one changes; raises `BrokerUnavailable` when the line breaks."""
        number = str(self._ask("stream", symbols=list(symbols)))
        return self._listen(channel.Keys(self._login).stream(number))

    def _listen(self, key: str) -> Generator[Quote, None, None]:
        """The stream's list is emptied as it is read; that somebody reads is told by a key of its own."""
        wanted = f"{key}:wanted"
        try:
            while True:
                channel.client().set(wanted, 1, ex=STREAM_SECONDS)
                found = channel.client().blpop([key], timeout=STREAM_SECONDS / 3)
                if found is not None:
                    yield forms.QUOTE.validate_python(
                        channel.opened(channel.unpack(found[1]), broker=self.name, operation="stream")
                    )
                elif not channel.is_alive(self._login):
                    raise self._unavailable("stream", "no_process", "The process of this login has ended.")
        except redis.RedisError:
            raise self._unavailable("stream", "no_redis", "Redis was not reached.") from None
        finally:
            channel.client().delete(wanted)

    def _unavailable(self, operation: str, code: str, message: str) -> BrokerUnavailable:
        return BrokerUnavailable(message, broker=self.name, operation=operation, code=code)

    def _not_in_a_transaction(self) -> None:
        if connection.in_atomic_block:
            raise RuntimeError("an order must not be sent inside a transaction: its rollback would forget it")

    def _change(
        self, form: TypeAdapter[OrderReport], operation: str, send_by: datetime | None, **arguments: Any
    ) -> OrderReport:
        return form.validate_python(self._call(operation, arguments, send_by, changes=True))

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return self._call(operation, arguments, None, changes=False)

    def _call(self, operation: str, arguments: dict[str, Any], send_by: datetime | None, *, changes: bool) -> Any:
        try:
            self._have_process(operation)
            begin = BEGIN_SECONDS
            if send_by is not None:
                begin = min(begin, (send_by - datetime.now(UTC)).total_seconds())
                if begin <= 0:
                    raise self._unavailable(operation, "too_late", "The time to send this order is over.")
            return channel.call(
                self._login,
                operation,
                arguments,
                begin=begin,
                answer=self._answer_seconds,
                changes=changes,
                broker=self.name,
            )
        finally:
            with suppress(redis.RedisError):  # it runs out by itself
                channel.settle(self._login, str(self._client_id), self._caller)

    @property
    def _answer_seconds(self) -> float:
        return self._credentials.request_seconds * 5 + 5

    def _have_process(self, operation: str) -> None:
        """Wait until a process serves this login; raises `BrokerUnavailable` when none does in time.

        Who has to wait keeps the place until its question is answered: the reconciliation of the stored login, which
        comes each minute, would otherwise end the process of one that is being tried.
        """
        client_id = str(self._client_id)
        try:
            if not channel.is_alive(self._login):
                longest = START_SECONDS + BEGIN_SECONDS + self._answer_seconds
                channel.claim(self._login, client_id, self._caller, seconds=longest)
            if not channel.want(self._login, client_id, dumped(self._credentials)):
                raise self._unavailable(
                    operation, "other_login", "Another login of this client is being opened; ask again in a minute."
                )
            deadline = time.monotonic() + START_SECONDS
            while not channel.is_alive(self._login):
                if time.monotonic() > deadline:
                    raise self._unavailable(
                        operation,
                        "no_process",
                        "No process serves this login: is `python -m workers.gateway` running?",
                    )
                time.sleep(0.05)
        except redis.RedisError:
            raise self._unavailable(operation, "no_redis", "Redis was not reached.") from None
