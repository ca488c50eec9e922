"""Reading an order as a client sends it."""

from decimal import Decimal

from tests.venues.ibkr.contracts import Query
from tests.venues.ibkr.records import Order
from tests.venues.ibkr.wire import Fields


def read_query(fields: Fields) -> Query:
    """A contract's twelve fields, as most requests carry them."""
    con_id, symbol, sec_type, expiry = fields.integer(), fields.text(), fields.text(), fields.text()
    strike, right, multiplier = fields.decimal(), fields.text(), fields.text()
    exchange, primary, currency = fields.text(), fields.text(), fields.text()
    del primary
    local_symbol, trading_class = fields.text(), fields.text()
    right = "" if right in ("0", "?") else right[:1]
    return Query(con_id, symbol, sec_type, expiry[:8], strike, right, multiplier, exchange, currency,
                 local_symbol, trading_class)  # fmt: skip


def read_order(fields: Fields, client_id: int, *, version: int) -> tuple[Order, Query]:
    """The order of a ``placeOrder`` message and the contract that it names, from the order's id on."""
    order_id = fields.integer()
    query = read_query(fields)
    fields.skip(2)  # kind and number of a security id
    action, quantity, order_type = fields.text(), fields.decimal(), fields.text()
    limit_price, stop_price, tif = fields.decimal(), fields.decimal(), fields.text()
    oca_group, account = fields.text(), fields.text()
    fields.skip(2)
    order_ref, transmit, parent_id = fields.text(), fields.boolean(), fields.integer()
    fields.skip(4)
    outside_rth = fields.boolean()
    fields.skip(1)
    if query.sec_type == "BAG":
        fields.skip(8 * fields.integer())
        fields.skip(fields.integer())
        fields.skip(2 * fields.integer())
    fields.skip(3)
    good_till = fields.text()
    fields.skip(3)
    if version < 177:
        fields.skip(1)
    fields.skip(4)
    oca_type = fields.integer()
    fields.skip(17)  # to what belongs to orders by volatility, which are not traded here
    delta_neutral = fields.text()
    fields.skip(9 if delta_neutral else 1)
    fields.skip(6)
    increment = fields.decimal()
    if increment is not None and increment > 0:
        fields.skip(7)
    fields.skip(3)
    if fields.text():
        fields.skip(1)
    fields.skip(4)
    if fields.boolean():
        fields.skip(3)
    if fields.text():
        fields.skip(2 * fields.integer())
    fields.skip(1)
    what_if = fields.boolean()
    order = Order(
        client_id=client_id,
        order_id=order_id,
        con_id=0,
        exchange=query.exchange,
        action=action,
        quantity=quantity if quantity is not None else Decimal(0),
        order_type=order_type,
        tif=tif or "DAY",
        account=account,
        order_ref=order_ref,
        limit_price=limit_price,
        stop_price=stop_price,
        oca_group=oca_group,
        oca_type=oca_type,
        parent_id=parent_id,
        outside_rth=outside_rth,
        good_till=good_till,
        transmit=transmit,
        what_if=what_if,
    )
    return order, query
