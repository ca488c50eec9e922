"""One client's connection: the handshake, then its requests one by one."""

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING

from tests.venues.ibkr import messages, queries
from tests.venues.ibkr.orders import read_order
from tests.venues.ibkr.wire import Fields, Malformed, frame, read_frame

if TYPE_CHECKING:
    from tests.venues.ibkr.gateway import Gateway

FARMS = ((2104, "Market data farm connection is OK:usfarm"), (2106, "HMDS data farm connection is OK:ushmds"),
         (2158, "Sec-def data farm connection is OK:secdefil"))  # fmt: skip


class Session:
    """A connection. ``client_id`` is None until it has begun."""

    def __init__(self, gateway: "Gateway", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gateway = gateway
        self.version = 0
        self.client_id: int | None = None
        self.said_goodbye = False
        self.data_type = 1
        self.subscriptions: dict[int, queries.Subscription] = {}
        self.wants_positions = False
        self.wants_account = ""
        self._reader = reader
        self._writer = writer
        self._sent_at: deque[float] = deque()
        self._is_mute = False
        self._is_dropped = False

    async def run(self) -> None:
        """Shake hands and answer until the client leaves or breaks the rules."""
        try:
            if not await self._shake_hands():
                return
            while True:
                body = await read_frame(self._reader)
                while self.gateway.is_frozen:
                    await asyncio.sleep(0.02)
                if not self._is_mute:
                    self._answer(Fields.of(body))
                if self._writer.is_closing():
                    return
        except asyncio.IncompleteReadError as end:
            self.said_goodbye = not end.partial and not self._is_dropped
        except (ConnectionError, Malformed):
            return

    async def _shake_hands(self) -> bool:
        if await self._reader.readexactly(4) != b"API\0":
            raise Malformed("it does not begin with API")
        offer = re.fullmatch(rb"v(\d+)(?:\.\.(\d+))?(?: .*)?", await read_frame(self._reader))
        if offer is None:
            raise Malformed("no range of versions")
        lowest, highest = int(offer[1]), int(offer[2] or offer[1])
        self.version = min(highest, self.gateway.options.version)
        if self.version < max(lowest, messages.MIN_VERSION):
            return False
        fault = self.gateway.faults.take("connect")
        if fault is not None and fault.kind == "drop":
            return False
        if fault is not None and fault.kind == "mute":
            self._is_mute = True
            return True
        self.send(frame(self.version, messages.local_time(self.gateway.now())))
        begin = Fields.of(await read_frame(self._reader))
        if begin.integer() != 71:
            raise Malformed("it does not begin with startApi")
        begin.skip(1)
        client_id = begin.integer()
        if self.gateway.is_taken(client_id) or (fault is not None and fault.kind == "refuse"):
            self.error(-1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
            await self._writer.drain()
            return False
        self.client_id = client_id
        self.gateway.sessions[client_id] = self
        self.send(messages.managed_accounts(self.gateway.options.accounts))
        self.send(messages.next_valid_id(self.gateway.ledger.next_order_id(client_id)))
        for code, message in FARMS:
            self.error(-1, code, message)
        return True

    def send(self, data: bytes) -> None:
        """Say something, unless the connection is frozen or gone."""
        if not (self.gateway.is_frozen or self._is_mute or self._writer.is_closing()):
            self._writer.write(data)

    def error(self, request_id: int, code: int, message: str) -> None:
        """Say that something is wrong, or worth knowing."""
        self.send(messages.error(request_id, code, message, version=self.version))

    def drop(self) -> None:
        """Break the connection without a word."""
        self._is_dropped = True
        self._writer.transport.abort()

    def _answer(self, fields: Fields) -> None:
        now = asyncio.get_running_loop().time()
        while self._sent_at and now - self._sent_at[0] >= 1:
            self._sent_at.popleft()
        self._sent_at.append(now)
        if len(self._sent_at) > self.gateway.options.max_rate:
            self.error(-1, 100, "Max rate of messages per second has been exceeded")
            self._writer.close()
            return
        kind = fields.integer()
        if kind == 3:
            order, query = read_order(fields, self.client_id or 0, version=self.version)
            self.gateway.place(self, order, query)
        elif kind == 4:
            fields.skip(1)
            self.gateway.cancel(self, fields.integer())
        elif kind == 58:
            self.gateway.exchange.cancel_all()
        else:
            queries.answer(self, kind, fields)

    def tick(self, con_ids: set[int]) -> None:
        """Tell the prices of now to those subscriptions that are touched."""
        for request_id, subscription in list(self.subscriptions.items()):
            if subscription.contract.con_id in con_ids and subscription.fault != "stale":
                queries.send_ticks(self, request_id, subscription)

    def tell_position(self, account: str, con_id: int) -> None:
        """Tell what is held now, to those who asked to be told."""
        contract = self.gateway.listing.by_id[con_id]
        quantity, cost = self.gateway.ledger.position(account, con_id)
        if self.wants_positions:
            self.send(messages.position(account, contract, quantity, cost))
        if self.wants_account == account:
            price = self.gateway.market.quote(contract, self.gateway.now()).last
            self.send(messages.portfolio(account, contract, quantity, price, cost))
            for tag, value, currency in self.gateway.figures_of(account):
                self.send(messages.account_value(tag, value, currency, account))
