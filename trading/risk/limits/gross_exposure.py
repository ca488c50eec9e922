"""All positions together may not come to be worth more than this."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, Proposal, outdated

LIMIT = "QT_MAX_GROSS_EXPOSURE"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order that may bring the sum of all positions' sizes above ``limit`` (currency); 0: no limit."""
    if limit <= 0 or book.is_closed_by(proposal):
        return None
    if (unknown := outdated(proposal, book, limit)) is not None:
        return unknown
    others = sum((book.projected(symbol) for symbol in book.symbols() - {proposal.symbol}), Decimal(0))
    after = others + book.projected(proposal.symbol, proposal.signed_quantity)
    if after <= limit:
        return None
    return Breach(str(limit), f"{after:.2f}", f"the gross exposure would come to {after:.2f}, more than {limit}")


def use(book: Book, limit: Decimal) -> Decimal:
    """The sum of all positions' sizes (currency), at the worst that orders under way may do."""
    return sum((book.projected(symbol) for symbol in book.symbols()), Decimal(0))
