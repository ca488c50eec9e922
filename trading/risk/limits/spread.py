"""Where bid and ask are this far apart, or are not known, nothing is traded."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MAX_SPREAD_PCT"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order where (ask - bid) / mid is above ``limit`` per cent, or a side is missing; 0: no limit."""
    if limit <= 0:
        return None
    bid, ask = proposal.bid, proposal.ask
    if bid is None or ask is None or bid <= 0 or ask < bid:
        shown = f"{bid} / {ask}"
        return Breach(f"{limit}", shown, f"the quote of {proposal.symbol}, {shown}, has no sane bid and ask")
    spread = (ask - bid) / ((ask + bid) / 2) * 100
    if spread <= limit:
        return None
    return Breach(
        f"{limit}", f"{spread:.2f}", f"bid and ask of {proposal.symbol} are {spread:.2f} % apart, more than {limit} %"
    )
