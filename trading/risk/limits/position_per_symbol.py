"""No position may come to be worth more than this."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MAX_POSITION_PER_SYMBOL"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order that may bring its symbol's position above ``limit`` (currency); not positive: no limit."""
    if limit <= 0:
        return None
    after = book.projected(proposal.symbol, proposal.signed_quantity)
    if after <= limit or book.is_closed_by(proposal):
        return None
    return Breach(
        str(limit), f"{after:.2f}", f"the position in {proposal.symbol} would come to {after:.2f}, more than {limit}"
    )


def use(book: Book, limit: Decimal) -> Decimal:
    """The largest position's size (currency), at the worst that orders under way may do."""
    return max((book.projected(symbol) for symbol in book.symbols()), default=Decimal(0))
