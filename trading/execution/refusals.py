"""What bars an order before its limits are looked at: a difference with the venue, no price of the venue."""

from trading.brokers.base import Side
from trading.brokers.instruments import Quote
from trading.brokers.registry import is_simulated
from trading.execution.differences import blocking
from trading.execution.models import Order
from trading.risk.limits import Breach
from trading.risk.services import Refusal


def unexplained(order: Order) -> Refusal | None:
    """The refusal of an order in whose symbol the venue and we differ."""
    found = blocking(order.client_id, order.broker, order.symbol, Side(order.side))
    if found is None:
        return None
    message = f"{found}: ours {found.ours}, the venue's {found.theirs}; nothing is sent until this is explained"
    return Refusal("reconciliation", Breach(found.ours, found.theirs, message))


def unquoted(order: Order, quote: Quote | None) -> Refusal | None:
    """The refusal of an order that can move money and whose venue does not say what it would trade at now.

    Whatever `QT_MAX_SPREAD_PCT` is: its size and its limits would follow from a close that may be weeks old.
    """
    if is_simulated(order.broker) or (quote is not None and quote.middle is not None):
        return None
    shown = "none" if quote is None else f"{quote.bid} / {quote.ask}"
    message = (
        f"{order.broker} quotes no bid and ask of {order.symbol} ({shown}), and no money moves at an older price: try"
        " again while it trades, or see at the venue whether it still does and whether the account may see its prices"
    )
    return Refusal("quote", Breach("a bid and an ask", shown, message))
