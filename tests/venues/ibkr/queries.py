"""Answers to everything that a client asks and that moves no money."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tests.venues.ibkr import messages
from tests.venues.ibkr.contracts import Contract
from tests.venues.ibkr.exchange import Refused
from tests.venues.ibkr.market import NO_FIGURES
from tests.venues.ibkr.orders import read_query
from tests.venues.ibkr.wire import Fields, frame

if TYPE_CHECKING:
    from tests.venues.ibkr.session import Session

NO_LIVE_DATA = {354: "Requested market data is not subscribed.",
                10168: "Requested market data is not subscribed. Delayed market data is not enabled.",
                10197: "No market data during competing live session",
                10167: "Requested market data is not subscribed. Displaying delayed market data.",
                10090: "Part of requested market data is not subscribed."}  # fmt: skip
ADVISORY = (10167, 10090)


@dataclass(frozen=True)
class Subscription:
    """A stream of a contract's prices; ``delayed`` ones come under numbers of their own."""

    contract: Contract
    delayed: bool
    fault: str = ""


def answer(session: "Session", kind: int, fields: Fields) -> None:
    """Answer the request that begins with ``kind``, unless a fault waits for it; what is not known is passed over."""
    if kind not in HANDLERS:
        return
    name, handler = HANDLERS[kind]
    fault = None if name in ("", "market_data") else session.gateway.faults.take(name)
    if fault is not None and fault.kind == "silent":
        return
    if fault is not None and fault.kind == "slow":
        session.gateway.later(float(fault.values.get("seconds", 0.5)), lambda: handler(session, fields))
        return
    if fault is not None and fault.kind == "garbage":
        session.send(frame("99999", "?"))
        return
    if fault is not None and fault.kind == "drop":
        session.drop()
        return
    if fault is not None:
        request_id = _request_id(kind, fields)
        session.error(request_id, int(fault.values["code"]), str(fault.values.get("message", "it failed")))
        return
    handler(session, fields)


def _request_id(kind: int, fields: Fields) -> int:
    if kind in (7, 9, 62, 76):  # their second field is a version
        fields.skip(1)
    return -1 if kind in (5, 16, 61, 99, 49, 6) else fields.integer()


def _open_orders(session: "Session", fields: Fields) -> None:
    _tell_open(session, everybody=False)


def _all_open_orders(session: "Session", fields: Fields) -> None:
    _tell_open(session, everybody=True)


def _tell_open(session: "Session", *, everybody: bool) -> None:
    gateway = session.gateway
    for order in gateway.ledger.orders(live=True):
        if everybody or order.client_id == session.client_id:
            contract = gateway.listing.by_id[order.con_id]
            session.send(messages.open_order(order, contract, version=session.version))
            session.send(messages.order_status(order))
    session.send(messages.open_order_end())


def _completed_orders(session: "Session", fields: Fields) -> None:
    gateway = session.gateway
    for order in gateway.ledger.orders(live=False):
        contract = gateway.listing.by_id[order.con_id]
        session.send(messages.completed_order(order, contract, version=session.version))
    session.send(messages.completed_orders_end())


def _executions(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    request_id, client_id = fields.integer(), fields.integer()
    account, since = fields.text(), fields.text()
    begin = None
    if since:
        begin = datetime.strptime(since[:17].replace("-", " "), "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo("UTC"))
    gateway = session.gateway
    for done in gateway.ledger.executions():
        order = gateway.ledger.by_perm_id(done.perm_id)
        if client_id not in (0, order.client_id) or account not in ("", order.account):
            continue
        if begin is not None and done.time < begin:
            continue
        contract = gateway.listing.by_id[order.con_id]
        session.send(messages.execution(request_id, done, order, contract, version=session.version))
        session.send(messages.commission(done.exec_id, done.commission, "USD"))
    session.send(messages.executions_end(request_id))


def _positions(session: "Session", fields: Fields) -> None:
    gateway = session.gateway
    for account in gateway.options.accounts:
        for con_id, quantity, cost in gateway.ledger.positions(account):
            session.send(messages.position(account, gateway.listing.by_id[con_id], quantity, cost))
    session.wants_positions = True
    session.send(messages.position_end())


def _cancel_positions(session: "Session", fields: Fields) -> None:
    session.wants_positions = False


def _account_updates(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    wanted, gateway = fields.boolean(), session.gateway
    account = fields.text() or gateway.account
    session.wants_account = account if wanted else ""
    if not wanted:
        return
    for tag, value, currency in gateway.figures_of(account):
        session.send(messages.account_value(tag, value, currency, account))
    for con_id, quantity, cost in gateway.ledger.positions(account):
        contract = gateway.listing.by_id[con_id]
        price = gateway.market.quote(contract, gateway.now()).last
        session.send(messages.portfolio(account, contract, quantity, price, cost))
    session.send(messages.account_update_time(gateway.now()))
    session.send(messages.account_download_end(account))


def _account_updates_multi(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    request_id, account = fields.integer(), fields.text()
    for tag, value, currency in session.gateway.figures_of(account or session.gateway.account):
        session.send(messages.account_update_multi(request_id, account, tag, value, currency))
    session.send(messages.account_update_multi_end(request_id))


def _summary(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    request_id, _, wanted = fields.integer(), fields.text(), fields.text().split(",")
    for account in session.gateway.options.accounts:
        for tag, value, currency in session.gateway.figures_of(account):
            if tag in wanted:
                session.send(messages.account_summary(request_id, account, tag, value, currency))
    session.send(messages.account_summary_end(request_id))


def _current_time(session: "Session", fields: Fields) -> None:
    session.send(messages.current_time(session.gateway.now()))


def _ids(session: "Session", fields: Fields) -> None:
    session.send(messages.next_valid_id(session.gateway.ledger.next_order_id(session.client_id or 0)))


def _accounts(session: "Session", fields: Fields) -> None:
    session.send(messages.managed_accounts(session.gateway.options.accounts))


def _contract_details(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    request_id = fields.integer()
    query = read_query(fields)
    found = session.gateway.listing.find(query)
    if not found:
        session.error(request_id, 200, "No security definition has been found for the request")
        return
    for contract in found:
        exchange = "SMART" if contract.smart and query.exchange in ("", "SMART") else contract.exchange
        session.send(messages.contract_details(request_id, contract, exchange))
    session.send(messages.plain_end(52, request_id))


def _chain(session: "Session", fields: Fields) -> None:
    request_id, _, exchange, _, con_id = (
        fields.integer(), fields.text(), fields.text(), fields.text(), fields.integer(),
    )  # fmt: skip
    options = session.gateway.listing.options_of(con_id)
    classes = sorted({(option.exchange, option.trading_class, option.multiplier) for option in options})
    for venue, trading_class, multiplier in classes:
        if exchange in ("", venue):
            members = [
                option for option in options if (option.exchange, option.trading_class) == (venue, trading_class)
            ]
            expiries = sorted({option.expiry for option in members})
            strikes = sorted({option.strike for option in members})
            for name in [venue, "SMART"] if members[0].smart else [venue]:
                session.send(messages.option_parameters(request_id, name, con_id, trading_class, multiplier,
                                                        expiries, strikes))  # fmt: skip
    session.send(messages.plain_end(76, request_id, with_version=False))


def _symbols(session: "Session", fields: Fields) -> None:
    request_id, pattern = fields.integer(), fields.text()
    session.send(messages.symbol_samples(request_id, session.gateway.listing.samples(pattern), version=session.version))


def _market_rule(session: "Session", fields: Fields) -> None:
    session.send(messages.market_rule(fields.integer(), Decimal("0.01")))


def _data_type(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    session.data_type = fields.integer()


def _market_data(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    request_id = fields.integer()
    query = read_query(fields)
    if fields.boolean():
        fields.skip(3)
    fields.skip(1)
    is_snapshot = fields.boolean()
    try:
        contract = session.gateway.exchange.contract_for(query)
    except Refused as refusal:
        session.error(request_id, refusal.code, refusal.message)
        return
    fault = session.gateway.faults.take("market_data")
    delayed = False
    if fault is not None and fault.kind == "silent":
        return
    if fault is not None and fault.kind == "error":
        code = int(fault.values["code"])
        session.error(request_id, code, NO_LIVE_DATA.get(code, "no data"))
        if code not in ADVISORY:
            return
        delayed = code == 10167
    subscription = Subscription(contract, delayed, "" if fault is None else fault.kind)
    session.send(messages.market_data_type(request_id, 3 if delayed else 1))
    session.send(messages.tick_parameters(request_id, contract))
    send_ticks(session, request_id, subscription, is_first=True)
    if is_snapshot:
        session.send(messages.snapshot_end(request_id))
    else:
        session.subscriptions[request_id] = subscription


def send_ticks(session: "Session", request_id: int, subscription: Subscription, *, is_first: bool = False) -> None:
    """Bid, ask, last and, of options, what the model says."""
    gateway, contract = session.gateway, subscription.contract
    quote = gateway.market.quote(contract, gateway.now())
    bid, ask, last, model = (66, 67, 68, 83) if subscription.delayed else (1, 2, 4, 13)
    session.send(messages.tick_price(request_id, bid, quote.bid, quote.size))
    session.send(messages.tick_price(request_id, ask, quote.ask, quote.size))
    session.send(messages.tick_price(request_id, last, quote.last, 1))
    session.send(messages.tick_string(request_id, 88 if subscription.delayed else 45,
                                      str(int(gateway.now().timestamp()))))  # fmt: skip
    has_model = subscription.fault != "no_greeks" and (is_first or subscription.fault != "greeks_once")
    if contract.is_option and has_model:
        figures = (
            NO_FIGURES if subscription.fault == "unset_greeks" else gateway.market.figures(contract, gateway.now())
        )
        session.send(messages.tick_option(request_id, model, figures))


def _cancel_market_data(session: "Session", fields: Fields) -> None:
    fields.skip(1)
    session.subscriptions.pop(fields.integer(), None)


def _history(session: "Session", fields: Fields) -> None:
    request_id = fields.integer()
    query = read_query(fields)
    fields.skip(1)
    end, size, span = fields.text(), fields.text(), fields.text()
    fields.skip(1)
    what = fields.text()
    failed = "Historical Market Data Service error message:"
    gateway = session.gateway
    try:
        contract = gateway.exchange.contract_for(query)
        key = (str(contract.con_id), end, size, span, what)
        now = gateway.now()
        if gateway.options.pacing.refuses(key, (str(contract.con_id), what), now.timestamp()):
            raise Refused(162, failed + "Historical data request pacing violation")
        until = _end_time(end) if end else now
        bars = gateway.market.bars(contract, until, span, size)
    except Refused as refusal:
        session.error(request_id, refusal.code, refusal.message)
    except ValueError as error:
        session.error(request_id, 321, f"Error validating request.-'bP' : cause - {error}")
    else:
        session.send(messages.historical_data(request_id, until - timedelta(days=1), until, bars))


def _end_time(text: str) -> datetime:
    """``20261121 10:00:00 UTC``, ``20261121-10:00:00`` (UTC) or without a zone (New York)."""
    if "-" in text:
        return datetime.strptime(text[:17], "%Y%m%d-%H:%M:%S").replace(tzinfo=ZoneInfo("UTC"))
    zone = text.split(" ", 2)[2] if text.count(" ") >= 2 else "US/Eastern"
    return datetime.strptime(text[:17], "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo(zone))


def _head(session: "Session", fields: Fields) -> None:
    session.send(messages.head_timestamp(fields.integer(), session.gateway.now() - timedelta(days=3650)))


def _pnl(session: "Session", fields: Fields) -> None:
    session.send(frame(94, fields.integer(), 0, 0, 0))


HANDLERS: dict[int, tuple[str, Callable[["Session", Fields], None]]] = {
    1: ("market_data", _market_data),
    2: ("", _cancel_market_data),
    5: ("open_orders", _open_orders),
    6: ("account_updates", _account_updates),
    7: ("executions", _executions),
    8: ("", _ids),
    9: ("contract", _contract_details),
    16: ("all_open_orders", _all_open_orders),
    17: ("", _accounts),
    20: ("history", _history),
    49: ("current_time", _current_time),
    59: ("", _data_type),
    61: ("positions", _positions),
    62: ("summary", _summary),
    64: ("", _cancel_positions),
    76: ("account_updates", _account_updates_multi),
    78: ("chain", _chain),
    81: ("symbols", _symbols),
    87: ("", _head),
    91: ("", _market_rule),
    92: ("", _pnl),
    99: ("completed_orders", _completed_orders),
}
