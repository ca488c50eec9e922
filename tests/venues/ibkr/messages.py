"""What the gateway says, field by field, for the versions of the API from 164 to 178."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from tests.venues.ibkr.contracts import Contract
from tests.venues.ibkr.records import Execution, Order
from tests.venues.ibkr.wire import UNSET_DOUBLE, Value, frame

EASTERN = ZoneInfo("US/Eastern")
MIN_VERSION, MAX_VERSION = 164, 178
ORDER_TYPES = "LMT,MKT,STP,STP LMT"


def local_time(time: datetime) -> str:
    """A time as a gateway in New York writes it."""
    return f"{time.astimezone(EASTERN):%Y%m%d %H:%M:%S} US/Eastern"


def _contract(contract: Contract, exchange: str = "", *, no_right: str = "") -> list[Value]:
    return [
        contract.con_id, contract.symbol, contract.sec_type, contract.expiry, contract.strike,
        contract.right or no_right, contract.multiplier, exchange or contract.exchange, contract.currency,
        contract.local_symbol, contract.trading_class,
    ]  # fmt: skip


def managed_accounts(accounts: Iterable[str]) -> bytes:
    """The accounts of the login."""
    return frame(15, 1, ",".join(accounts))


def next_valid_id(order_id: int) -> bytes:
    """The id that the client's next order may have."""
    return frame(9, 1, order_id)


def error(request_id: int, code: int, message: str, *, version: int) -> bytes:
    """An error, a warning or a notice; -1 stands for no request."""
    fields: list[Value] = [4, 2, request_id, code, message]
    return frame(*fields, "") if version >= 166 else frame(*fields)


def current_time(time: datetime) -> bytes:
    """The gateway's clock, in whole seconds."""
    return frame(49, 1, int(time.timestamp()))


def contract_details(request_id: int, contract: Contract, exchange: str) -> bytes:
    """One contract with its rules."""
    last_day = f"{contract.expiry} 16:00:00 US/Eastern" if contract.expiry else ""
    month = contract.expiry[:6]
    venues = "SMART," + contract.exchange if contract.smart else contract.exchange
    return frame(
        10, request_id, contract.symbol, contract.sec_type, last_day, contract.strike, contract.right, exchange,
        contract.currency, contract.local_symbol, contract.trading_class, contract.trading_class, contract.con_id,
        contract.min_tick, contract.multiplier, ORDER_TYPES, venues, 1, contract.under_con_id, contract.long_name,
        contract.primary_exchange, month, "", "", "", "US/Eastern", "", "", "", "", 0, 1, contract.under_symbol,
        contract.under_sec_type, ",".join("26" for _ in venues.split(",")), contract.expiry,
        "COMMON" if contract.sec_type == "STK" else "", 1, 1, 1,
    )  # fmt: skip


def symbol_samples(request_id: int, contracts: Sequence[Contract], *, version: int) -> bytes:
    """Answers to a search by name."""
    fields: list[Value] = [79, request_id, len(contracts)]
    for contract in contracts:
        derived = ["OPT"] if contract.sec_type == "STK" else ["FOP"]
        listed = contract.primary_exchange or contract.exchange
        fields += [contract.con_id, contract.symbol, contract.sec_type, listed, contract.currency]
        fields += [len(derived), *derived]
        if version >= 176:
            fields += [contract.long_name, ""]
    return frame(*fields)


def option_parameters(
    request_id: int, exchange: str, under: int, trading_class: str, multiplier: str,
    expiries: Sequence[str], strikes: Sequence[Decimal],
) -> bytes:  # fmt: skip
    """Expiries and strikes of one class of options."""
    return frame(75, request_id, exchange, under, trading_class, multiplier,
                 len(expiries), *expiries, len(strikes), *strikes)  # fmt: skip


def market_rule(rule: int, tick: Decimal) -> bytes:
    """The price steps of a rule."""
    return frame(93, rule, 1, 0, tick)


def open_order(order: Order, contract: Contract, *, version: int) -> bytes:
    """An order as it stands."""
    nothing = UNSET_DOUBLE
    fields: list[Value] = [
        5, order.order_id, *_contract(contract, order.exchange, no_right="?"), order.action, order.quantity,
        order.order_type, order.limit_price or 0, order.stop_price or 0, order.tif, order.oca_group, order.account,
        "", 0, order.order_ref, order.client_id, order.perm_id, order.outside_rth, 0, 0, "", "", "", "", "",
    ]  # fmt: skip
    if version < 177:
        fields += [""]
    fields += ["", order.good_till, "", nothing, "", 0, "", -1, 0, nothing, nothing, nothing, nothing, nothing, 0]
    fields += [0, 0, 0, "2147483647", order.oca_type, 0, 0, nothing, order.parent_id, 0, nothing, 0]
    fields += ["None", nothing, 0, "", "", "", "?", 0, 0, ""]  # no delta-neutral order
    fields += [0, 0, nothing, nothing, nothing, "2147483647", "", 0, 0, 0]  # no legs
    fields += ["2147483647", "2147483647", nothing, "", 0, "", "IB", 0, 0, "", 0, order.what_if]
    fields += [order.status, *_margins(order), "", 0, 0, 0]
    fields += ["None", nothing, nothing, nothing, nothing, nothing, nothing, 0, "", "", "", "0", 0, 0, 0, 0]
    if version >= 159:
        fields += ["2147483647"]
    if version >= 160:
        fields += ["2147483647"]
    if version >= 162:
        fields += [0]
    if version >= 170:
        fields += ["2147483647", "2147483647", nothing, nothing, nothing]
    return frame(*fields)


def _margins(order: Order) -> list[Value]:
    """Margins before, by and after the order, and its commission: told for a trial only."""
    if not order.what_if:
        return [UNSET_DOUBLE] * 12 + [""]
    worth = (order.limit_price or Decimal(0)) * order.quantity
    return [0, 0, 1_000_000, worth, worth, 0, worth, worth, 1_000_000, Decimal(1), Decimal(1), Decimal(1), "USD"]


def open_order_end() -> bytes:
    """All open orders were told."""
    return frame(53, 1)


def order_status(order: Order) -> bytes:
    """How far an order has come."""
    return frame(
        3, order.order_id, order.status, order.filled, order.quantity - order.filled, order.average_price,
        order.perm_id, order.parent_id, order.last_price, order.client_id, "", 0,
    )  # fmt: skip


def completed_order(order: Order, contract: Contract, *, version: int) -> bytes:
    """An order that is over. Neither its id nor its client's is told."""
    nothing = UNSET_DOUBLE
    fields: list[Value] = [
        101, *_contract(contract, order.exchange, no_right="?"), order.action, order.quantity, order.order_type,
        order.limit_price or 0, order.stop_price or 0, order.tif, order.oca_group, order.account, "", 0,
        order.order_ref, order.perm_id, order.outside_rth, 0, 0, "", "", "", "",
    ]  # fmt: skip
    if version < 177:
        fields += [""]
    fields += ["", order.good_till, "", nothing, "", 0, "", -1, nothing, nothing, nothing, nothing, nothing]
    fields += ["2147483647", 0, 0, "2147483647", order.oca_type, 0, nothing, 0]
    fields += ["None", nothing, 0, 0, 0, ""]
    fields += [0, 0, nothing, nothing, "", 0, 0, 0]
    fields += ["2147483647", "2147483647", nothing, "", "", "IB", 0, 0, "", 0, order.status, 0, 0, 0]
    fields += [nothing, nothing, nothing, 0, 0, "", order.filled, 0, 0, "Not an insider or substantial shareholder",
               0, 0, 0, local_time(order.changed_at), order.reason or order.status]  # fmt: skip
    if version >= 170:
        fields += ["2147483647", "2147483647", nothing, nothing, nothing]
    return frame(*fields)


def completed_orders_end() -> bytes:
    """All completed orders were told."""
    return frame(102)


def execution(request_id: int, done: Execution, order: Order, contract: Contract, *, version: int) -> bytes:
    """A part of an order that was traded."""
    fields: list[Value] = [
        11, request_id, order.order_id, *_contract(contract, order.exchange), done.exec_id, local_time(done.time),
        order.account, contract.exchange, "BOT" if order.action == "BUY" else "SLD", done.quantity, done.price,
        order.perm_id, order.client_id, 0, done.cumulative, done.average_price, order.order_ref, "", "", "", 2,
    ]  # fmt: skip
    return frame(*fields, 0) if version >= 178 else frame(*fields)


def executions_end(request_id: int) -> bytes:
    """All executions were told."""
    return frame(55, 1, request_id)


def commission(exec_id: str, amount: Decimal | None, currency: str) -> bytes:
    """What an execution cost; the largest double while that is not known."""
    return frame(59, 1, exec_id, UNSET_DOUBLE if amount is None else amount, currency, UNSET_DOUBLE, UNSET_DOUBLE, "")


def position(account: str, contract: Contract, quantity: Decimal, average_cost: Decimal) -> bytes:
    """What an account holds of a contract; the cost is of one contract, its multiplier included."""
    return frame(61, 3, account, *_contract(contract), quantity, average_cost)


def position_end() -> bytes:
    """All positions were told."""
    return frame(62, 1)


def portfolio(account: str, contract: Contract, quantity: Decimal, price: Decimal, average_cost: Decimal) -> bytes:
    """A position with its value."""
    value = quantity * price * contract.size
    return frame(7, 8, *_contract(contract, contract.primary_exchange), quantity, price, value, average_cost,
                 value - quantity * average_cost, 0, account)  # fmt: skip


def account_value(tag: str, value: str, currency: str, account: str) -> bytes:
    """One figure of an account."""
    return frame(6, 2, tag, value, currency, account)


def account_download_end(account: str) -> bytes:
    """All figures were told."""
    return frame(54, 1, account)


def account_update_time(time: datetime) -> bytes:
    """When the figures are from."""
    return frame(8, 1, f"{time.astimezone(EASTERN):%H:%M}")


def account_update_multi(request_id: int, account: str, tag: str, value: str, currency: str) -> bytes:
    """One figure of one of several accounts."""
    return frame(73, 1, request_id, account, "", tag, value, currency)


def account_update_multi_end(request_id: int) -> bytes:
    """All figures were told."""
    return frame(74, 1, request_id)


def account_summary(request_id: int, account: str, tag: str, value: str, currency: str) -> bytes:
    """One figure of a summary."""
    return frame(63, 1, request_id, account, tag, value, currency)


def account_summary_end(request_id: int) -> bytes:
    """The summary is complete."""
    return frame(64, 1, request_id)


def market_data_type(request_id: int, kind: int) -> bytes:
    """1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""
    return frame(58, 1, request_id, kind)


def tick_parameters(request_id: int, contract: Contract) -> bytes:
    """The price step of a subscription."""
    return frame(81, request_id, contract.min_tick, "9c0001", 3)


def tick_price(request_id: int, kind: int, price: Decimal | float, size: Decimal | int) -> bytes:
    """A price and its size."""
    return frame(1, 6, request_id, kind, price, size, 0)


def tick_size(request_id: int, kind: int, size: Decimal | int) -> bytes:
    """A size alone."""
    return frame(2, 6, request_id, kind, size)


def tick_string(request_id: int, kind: int, value: str) -> bytes:
    """A text, such as the time of the last trade."""
    return frame(46, 6, request_id, kind, value)


def tick_option(request_id: int, kind: int, figures: Sequence[float]) -> bytes:
    """Implied volatility, delta, price, dividends, gamma, vega, theta, underlying: -1 or -2 where there is none."""
    return frame(21, request_id, kind, 1, *figures)


def snapshot_end(request_id: int) -> bytes:
    """A snapshot is complete."""
    return frame(57, 1, request_id)


def historical_data(request_id: int, start: datetime, end: datetime, bars: Sequence[Sequence[Value]]) -> bytes:
    """Bars of time, open, high, low, close, volume, average and count."""
    fields: list[Value] = [17, request_id, local_time(start), local_time(end), len(bars)]
    for bar in bars:
        fields += bar
    return frame(*fields)


def head_timestamp(request_id: int, time: datetime) -> bytes:
    """The first time for which there is data."""
    return frame(88, request_id, int(time.timestamp()))


def plain_end(kind: int, request_id: int, *, with_version: bool = True) -> bytes:
    """The end of an answer that needs no more than its number."""
    return frame(kind, 1, request_id) if with_version else frame(kind, request_id)
