"""After some large losses in a row nothing may be opened until an operator resets the guard; closing is allowed."""

from decimal import Decimal
from itertools import groupby, takewhile

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_BREAKER_LOSSES"
ALSO = ("QT_BREAKER_LOSS",)


def check(proposal: Proposal, book: Book, losses: int, loss: Decimal) -> Breach | None:
    """Refuse what adds to a position once ``losses`` orders in a row have each lost more than ``loss``; 0: no limit."""
    if losses <= 0 or book.is_closed_by(proposal):
        return None
    if book.tripped_at is None and not trips(book, losses, loss):
        return None
    since = "" if book.tripped_at is None else f", at {book.tripped_at:%Y-%m-%d %H:%M} UTC"
    return Breach(
        f"{losses}",
        f"{max(_longest(book, loss), losses)}",
        f"the circuit breaker is open: {losses} orders in a row lost more than {loss}{since}; an operator resets it",
    )


def trips(book: Book, losses: int, loss: Decimal) -> bool:
    """Whether that many in a row are among the last results; stays so, as later profits do not undo them."""
    return 0 < losses <= _longest(book, loss)


def use(book: Book, losses: int, loss: Decimal) -> int:
    """How many of the newest results in a row are such losses; once the breaker is open, all of them."""
    streak = sum(1 for _ in takewhile(lambda result: -result > loss, book.results))
    return streak if book.tripped_at is None else max(streak, losses)


def _longest(book: Book, loss: Decimal) -> int:
    runs = groupby(book.results, lambda result: -result > loss)
    return max((sum(1 for _ in run) for is_loss, run in runs if is_loss), default=0)
