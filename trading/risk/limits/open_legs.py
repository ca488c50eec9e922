"""No more different symbols may be held or under way than this."""

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MAX_OPEN_LEGS"


def check(proposal: Proposal, book: Book, limit: int) -> Breach | None:
    """Refuse an order in a symbol that is not held or under way where there are ``limit`` of them; 0: no limit."""
    legs = book.symbols()
    after = len(legs | {proposal.symbol})
    if limit <= 0 or proposal.symbol in legs or after <= limit:
        return None
    return Breach(f"{limit}", f"{after}", f"{proposal.symbol} would be open leg {after}, and there may be {limit}")


def use(book: Book, limit: int) -> int:
    """How many there are."""
    return len(book.symbols())
