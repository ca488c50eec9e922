"""After this much realised loss in a day nothing may be opened; closing is allowed."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MAX_DAILY_LOSS"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order that adds to a position once today's realised loss has reached ``limit`` (currency)."""
    loss = max(-book.realised_today, Decimal(0))
    if loss < limit or book.is_closed_by(proposal):
        return None
    return Breach(str(limit), f"{loss:.2f}", f"today's realised loss is {loss:.2f}, and the day's limit {limit}")


def use(book: Book, limit: Decimal) -> Decimal:
    """Today's realised loss (currency)."""
    return max(-book.realised_today, Decimal(0))
