"""A price far from the one before is taken for wrong."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MAX_PRICE_MOVE_PCT"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order at a price more than ``limit`` per cent from the close before, or without a sane price."""
    if proposal.price <= 0 or proposal.previous_price <= 0:
        return Breach(str(limit), str(proposal.price), f"there is no sane price for {proposal.symbol}")
    move = abs(proposal.price / proposal.previous_price - 1) * 100
    if move <= limit:
        return None
    return Breach(
        str(limit),
        f"{move:.2f}",
        f"{proposal.symbol} has moved {move:.2f} % since the close before, more than {limit} %",
    )
