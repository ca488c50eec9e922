"""Nothing is traded while the market is closed."""

from collections.abc import Collection
from datetime import date

from trading.core.hours import Hours
from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MARKET_HOURS"
ALSO = ("QT_MARKET_HOLIDAYS",)


def check(proposal: Proposal, book: Book, sessions: Collection[Hours], holidays: Collection[date]) -> Breach | None:
    """Refuse every order outside any of ``sessions``, the platform's and the client's own; none: always open."""
    if not sessions:
        return None
    named = " and ".join(str(session) for session in sessions)
    if book.now is None:
        return Breach(named, "unknown", "the time is not known, so that the market cannot be known to be open")
    if all(session.is_open(book.now, holidays) for session in sessions):
        return None
    return Breach(named, f"{book.now:%a %Y-%m-%d %H:%M} UTC", f"the market is closed; it is open {named}")
