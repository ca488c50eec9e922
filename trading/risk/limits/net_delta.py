"""What the account gains or loses by the market's direction may not come to more than this, either way."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, DeltaUnknown, Proposal, outdated

LIMIT = "QT_MAX_NET_DELTA"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order that may bring the net delta further than ``limit`` (currency) from 0; 0: no limit.

    Net delta is the sum of quantity x multiplier x delta x the underlying's price. A hedge passes also above the limit:
    an order after which the net delta is nearer to 0 than before, whatever of the orders under way is filled.
    """
    if limit <= 0:
        return None
    if (unknown := outdated(proposal, book, limit)) is not None:
        return unknown
    try:
        least, greatest = book.net_delta()
    except DeltaUnknown as error:
        if error.symbol in book.outdated and book.is_closed_by(proposal):
            return None  # no candle: else nothing could be closed until there is one
        return Breach(f"{limit}", "unknown", f"{error}, so that the net delta is not")
    if proposal.unit_delta is None:
        return Breach(f"{limit}", "unknown", f"the delta of {proposal.symbol} is not known")
    change = proposal.signed_quantity * proposal.unit_delta
    if change == 0:
        return None
    # Seen from the side that it moves to: how far it may get there, and where it begins at the least favourable.
    nearest = least if change < 0 else -greatest
    after = nearest - abs(change)
    if after >= -limit or nearest >= abs(change) / 2:
        return None
    shown = after if change < 0 else -after
    return Breach(
        f"{limit}", f"{shown:.2f}", f"the net delta may come to {shown:.2f}, further from 0 than {limit}, by no hedge"
    )


def use(book: Book, limit: Decimal) -> Decimal:
    """The net delta's distance from 0, at the worst that orders under way may do."""
    least, greatest = book.net_delta()
    return max(abs(least), abs(greatest))
