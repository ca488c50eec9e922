"""No single order may be worth more than this."""

from decimal import Decimal

from trading.risk.limits import Book, Breach, Proposal

LIMIT = "QT_MAX_NOTIONAL_PER_TRADE"


def check(proposal: Proposal, book: Book, limit: Decimal) -> Breach | None:
    """Refuse an order whose notional is above ``limit`` (currency)."""
    if proposal.notional <= limit:
        return None
    return Breach(
        str(limit), f"{proposal.notional:.2f}", f"the order is worth {proposal.notional:.2f}, more than {limit}"
    )
